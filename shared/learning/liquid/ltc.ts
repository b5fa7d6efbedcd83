/**
 * The liquid time-constant cell (Hasani et al. 2021, AAAI, "Liquid time-constant networks"): dx/dt = −(1/τ + f)·x + f·A with
 * f = σ(weights · (inputs, x) + bias), solved by the fused semi-implicit step x' = (x + δ·f·A) / (1 + δ·(1/τ + f)) (algorithm 1), several
 * to each step of the series. Both 1/τ = softplus(ρ) and f are positive, so that the step is stable for any δ.
 */
import { fillGlorot } from '../glorot.ts';
import { layoutOf, nested, viewOf } from '../layout.ts';
import { sigmoid, softplus } from '../logit.ts';
import type { Cell, CellShape, Course } from './cell.ts';
import { gateCircuit } from './gate.ts';
import { beginListening, listen, listeningOf, listeningShapes, listenSlopes } from './listening.ts';
import { addSparse, addSparseSlopes } from './sparse.ts';
import { wiringOf } from './wiring.ts';

/** Of the solver to each step of the series, as in the authors' own experiments. */
export const SOLVER_STEPS = 6;

/** τ to begin with, in hours: drawn between these, evenly on a logarithmic scale, so that some units remember for long. */
const TAU_START = { low: 1, high: 100 };

/** ρ of which 1/softplus(ρ) is τ. */
const rawRateOf = (tauHours: number): number => Math.log(Math.expm1(1 / tauHours));

/** What a forward pass leaves for the way back: units numbers a solver's step. */
interface Kept {
  /** State before it. */
  readonly x: Float64Array;
  readonly f: Float64Array;
  /** What was heard of the inputs, a series' step. */
  readonly heard: Float64Array;
}

const keptFor = (steps: number, units: number): Kept => ({
  x: new Float64Array((steps * SOLVER_STEPS + 1) * units),
  f: new Float64Array(steps * SOLVER_STEPS * units),
  heard: new Float64Array(steps * units),
});

/** One call at a time: the cell keeps its scratch space. */
export const ltcCell = ({ width, units, sparsity, wiringSeed, qubits }: CellShape): Cell => {
  const hearing = wiringOf(units, units, sparsity, wiringSeed);
  const circuit = qubits > 0 ? gateCircuit(qubits, units) : undefined;
  const layout = layoutOf([
    ...listeningShapes(width, units),
    ['recurrent.weight', [hearing.column.length]] as const,
    ['rate', [units]] as const,
    ['target', [units]] as const,
    ['circuit', [circuit?.size ?? 0]] as const,
  ]);
  const heard = new Float64Array(units);
  const active = new Int32Array(width);
  const sums = new Float64Array(units);
  const slopes = new Float64Array(units);
  const rates = new Float64Array(units);
  const rateSums = new Float64Array(units);
  let kept = keptFor(0, units);

  /** x[at …] becomes x[at + units …] (in `into`), over δ hours. */
  const solve = (at: number, delta: number, targets: Float64Array, into: Float64Array, to: number): void => {
    for (let unit = 0; unit < units; unit += 1) {
      const f = sigmoid(sums[unit]!);
      kept.f[at + unit] = f;
      into[to + unit] = (kept.x[at + unit]! + delta * f * targets[unit]!) / (1 + delta * (rates[unit]! + f));
    }
  };
  /** Slopes by x' (in `slopes`) become slopes by the sums (in `sums`) and, in part, by x (in `slopes`). */
  const solveSlopes = (at: number, delta: number, targets: Float64Array, targetsInto: Float64Array): void => {
    for (let unit = 0; unit < units; unit += 1) {
      const f = kept.f[at + unit]!;
      const below = 1 + delta * (rates[unit]! + f);
      const next = (kept.x[at + unit]! + delta * f * targets[unit]!) / below;
      const slope = slopes[unit]! / below;
      sums[unit] = slope * delta * (targets[unit]! - next) * f * (1 - f);
      targetsInto[unit]! += slope * delta * f;
      rateSums[unit]! -= slope * delta * next;
      slopes[unit] = slope;
    }
  };
  const setRates = (weights: Float64Array): void => {
    const raw = viewOf(layout, 'rate', weights);
    for (let unit = 0; unit < units; unit += 1) rates[unit] = softplus(raw[unit]!);
  };
  const forward = (weights: Float64Array, course: Course): void => {
    const listening = listeningOf(layout, weights);
    const recurrent = viewOf(layout, 'recurrent.weight', weights);
    const inCircuit = viewOf(layout, 'circuit', weights);
    const targets = viewOf(layout, 'target', weights);
    setRates(weights);
    if (kept.heard.length < course.steps * units) kept = keptFor(course.steps, units);
    const { x } = kept;
    x.fill(0, 0, units);
    course.states.fill(0, 0, units);
    for (let step = 0; step < course.steps; step += 1) {
      const delta = course.elapsed[step]! / SOLVER_STEPS;
      listen(listening, width, course, step, kept.heard, step * units, active);
      heard.set(kept.heard.subarray(step * units, (step + 1) * units));
      circuit?.forward(inCircuit, kept.heard, step * units, heard);
      for (let inner = 0; inner < SOLVER_STEPS; inner += 1) {
        const at = (step * SOLVER_STEPS + inner) * units;
        sums.set(heard);
        addSparse(hearing, recurrent, x, at, sums, 0);
        solve(at, delta, targets, x, at + units);
      }
      const end = (step + 1) * SOLVER_STEPS * units;
      for (let unit = 0; unit < units; unit += 1) course.states[(step + 1) * units + unit] = x[end + unit]!;
    }
  };
  const backward: Cell['backward'] = (weights, course, into, rateSlopes) => {
    const listening = listeningOf(layout, weights);
    const recurrent = viewOf(layout, 'recurrent.weight', weights);
    const inCircuit = viewOf(layout, 'circuit', weights);
    const targets = viewOf(layout, 'target', weights);
    const listeningInto = listeningOf(layout, into);
    const recurrentInto = viewOf(layout, 'recurrent.weight', into);
    const circuitInto = viewOf(layout, 'circuit', into);
    const targetsInto = viewOf(layout, 'target', into);
    rateSums.fill(0);
    slopes.fill(0);
    for (let step = course.steps - 1; step >= 0; step -= 1) {
      const delta = course.elapsed[step]! / SOLVER_STEPS;
      for (let unit = 0; unit < units; unit += 1)
        slopes[unit]! += course.stateSlopes[(step + 1) * units + unit]!;
      heard.fill(0);
      for (let inner = SOLVER_STEPS - 1; inner >= 0; inner -= 1) {
        const at = (step * SOLVER_STEPS + inner) * units;
        solveSlopes(at, delta, targets, targetsInto);
        for (let unit = 0; unit < units; unit += 1) heard[unit]! += sums[unit]!;
        addSparseSlopes(hearing, recurrent, kept.x, at, sums, 0, recurrentInto, slopes, 0);
      }
      if (circuit !== undefined) {
        sums.set(heard);
        circuit.backward(inCircuit, kept.heard, step * units, sums, circuitInto, heard);
      }
      listenSlopes(listening, width, course, step, heard, listeningInto, rateSlopes);
    }
    const raw = viewOf(layout, 'rate', weights);
    const rawInto = viewOf(layout, 'rate', into);
    for (let unit = 0; unit < units; unit += 1) rawInto[unit]! += rateSums[unit]! * sigmoid(raw[unit]!);
  };
  return {
    units,
    size: layout.size,
    tensors: nested(layout, 'circuit', circuit?.tensors ?? []),
    begin(weights, random) {
      beginListening(listeningOf(layout, weights), width, random);
      const fan = units * hearing.density;
      fillGlorot(viewOf(layout, 'recurrent.weight', weights), fan, fan, random);
      const raw = viewOf(layout, 'rate', weights);
      const targets = viewOf(layout, 'target', weights);
      for (let unit = 0; unit < units; unit += 1) {
        raw[unit] = rawRateOf(TAU_START.low * (TAU_START.high / TAU_START.low) ** random.uniform());
        targets[unit] = random.uniform() < 0.5 ? -1 : 1;
      }
      circuit?.begin(viewOf(layout, 'circuit', weights), random);
    },
    forward,
    backward,
  };
};
