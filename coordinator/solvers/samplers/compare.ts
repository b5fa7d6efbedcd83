/**
 * Samplers on the quadratic view beside the structure-aware solver, in the open: every proposal is repaired, scored on the true objective and counted, also
 * when it loses. None of them decides alone: `best` is the cheapest of all plans, and the structure-aware one is among them.
 */
import { assert } from '../../../shared/errors.ts';
import { proposals, runQaoa } from '../../../shared/quantum/qaoa.ts';
import { quboValue } from '../../../shared/quantum/ising.ts';
import { seeded, type Seeded } from '../../../shared/seeded.ts';
import { coupledCost, type CoupledInstance } from '../coupled/instance.ts';
import { solveCoupled } from '../coupled/solve.ts';
import { bifurcate } from './bifurcation.ts';
import { type QuboView, quboOf } from './qubo.ts';
import { repair } from './repair.ts';
import { type SparseQubo, sparseOf } from './sparse.ts';
import { annealSpins } from './spin-annealing.ts';

export type SamplerName = 'structure_aware' | 'spin_annealing' | 'simulated_bifurcation' | 'qaoa_simulator';

export interface SamplerRow {
  readonly solver: SamplerName;
  readonly runs: number;
  /** Proposals that kept every rule by themselves. */
  readonly feasibleRuns: number;
  /** Cheapest plan after repair, on the true objective; null when none could be repaired. */
  readonly cost: number | null;
  /** Cheapest of the proposals that needed no repair; null when all did. */
  readonly costUnrepaired: number | null;
  readonly bits: number;
  readonly wallMs: number;
}

export interface Comparison {
  readonly rows: readonly SamplerRow[];
  readonly bound: number;
  readonly best: { readonly solver: SamplerName; readonly cost: number; readonly siteOf: Int32Array };
}

export interface CompareOptions {
  readonly seed: number;
  /** Of each solver. */
  readonly timeMs: number;
  readonly nowMs: () => number;
}

/** The state vector of more bits takes longer than a plan may. */
export const QAOA_BITS_MAX = 16;
const QAOA_LAYERS = 2;
const QAOA_SHOTS = 256;
const SWEEPS = 300;
const STEPS = 400;

interface Sampled {
  readonly row: SamplerRow;
  readonly siteOf: Int32Array | undefined;
}

/** Scores proposals one by one until time is up; at least one run. */
const sample = (
  solver: SamplerName,
  instance: CoupledInstance,
  view: QuboView,
  { timeMs, nowMs }: CompareOptions,
  propose: () => readonly ArrayLike<number>[],
): Sampled => {
  const begunMs = nowMs();
  let [runs, feasibleRuns] = [0, 0];
  let cost: number | null = null;
  let costUnrepaired: number | null = null;
  let siteOf: Int32Array | undefined;
  do {
    for (const bits of propose()) {
      runs += 1;
      const repaired = repair(instance, view, bits);
      if (repaired === undefined) continue;
      const own = coupledCost(instance, repaired.siteOf);
      if (cost === null || own < cost) {
        cost = own;
        siteOf = repaired.siteOf;
      }
      if (!repaired.wasFeasible) continue;
      feasibleRuns += 1;
      costUnrepaired = Math.min(costUnrepaired ?? Infinity, own);
    }
  } while (nowMs() - begunMs < timeMs);
  return {
    row: {
      solver,
      runs,
      feasibleRuns,
      cost,
      costUnrepaired,
      bits: view.qubo.bits,
      wallMs: nowMs() - begunMs,
    },
    siteOf,
  };
};

const spreadOf = ({ linear, weight }: SparseQubo): number =>
  Math.max(
    1,
    ...linear.map(Math.abs),
    weight.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  );

const qaoaProposals = (view: QuboView, random: Seeded) => (): readonly ArrayLike<number>[] => {
  const result = runQaoa(view.qubo, {
    layers: QAOA_LAYERS,
    mixer: { kind: 'xy', groups: view.groups },
    evaluationsMax: 60,
  });
  return proposals(result, view.qubo, QAOA_SHOTS, random).map(({ bits, value }) => {
    assert(
      Math.abs(value - quboValue(view.qubo, bits)) < 1e-6 * (1 + Math.abs(value)),
      'a proposal has its value',
    );
    return bits;
  });
};

/** @throws QflError as `solveCoupled` */
export const compareSamplers = (instance: CoupledInstance, options: CompareOptions): Comparison => {
  const { seed, timeMs, nowMs } = options;
  const begunMs = nowMs();
  const structured = solveCoupled(instance, { timeMs, seed, nowMs });
  const reference: Sampled = {
    row: {
      solver: 'structure_aware',
      runs: 1,
      feasibleRuns: 1,
      cost: structured.cost,
      costUnrepaired: structured.cost,
      bits: 0,
      wallMs: nowMs() - begunMs,
    },
    siteOf: structured.siteOf,
  };
  const view = quboOf(instance);
  // The mixer keeps each task at one site by itself, and slack bits would be qubits.
  const mixed = quboOf(instance, { once: 0, capacity: 0 });
  const sparse = sparseOf(view.qubo);
  const random = seeded(seed);
  const hot = spreadOf(sparse);
  const all = [
    reference,
    sample('spin_annealing', instance, view, options, () => [
      annealSpins(sparse, { random, sweeps: SWEEPS, hot, cold: hot / 1_000 }),
    ]),
    sample('simulated_bifurcation', instance, view, options, () => [
      bifurcate(sparse, { random, steps: STEPS }),
    ]),
    ...(mixed.qubo.bits <= QAOA_BITS_MAX
      ? [sample('qaoa_simulator', instance, mixed, { ...options, timeMs: 0 }, qaoaProposals(mixed, random))]
      : []),
  ];
  const best = all.reduce((least, one) =>
    (one.row.cost ?? Infinity) < (least.row.cost ?? Infinity) ? one : least,
  );
  assert(best.siteOf !== undefined && best.row.cost !== null, 'the structure-aware plan is always there');
  return {
    rows: all.map(({ row }) => row),
    bound: structured.bound.bound,
    best: { solver: best.row.solver, cost: best.row.cost, siteOf: best.siteOf },
  };
};
