/** What the two kinds of liquid cell have in common: the course of one example through time, and what they do with it. */
import type { Seeded } from '../../seeded.ts';
import type { TensorPart } from '../model.ts';

/** One example's way through a cell. Arrays may be longer than the steps need; rows of one step lie together. */
export interface Course {
  steps: number;
  /** steps × width: the cell's inputs. */
  inputs: Float64Array;
  /** steps × channels: how an input moves with its channel's decay (`fillInputs`). */
  decaySlopes: Float64Array;
  /** Hours that a step's inputs act for: since the step before. */
  elapsed: Float64Array;
  /** (steps + 1) × units: the states, from the one before the first step, which is 0. */
  states: Float64Array;
  /** (steps + 1) × units: slopes of the loss by the states. */
  stateSlopes: Float64Array;
}

export interface CellShape {
  /** Inputs of a step. */
  readonly width: number;
  readonly units: number;
  /** Share of the connections from state to cell, and within the cell, that are never there. */
  readonly sparsity: number;
  readonly wiringSeed: number;
  /** Of the circuit in the gate; 0: none. */
  readonly qubits: number;
}

export interface Cell {
  readonly units: number;
  /** Numbers of its part of the flat vector. */
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  /** Writes the weights to begin with. */
  begin(weights: Float64Array, random: Seeded): void;
  /** Makes `course.states` from its inputs. */
  forward(weights: Float64Array, course: Course): void;
  /**
   * Back through time, after `forward` with the same weights and course. `course.stateSlopes` holds what comes from the readout, and is
   * used up. Adds to `into` (the cell's part) and to `rateSlopes` (one number a channel).
   */
  backward(weights: Float64Array, course: Course, into: Float64Array, rateSlopes: Float64Array): void;
}

/** Makes room for `steps` steps; what was there is lost. */
export const makeRoom = (
  course: Course,
  steps: number,
  width: number,
  channels: number,
  units: number,
): void => {
  course.steps = steps;
  if (course.states.length >= (steps + 1) * units) return;
  course.inputs = new Float64Array(steps * width);
  course.decaySlopes = new Float64Array(steps * channels);
  course.elapsed = new Float64Array(steps);
  course.states = new Float64Array((steps + 1) * units);
  course.stateSlopes = new Float64Array((steps + 1) * units);
};

export const emptyCourse = (): Course => ({
  steps: 0,
  inputs: new Float64Array(0),
  decaySlopes: new Float64Array(0),
  elapsed: new Float64Array(0),
  states: new Float64Array(0),
  stateSlopes: new Float64Array(0),
});
