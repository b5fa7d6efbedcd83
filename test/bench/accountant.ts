/**
 * `accountant`: milliseconds for 1,000 DP-SGD steps (sampling 0.01, sigma 1, delta 1e-5) by loss distribution and by Renyi
 * curve, and for plans on which accountants built on a grid alone fail or hang (large noise, tiny sampling, very many steps: Opacus
 * #601, #604). Baseline for the first: dp_accounting 0.6.0 in Python with numpy, 2.3 s on two cores.
 */
import type { LossEvent } from '../../shared/privacy/loss-event.ts';
import { planEpsilon } from '../../shared/privacy/plan.ts';
import { lossDistribution } from '../../shared/privacy/pld/distribution.ts';
import { epsilonOfCurve } from '../../shared/privacy/rdp/convert.ts';
import { rdpCurve } from '../../shared/privacy/rdp/curve.ts';

export interface AccountantBenchRow {
  readonly what: string;
  readonly epsilon: number;
  /** null: no reference for this plan. */
  readonly reference: number | null;
  readonly milliseconds: number;
  /** null: not part of a target. */
  readonly millisecondsMax: number | null;
}

const training = (probability: number, sigma: number, count: number): LossEvent => ({
  type: 'self_composed',
  count,
  event: {
    type: 'poisson_sampled',
    probability,
    event: { type: 'gaussian', relation: 'add_or_remove_one', sigma, sensitivity: 1 },
  },
});

const DELTA = 1e-5;
/** dp_accounting 0.6.0 at a discretisation of 1e-4. */
const REFERENCE_GRID = 1.8282436456227338;
/** Exact quadrature at fractional orders over the same grid of orders. */
const REFERENCE_CURVE = 2.1013652716484708;
const ERROR_MAX = 1e-3;
const GRID_MS_MAX = 1_000;
const CURVE_MS_MAX = 50;
const HARD_MS_MAX = 5_000;
const RUNS = 5;

/** Sampling probability, sigma, steps. */
const HARD = [
  [1e-5, 50, 1_000_000],
  [1e-4, 100, 10_000_000],
  [1e-6, 0.5, 1_000_000],
  [0.5, 500, 100],
  [0.01, 0.3, 1_000_000],
  [1e-3, 20, 100],
  [0.9, 0.05, 1_000],
] as const;

/** Median, after one run to warm up. */
const median = (run: () => number): { epsilon: number; milliseconds: number } => {
  let epsilon = run();
  const times = Array.from({ length: RUNS }, () => {
    const start = performance.now();
    epsilon = run();
    return performance.now() - start;
  }).toSorted((left, right) => left - right);
  return { epsilon, milliseconds: times[(RUNS - 1) / 2]! };
};

const hardRow = ([probability, sigma, count]: (typeof HARD)[number]): AccountantBenchRow => {
  const start = performance.now();
  const { epsilon, method } = planEpsilon(training(probability, sigma, count), DELTA);
  return {
    what: `plan: sampling ${probability}, sigma ${sigma}, ${count} steps (${method})`,
    epsilon,
    reference: null,
    milliseconds: performance.now() - start,
    millisecondsMax: HARD_MS_MAX,
  };
};

export const measure = (): AccountantBenchRow[] => {
  const event = training(0.01, 1, 1_000);
  return [
    {
      what: '1,000 DP-SGD steps, loss distribution, step 1e-4',
      ...median(() => lossDistribution(event).epsilon(DELTA)),
      reference: REFERENCE_GRID,
      millisecondsMax: GRID_MS_MAX,
    },
    {
      what: '1,000 DP-SGD steps, Renyi curve of 156 orders',
      ...median(() => epsilonOfCurve(rdpCurve(event), DELTA).epsilon),
      reference: REFERENCE_CURVE,
      millisecondsMax: CURVE_MS_MAX,
    },
    ...HARD.map(hardRow),
  ];
};

/** An answer outside its bounds, in words; undefined when the row holds. */
const complaint = ({
  what,
  epsilon,
  reference,
  milliseconds,
  millisecondsMax,
}: AccountantBenchRow): string | undefined => {
  if (!(epsilon >= 0)) return `${what}: no epsilon`;
  if (reference !== null && Math.abs(epsilon / reference - 1) > ERROR_MAX)
    return `${what}: off the reference`;
  return millisecondsMax !== null && milliseconds > millisecondsMax ? `${what}: too slow` : undefined;
};

const table = (rows: readonly AccountantBenchRow[]): string =>
  rows
    .map(({ what, epsilon, reference, milliseconds, millisecondsMax }) => {
      const against = reference === null ? '' : `, reference ${reference.toFixed(6)}`;
      const target = millisecondsMax === null ? '' : ` (target ${millisecondsMax} ms)`;
      return `${what}\n    epsilon ${epsilon.toFixed(6)}${against}; ${milliseconds.toFixed(1)} ms${target}`;
    })
    .join('\n');

export const run = ({ json }: { readonly json: boolean }): Promise<readonly AccountantBenchRow[]> => {
  const rows = measure();
  const missed = rows.map(complaint).filter((text) => text !== undefined);
  console.log(json ? JSON.stringify({ bench: 'accountant', rows, missed }) : table(rows));
  for (const text of missed) console.error(`missed: ${text}`);
  if (missed.length > 0) process.exitCode = 1;
  return Promise.resolve(rows);
};
