/**
 * The closed-form continuous-time cell (Hasani et al. 2022, Nature Machine Intelligence 4, "Closed-form continuous-time neural networks"),
 * in its gated form: x' = σ(−f·t) ⊙ g + (1 − σ(−f·t)) ⊙ h, where f, g and h are heads on a small tanh backbone over the inputs and the
 * state before, g and h through tanh, and t is the time that has passed, in hours. The state reaches the backbone, and the backbone the
 * heads, through sparse wiring.
 */
import { fillGlorot } from '../glorot.ts';
import { layoutOf, nested, viewOf } from '../layout.ts';
import { sigmoid } from '../logit.ts';
import type { Cell, CellShape, Course } from './cell.ts';
import { beginHeads, headShapes, headsOf, headSums, sumHeads, sumHeadsSlopes } from './heads.ts';
import { gateCircuit } from './gate.ts';
import { beginListening, listen, listeningOf, listeningShapes, listenSlopes } from './listening.ts';
import { addSparse, addSparseSlopes } from './sparse.ts';
import { wiringOf } from './wiring.ts';

/** What a forward pass leaves for the way back: units numbers a step. */
interface Kept {
  readonly backbone: Float64Array;
  readonly g: Float64Array;
  readonly h: Float64Array;
  /** σ(−f·t). */
  readonly gate: Float64Array;
}

const keptFor = (length: number): Kept => ({
  backbone: new Float64Array(length),
  g: new Float64Array(length),
  h: new Float64Array(length),
  gate: new Float64Array(length),
});

/** The backbone has as many units as the state. One call at a time: the cell keeps its scratch space. */
export const cfcCell = ({ width, units, sparsity, wiringSeed, qubits }: CellShape): Cell => {
  const hearing = wiringOf(units, units, sparsity, wiringSeed);
  const inner = wiringOf(units, units, sparsity, wiringSeed + 1);
  const circuit = qubits > 0 ? gateCircuit(qubits, units) : undefined;
  const layout = layoutOf([
    ...listeningShapes(width, units),
    ['recurrent.weight', [hearing.column.length]] as const,
    ...headShapes(inner),
    ['circuit', [circuit?.size ?? 0]] as const,
  ]);
  const active = new Int32Array(width);
  const sums = headSums(units);
  const backboneSlopes = new Float64Array(units);
  let kept = keptFor(0);

  /** x' of one step, from the heads' sums. */
  const blend = (at: number, elapsed: number, states: Float64Array): void => {
    for (let unit = 0; unit < units; unit += 1) {
      const gate = sigmoid(-sums.f[unit]! * elapsed);
      const g = Math.tanh(sums.g[unit]!);
      const h = Math.tanh(sums.h[unit]!);
      kept.gate[at + unit] = gate;
      kept.g[at + unit] = g;
      kept.h[at + unit] = h;
      states[at + units + unit] = h + gate * (g - h);
    }
  };
  /** Slopes by x' become slopes by the heads' sums. */
  const blendSlopes = (at: number, elapsed: number, stateSlopes: Float64Array): void => {
    for (let unit = 0; unit < units; unit += 1) {
      const slope = stateSlopes[at + units + unit]!;
      const gate = kept.gate[at + unit]!;
      const g = kept.g[at + unit]!;
      const h = kept.h[at + unit]!;
      sums.f[unit] = -elapsed * slope * (g - h) * gate * (1 - gate);
      sums.g[unit] = slope * gate * (1 - g * g);
      sums.h[unit] = slope * (1 - gate) * (1 - h * h);
    }
  };
  const forward = (weights: Float64Array, course: Course): void => {
    const listening = listeningOf(layout, weights);
    const recurrent = viewOf(layout, 'recurrent.weight', weights);
    const inCircuit = viewOf(layout, 'circuit', weights);
    const heads = headsOf(layout, weights);
    if (kept.gate.length < course.steps * units) kept = keptFor(course.steps * units);
    const { backbone } = kept;
    course.states.fill(0, 0, units);
    for (let step = 0; step < course.steps; step += 1) {
      const at = step * units;
      listen(listening, width, course, step, backbone, at, active);
      addSparse(hearing, recurrent, course.states, at, backbone, at);
      for (let unit = at; unit < at + units; unit += 1) backbone[unit] = Math.tanh(backbone[unit]!);
      sumHeads(inner, heads, backbone, at, sums);
      circuit?.forward(inCircuit, backbone, at, sums.f);
      blend(at, course.elapsed[step]!, course.states);
    }
  };
  const backward: Cell['backward'] = (weights, course, into, rateSlopes) => {
    const listening = listeningOf(layout, weights);
    const recurrent = viewOf(layout, 'recurrent.weight', weights);
    const inCircuit = viewOf(layout, 'circuit', weights);
    const heads = headsOf(layout, weights);
    const listeningInto = listeningOf(layout, into);
    const recurrentInto = viewOf(layout, 'recurrent.weight', into);
    const circuitInto = viewOf(layout, 'circuit', into);
    const headsInto = headsOf(layout, into);
    const { backbone } = kept;
    const { states, stateSlopes } = course;
    for (let step = course.steps - 1; step >= 0; step -= 1) {
      const at = step * units;
      blendSlopes(at, course.elapsed[step]!, stateSlopes);
      backboneSlopes.fill(0);
      sumHeadsSlopes(inner, heads, backbone, at, sums, headsInto, backboneSlopes);
      circuit?.backward(inCircuit, backbone, at, sums.f, circuitInto, backboneSlopes);
      for (let unit = 0; unit < units; unit += 1)
        backboneSlopes[unit]! *= 1 - backbone[at + unit]! * backbone[at + unit]!;
      listenSlopes(listening, width, course, step, backboneSlopes, listeningInto, rateSlopes);
      addSparseSlopes(hearing, recurrent, states, at, backboneSlopes, 0, recurrentInto, stateSlopes, at);
    }
  };
  return {
    units,
    size: layout.size,
    tensors: nested(layout, 'circuit', circuit?.tensors ?? []),
    begin(weights, random) {
      beginListening(listeningOf(layout, weights), width, random);
      const fan = units * hearing.density;
      fillGlorot(viewOf(layout, 'recurrent.weight', weights), fan, fan, random);
      beginHeads(headsOf(layout, weights), inner, random);
      circuit?.begin(viewOf(layout, 'circuit', weights), random);
    },
    forward,
    backward,
  };
};
