/**
 * `coupled --tasks N --sites M [--seed S] [--seconds T] [--clock wall|processor]`: assignment with couplings on random instances (linear costs, slots for 115 % of the tasks,
 * three to four couplings a task, three quarters of them rewards). Beside ours, on the same instance: greedy in arrival order that sees the couplings,
 * the exact flow plan that does not, and, up to 100 tasks, the proven optimum of HiGHS (npm `highs`). Cost and bound are checked by code that
 * shares nothing with the solver. `--clock processor` gives T of the process's own time, garbage collector included: for a machine that does other
 * work meanwhile.
 */
import { parseArgs } from 'node:util';
import { verifyCoupled } from '../../coordinator/planning/verify-coupled.ts';
import { coupledBound, SHARE_SCALE, solveLinear } from '../../coordinator/solvers/coupled/bound.ts';
import {
  type CoupledInstance,
  coupledCost,
  neighboursOf,
} from '../../coordinator/solvers/coupled/instance.ts';
import { type CoupledSolution, solveCoupled } from '../../coordinator/solvers/coupled/solve.ts';
import { QflError } from '../../shared/errors.ts';
import { seeded } from '../../shared/seeded.ts';
import { loadHighs } from '../fixtures/highs.ts';

export const usage = '--tasks N --sites M [--seed S] [--seconds T] [--clock wall|processor]';

const CLOCKS = {
  wall: () => performance.now(),
  processor: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  },
} as const;
export type ClockName = keyof typeof CLOCKS;

const SEEDS = 20;
const HIGHS_TASKS_MAX = 100;
const HIGHS_SECONDS_MAX = 240;
const SLOTS_PER_TASK = 1.15;
/** For large instances, what the bound is worth with time of its own. */
const BOUND_SECONDS = 15;

export interface CoupledRow {
  readonly tasks: number;
  readonly sites: number;
  readonly seconds: number;
  readonly clock: ClockName;
  readonly greedyCost: number;
  readonly flowCost: number;
  /** Over the solver's seeds: the worst, the best and the mean. */
  readonly costWorst: number;
  readonly costBest: number;
  readonly costMean: number;
  readonly seeds: number;
  /** The best that a seed proved in its time. */
  readonly bound: number;
  /** The bound with `boundSeconds` more of its own; null where that is not tried. */
  readonly boundLonger: number | null;
  readonly boundSeconds: number | null;
  /** Seeds whose bound reached the cost: they stop there. */
  readonly provenShare: number;
  readonly underGreedy: number;
  /** Of the worst seed to the best bound here. */
  readonly gap: number;
  /** null: not tried at this size, or not proven in its time. */
  readonly optimum: number | null;
  readonly optimumMs: number | null;
  /** Share of the seeds that found the optimum; null without one. */
  readonly hitShare: number | null;
  /** How far above the optimum the seeds are, as a share of it. */
  readonly overOptimumMean: number | null;
  readonly overOptimumWorst: number | null;
  /** Time of a run by `clock`. */
  readonly spentMsP50: number;
  readonly spentMsWorst: number;
}

/** `random`: any two tasks; `nearby`: tasks that arrived close together, as sessions do, which binds them into long chains. */
export type CouplingShape = 'random' | 'nearby';

export const makeCoupled = (
  tasks: number,
  sites: number,
  seed: number,
  shape: CouplingShape = 'random',
): CoupledInstance => {
  const random = seeded(seed);
  const speeds = Array.from({ length: sites }, () => 0.4 + 1.2 * random.uniform());
  // Tasks have sizes, sites have speeds, and no pair fits quite as both say.
  const sizes = Array.from({ length: tasks }, () => 20 + 100 * random.uniform());
  const costs = Float64Array.from({ length: tasks * sites }, (_, at) =>
    Math.round(sizes[Math.floor(at / sites)]! * speeds[at % sites]! * (0.75 + 0.5 * random.uniform())),
  );
  const slots = Math.ceil((tasks * SLOTS_PER_TASK) / sites);
  const pairs = new Map<string, [number, number, number]>();
  for (let at = 0; at < tasks * 1.75; at += 1) {
    const first = random.below(tasks);
    const reach = shape === 'random' ? tasks - 1 : Math.min(tasks - 1, 12);
    const second = (first + 1 + random.below(reach)) % tasks;
    const size = 5 + random.below(26);
    if (first !== second)
      pairs.set(`${Math.min(first, second)}/${Math.max(first, second)}`, [
        first,
        second,
        random.uniform() < 0.75 ? -size : size,
      ]);
  }
  const edges = [...pairs.values()];
  return {
    tasks,
    sites,
    costs,
    slotCosts: Array.from({ length: sites }, () => Array.from({ length: slots }, () => 0)),
    first: Int32Array.from(edges, ([first]) => first),
    second: Int32Array.from(edges, ([, second]) => second),
    weights: Float64Array.from(edges, ([, , weight]) => weight),
  };
};

/** Each task in turn where it costs least, couplings with those already placed included. */
export const greedyCoupled = (instance: CoupledInstance): Int32Array => {
  const { tasks, sites, costs, slotCosts } = instance;
  const near = neighboursOf(instance);
  const siteOf = new Int32Array(tasks).fill(-1);
  const load = new Int32Array(sites);
  for (let task = 0; task < tasks; task += 1) {
    let [best, least] = [0, Infinity];
    for (let site = 0; site < sites; site += 1) {
      const slot = slotCosts[site]![load[site]!];
      if (slot === undefined) continue;
      let cost = costs[task * sites + site]! + slot;
      for (let at = near.start[task]!; at < near.start[task + 1]!; at += 1)
        if (siteOf[near.task[at]!] === site) cost += near.weight[at]!;
      if (cost < least) [best, least] = [site, cost];
    }
    siteOf[task] = best;
    load[best]! += 1;
  }
  return siteOf;
};

/** Mixed-integer programme: y is 1 only where both stand (rewards), at least where both stand (punishments). */
const programmeOf = ({ tasks, sites, costs, slotCosts, first, second, weights }: CoupledInstance): string => {
  const x = (task: number, site: number): string => `x${task}_${site}`;
  const signed = (value: number, name: string): string =>
    `${value < 0 ? '-' : '+'} ${Math.abs(value)} ${name}`;
  const each = <Out>(count: number, make: (at: number) => Out): Out[] =>
    Array.from({ length: count }, (_, at) => make(at));
  const objective = [
    ...each(tasks, (task) =>
      each(sites, (site) => signed(costs[task * sites + site]!, x(task, site))).join(' '),
    ),
    ...each(weights.length, (at) => each(sites, (site) => signed(weights[at]!, `y${at}_${site}`)).join(' ')),
  ];
  const rows = [
    ...each(tasks, (task) => `${each(sites, (site) => x(task, site)).join(' + ')} = 1`),
    ...each(
      sites,
      (site) => `${each(tasks, (task) => x(task, site)).join(' + ')} <= ${slotCosts[site]!.length}`,
    ),
    ...each(weights.length, (at) =>
      each(sites, (site) => {
        const [a, b, y] = [x(first[at]!, site), x(second[at]!, site), `y${at}_${site}`];
        return weights[at]! < 0 ? [`${y} - ${a} <= 0`, `${y} - ${b} <= 0`] : [`${y} - ${a} - ${b} >= -1`];
      }).flat(),
    ).flat(),
  ];
  const binaries = each(tasks, (task) => each(sites, (site) => x(task, site)).join(' ')).join('\n');
  return `Minimize\n obj: ${objective.join('\n ')}\nSubject To\n${rows.map((row, at) => `r${at}: ${row}`).join('\n')}\nBinary\n${binaries}\nEnd\n`;
};

const optimumOf = async (
  instance: CoupledInstance,
  nowMs: () => number,
): Promise<{ optimum: number | null; optimumMs: number | null }> => {
  if (instance.tasks > HIGHS_TASKS_MAX) return { optimum: null, optimumMs: null };
  const highs = await loadHighs();
  const begunMs = nowMs();
  const result = highs.solve(programmeOf(instance), { time_limit: HIGHS_SECONDS_MAX, mip_rel_gap: 0 });
  const optimumMs = nowMs() - begunMs;
  return result.Status === 'Optimal'
    ? { optimum: Math.round(result.ObjectiveValue), optimumMs }
    : { optimum: null, optimumMs: null };
};

export const measureCoupled = async (
  tasks: number,
  sites: number,
  seed: number,
  seconds: number,
  clock: ClockName = 'wall',
): Promise<CoupledRow> => {
  const nowMs = CLOCKS[clock];
  const instance = makeCoupled(tasks, sites, seed);
  const seeds = tasks > HIGHS_TASKS_MAX ? 3 : SEEDS;
  const runs = Array.from({ length: seeds }, (_, at) => {
    const begunMs = nowMs();
    const solution = solveCoupled(instance, {
      timeMs: seconds * 1_000,
      seed: seed * 1_000 + at,
      nowMs,
    });
    return { ...solution, spentMs: nowMs() - begunMs };
  });
  for (const run of runs) check(instance, run);
  const costs = runs.map(({ cost }) => cost);
  const { optimum, optimumMs } = await optimumOf(instance, nowMs);
  const [costBest, costWorst] = [Math.min(...costs), Math.max(...costs)];
  const costMean = costs.reduce((sum, cost) => sum + cost, 0) / seeds;
  if (optimum !== null && costBest < optimum)
    throw new Error(`ours is below the optimum of HiGHS: ${costBest} < ${optimum}`);
  const bound = Math.max(...runs.map((run) => run.bound.bound));
  const boundLonger = tasks > HIGHS_TASKS_MAX ? longerBound(instance, runs[0]!, nowMs) : null;
  const greedyCost = coupledCost(instance, greedyCoupled(instance));
  const spent = runs.map(({ spentMs }) => spentMs).toSorted((left, right) => left - right);
  const over = (cost: number): number | null => (optimum === null ? null : cost / optimum - 1);
  return {
    tasks,
    sites,
    seconds,
    clock,
    greedyCost,
    flowCost: runs[0]!.flowCost,
    costWorst,
    costBest,
    costMean,
    seeds,
    bound,
    boundLonger,
    boundSeconds: boundLonger === null ? null : BOUND_SECONDS,
    provenShare: runs.filter(({ proven }) => proven).length / seeds,
    underGreedy: 1 - costWorst / greedyCost,
    gap: (costWorst - Math.max(bound, boundLonger ?? bound)) / costWorst,
    optimum,
    optimumMs,
    hitShare: optimum === null ? null : costs.filter((cost) => cost === optimum).length / seeds,
    overOptimumMean: over(costMean),
    overOptimumWorst: over(costWorst),
    spentMsP50: spent[Math.floor(seeds / 2)]!,
    spentMsWorst: spent[seeds - 1]!,
  };
};

type Run = Pick<CoupledSolution, 'siteOf' | 'cost' | 'bound'>;

/** Cost and bound by code that shares nothing with the solver. */
const check = (instance: CoupledInstance, { siteOf, cost, bound }: Run): void => {
  const couplings = Array.from(instance.weights, (weight, at) => ({
    first: instance.first[at]!,
    second: instance.second[at]!,
    weight,
  }));
  const { shares, prices } = bound;
  const found = verifyCoupled({ ...instance, couplings }, siteOf, { scale: SHARE_SCALE, shares, prices });
  if (found.faults.length > 0 || found.cost !== cost || found.bound < bound.bound)
    throw new Error(`the plan does not check: ${found.faults.join('; ')}`);
};

const longerBound = (instance: CoupledInstance, run: Run, nowMs: () => number): number => {
  const bound = coupledBound(instance, {
    iterationsMax: 5_000,
    deadlineMs: nowMs() + BOUND_SECONDS * 1_000,
    nowMs,
    target: run.cost,
    prices: solveLinear(instance.tasks, instance.slotCosts, instance.costs).prices,
  });
  check(instance, { ...run, bound });
  return bound.bound;
};

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const boundText = ({ bound, boundLonger, boundSeconds, gap }: CoupledRow): string =>
  boundLonger === null
    ? `bound ${bound}: no plan is more than ${percent(gap)} better`
    : `bound ${bound}, and ${boundLonger} with ${boundSeconds} s of its own: no plan is more than ${percent(gap)} better`;

const text = (row: CoupledRow): string =>
  [
    `${row.tasks} tasks x ${row.sites} sites, ${row.seconds} s of ${row.clock} time (${row.spentMsP50.toFixed(0)} ms, worst ${row.spentMsWorst.toFixed(0)}), ${row.seeds} seeds`,
    `greedy that sees couplings ${row.greedyCost}, flow that does not ${row.flowCost}, ours ${row.costBest} to ${row.costWorst} (worst ${percent(row.underGreedy)} under greedy)`,
    boundText(row),
    `proven by ${percent(row.provenShare)} of the seeds`,
    row.optimum === null
      ? 'optimum: not known'
      : `optimum ${row.optimum} (HiGHS ${((row.optimumMs ?? 0) / 1_000).toFixed(1)} s), found by ${percent(row.hitShare ?? 0)} of the seeds; mean ${((row.overOptimumMean ?? 0) * 100).toFixed(3)} %, worst ${((row.overOptimumWorst ?? 0) * 100).toFixed(3)} % above`,
  ].join('\n');

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<CoupledRow> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      tasks: { type: 'string' },
      sites: { type: 'string' },
      seed: { type: 'string' },
      seconds: { type: 'string' },
      clock: { type: 'string', default: 'wall' },
    },
  });
  const tasks = Number(values.tasks ?? 60);
  const sites = Number(values.sites ?? 5);
  const seed = Number(values.seed ?? 1);
  const seconds = Number(values.seconds ?? (tasks > HIGHS_TASKS_MAX ? 3 : 0.5));
  const clock = values.clock === 'processor' ? 'processor' : 'wall';
  const whole = [tasks, sites, seed].every((value) => Number.isInteger(value) && value >= 1);
  if (!whole || tasks < 2 || !(seconds > 0) || values.clock !== clock)
    throw new QflError('invalid_request', {
      detail:
        'tasks (from 2), sites and seed are whole numbers, seconds above 0, the clock is wall or processor',
    });
  const row = await measureCoupled(tasks, sites, seed, seconds, clock);
  console.log(json ? JSON.stringify(row) : text(row));
  return row;
};
