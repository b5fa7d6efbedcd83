/**
 * `replay TRACE.csv [--seeds N] [--first SEED] [--load L] [--requests N]`: the public inference trace through simulated sites, placed by the planner's own code (its desk, its
 * flow plans, its predictor learning as it goes) and by what it has to beat. Seconds and shares, means over seeds with 95 % intervals. Each
 * seed draws sites, slots, speeds, who asks, and the window of the trace. The weights were chosen on seeds from 101 on.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { finish, simulating } from '../../coordinator/planning/simulate.ts';
import { STRATEGY_WEIGHTS } from '../../coordinator/planning/strategies.ts';
import { QflError } from '../../shared/errors.ts';
import { seeded } from '../../shared/seeded.ts';
import { BASELINES, desk, type NamedPolicy } from './replay-policies.ts';
import {
  CLASSES,
  type Federation,
  federationOf,
  RATES,
  readTrace,
  SITES,
  type TraceRow,
} from './replay-trace.ts';

export const usage = 'TRACE.csv [--seeds N] [--first SEED] [--load L] [--requests N]';

const SEEDS_DEFAULT = 20;
const LOAD_DEFAULT = 0.8;
const REQUESTS_DEFAULT = 3_000;
const QUEUE_PER_SLOT = 100;

/** Balanced objective: each part against FIFO on the same seed; missed deadlines against at least 1 %, so that luck with few does not decide. */
const OBJECTIVE = { mean: 0.3, p95: 0.3, misses: 0.3, loadVariance: 0.1, missesLeast: 0.01 } as const;

const PLANNER = 'planner';
const IMMEDIATE = 'planner, immediate';
const tuning = { weights: STRATEGY_WEIGHTS.balanced, queuePerSlot: QUEUE_PER_SLOT, coupled: true };
const POLICIES: readonly NamedPolicy[] = [
  ...BASELINES,
  desk(PLANNER, { ...tuning, deferred: true }),
  desk(IMMEDIATE, { ...tuning, deferred: false }),
];

interface Measures {
  readonly meanS: number;
  readonly p95S: number;
  readonly misses: number;
  readonly loadVariance: number;
  readonly utilisation: number;
}

interface Interval {
  readonly mean: number;
  /** Half width of the 95 % interval over seeds. */
  readonly half: number;
}

export interface ReplayRow extends Readonly<Record<keyof Measures | 'objective', Interval>> {
  readonly policy: string;
  /** The planner's objective over this policy's, paired by seed: geometric mean and its 95 % interval; below 1 the planner is better. */
  readonly plannerRatio: { readonly mean: number; readonly low: number; readonly high: number };
}

const measure = ({ sites, requests }: Federation, policy: NamedPolicy, seed: number): Measures => {
  const federation = { sites, requests, meanServiceMs: 0 };
  const result = finish(simulating(sites, requests, policy.make(federation, seed), policy.rule));
  const tookMs = result.outcomes.map((outcome) => outcome?.completionMs ?? Infinity);
  const late = tookMs.filter((took, at) => requests[at]!.atMs + took > requests[at]!.deadlineMs).length;
  const sorted = Float64Array.from(tookMs).toSorted();
  return {
    meanS: tookMs.reduce((sum, took) => sum + took, 0) / tookMs.length / 1_000,
    p95S: sorted[Math.ceil(0.95 * sorted.length) - 1]! / 1_000,
    misses: late / tookMs.length,
    loadVariance: result.loadVariance,
    utilisation: result.utilisation,
  };
};

const objectiveOf = (own: Measures, fifo: Measures): number =>
  (OBJECTIVE.mean * own.meanS) / fifo.meanS +
  (OBJECTIVE.p95 * own.p95S) / fifo.p95S +
  (OBJECTIVE.misses * own.misses) / Math.max(fifo.misses, OBJECTIVE.missesLeast) +
  (OBJECTIVE.loadVariance * own.loadVariance) / fifo.loadVariance;

/** Student's t, two-sided 95 %; beyond 30 degrees of freedom the normal is near enough. */
const T_95 = [
  12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.1,
  2.09,
];
const intervalOf = (values: readonly number[]): Interval => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance =
    values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1);
  return { mean, half: (T_95[values.length - 2] ?? 2.05) * Math.sqrt(variance / values.length) };
};

/** Ratios multiply: one seed that is ten times worse must not drown nineteen. */
const ratioOf = (ratios: readonly number[]): ReplayRow['plannerRatio'] => {
  const { mean, half } = intervalOf(ratios.map(Math.log));
  return { mean: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half) };
};

const windowOf = (trace: readonly TraceRow[], count: number, seed: number): readonly TraceRow[] => {
  const first = seeded(seed * 7_919).below(Math.max(1, trace.length - count + 1));
  const window = trace.slice(first, first + count);
  const startMs = window[0]!.atMs;
  return window.map((row) => ({ ...row, atMs: row.atMs - startMs }));
};

const cell = ({ mean, half }: Interval, digits: number): string =>
  `${mean.toFixed(digits)} ±${half.toFixed(digits)}`.padStart(16);

const ratioCell = ({ mean, low, high }: ReplayRow['plannerRatio']): string =>
  `${mean.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`.padStart(24);

const line = (row: ReplayRow): string =>
  [
    row.policy.padEnd(19),
    cell(row.meanS, 2),
    cell(row.p95S, 2),
    cell(row.misses, 4),
    cell(row.loadVariance, 4),
    cell(row.utilisation, 3),
    cell(row.objective, 3),
    row.policy === PLANNER ? '' : ratioCell(row.plannerRatio),
  ].join('');

const assumptions = (file: string, seeds: number, load: number, count: number): string =>
  [
    `${path.basename(file)}: ${count} requests a seed, ${seeds} seeds; ${SITES} sites of 2–6 slots, speed 0.5–2, rates scaled so that the window takes ${load} of all slots.`,
    `Service at speed 1 before scaling: ${RATES.overheadMs} ms + prompt/${RATES.promptTokensPerSecond} s + output/${RATES.outputTokensPerSecond} s. No policy sees a service time before it ends; all use the same predictor.`,
    `Drawn, since the trace does not say: ${CLASSES.map(({ name, share, priority, deadlineServices }) => `${name} ${share * 100} % (priority ${priority}, deadline ${deadlineServices} mean services)`).join(', ')}. No sessions, so no couplings.`,
    `Balanced objective (lower is better, FIFO near 1): ${OBJECTIVE.mean} mean + ${OBJECTIVE.p95} p95 + ${OBJECTIVE.misses} misses (against at least ${OBJECTIVE.missesLeast}) + ${OBJECTIVE.loadVariance} load variance, each against FIFO on the same seed.`,
    '',
  ].join('\n');

const verdict = (rows: readonly ReplayRow[]): string => {
  const others = rows.filter(({ policy }) => policy !== PLANNER && policy !== IMMEDIATE);
  const unbeaten = others.filter(({ plannerRatio }) => plannerRatio.high >= 1);
  const whole =
    unbeaten.length === 0
      ? 'The planner is better than every one of them on the balanced objective, with 95 % confidence.'
      : `The planner is NOT surely better than: ${unbeaten.map(({ policy }) => policy).join(', ')}.`;
  const parts = (['meanS', 'p95S', 'misses', 'loadVariance'] as const).map((part) => {
    const own = rows.find(({ policy }) => policy === PLANNER)!;
    const better = others.filter((other) => other[part].mean < own[part].mean).map(({ policy }) => policy);
    return better.length === 0 ? `${part}: best of all` : `${part}: behind ${better.join(', ')}`;
  });
  return `${whole}\nPart by part: ${parts.join('; ')}.`;
};

const summarise = (measured: ReadonlyMap<string, readonly Measures[]>): readonly ReplayRow[] => {
  const fifo = measured.get('FIFO')!;
  const objectives = (name: string): number[] =>
    measured.get(name)!.map((own, at) => objectiveOf(own, fifo[at]!));
  const planner = objectives(PLANNER);
  return [...measured].map(([policy, all]) => {
    const objective = objectives(policy);
    const of = (key: keyof Measures): Interval => intervalOf(all.map((one) => one[key]));
    return {
      policy,
      meanS: of('meanS'),
      p95S: of('p95S'),
      misses: of('misses'),
      loadVariance: of('loadVariance'),
      utilisation: of('utilisation'),
      objective: intervalOf(objective),
      plannerRatio: ratioOf(objective.map((value, at) => planner[at]! / value)),
    };
  });
};

const integer = (text: string | undefined, otherwise: number, what: string): number => {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new QflError('invalid_request', { detail: `${what} is a whole number above 0` });
  return value;
};

export const run = ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly ReplayRow[]> => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      seeds: { type: 'string' },
      load: { type: 'string' },
      requests: { type: 'string' },
      first: { type: 'string' },
    },
    allowPositionals: true,
  });
  const [file] = positionals;
  if (file === undefined) throw new QflError('invalid_request', { detail: 'give the trace' });
  const seeds = integer(values.seeds, SEEDS_DEFAULT, 'the number of seeds');
  const first = integer(values.first, 1, 'the first seed');
  const load = Number(values.load ?? LOAD_DEFAULT);
  if (!(load > 0 && load < 1))
    throw new QflError('invalid_request', { detail: 'the load is between 0 and 1' });
  const trace = readTrace(file);
  const count = Math.min(trace.length, integer(values.requests, REQUESTS_DEFAULT, 'the number of requests'));
  const measured = new Map<string, Measures[]>(POLICIES.map(({ name }) => [name, []]));
  const savedS: number[] = [];
  for (let seed = first; seed < first + seeds; seed += 1) {
    const federation = federationOf(windowOf(trace, count, seed), load, seed);
    for (const policy of POLICIES) measured.get(policy.name)!.push(measure(federation, policy, seed));
    savedS.push(measured.get(IMMEDIATE)!.at(-1)!.meanS - measured.get(PLANNER)!.at(-1)!.meanS);
  }
  const rows = summarise(measured);
  const deferral = intervalOf(savedS);
  if (json) console.log(JSON.stringify({ load, seeds, requests: count, rows, deferralSavedS: deferral }));
  else {
    console.log(assumptions(file, seeds, load, count));
    console.log(
      'policy                      mean s           p95 s          misses   load variance     utilisation       objective   planner / this one',
    );
    for (const row of rows) console.log(line(row));
    console.log(`\n${verdict(rows)}`);
    console.log(
      `Deferral value: holding requests open saves ${deferral.mean.toFixed(3)} ±${deferral.half.toFixed(3)} s of mean completion against immediate commits.`,
    );
  }
  return Promise.resolve(rows);
};
