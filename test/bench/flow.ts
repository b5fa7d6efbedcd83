/**
 * `flow --tasks N --sites M [--seed S]`: the exact flow solver on random linear instances (slots for 115 % of the tasks, sites that differ in speed)
 * against HiGHS (npm `highs`, WebAssembly, the same problem as a linear programme), in one run. Then single events (one task gone, one come) on
 * the live plan. The plan's certificate is checked again by code that shares nothing with the solver.
 */
import { parseArgs } from 'node:util';
import { loadHighs } from '../fixtures/highs.ts';
import { verifyCertificate } from '../../coordinator/planning/verify-certificate.ts';
import { optionCost, type PlanningTask, type Problem } from '../../coordinator/planning/problem.ts';
import { FlowPlan } from '../../coordinator/solvers/flow.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';

export const usage = '--tasks N --sites M [--seed S]';

const SLOTS_PER_TASK = 1.15;
const REPEATS = 20;
const EVENTS = 2_000;
/** HiGHS reads the programme as text: beyond this many pairs it takes minutes (planning.md §4a). */
const HIGHS_PAIRS_MAX = 110_000;

export interface FlowRow {
  readonly tasks: number;
  readonly sites: number;
  readonly cost: number;
  readonly bound: number;
  readonly wallMsP50: number;
  readonly wallMsP95: number;
  readonly eventMsP99: number;
  /** null: not tried at this size. */
  readonly highsCost: number | null;
  readonly highsMs: number | null;
}

const makeProblem = (tasks: number, sites: number, seed: number): Problem => {
  const random = seeded(seed);
  const ids = Array.from({ length: sites }, (_, at) => SiteId.parse(`site-${at}`));
  const speeds = ids.map(() => 0.4 + 1.2 * random.uniform());
  const slots = Math.ceil((tasks * SLOTS_PER_TASK) / sites);
  return {
    sites: ids.map((siteId) => ({ siteId, slotCosts: Array.from({ length: slots }, () => 0) })),
    tasks: Array.from({ length: tasks }, (_, at): PlanningTask => ({
      taskId: `t${at}`,
      waitingCost: 100_000,
      options: ids.map((siteId, site) => ({
        siteId,
        cost: { latency: Math.floor((100 + random.uniform() * 1_900) * speeds[site]!), preference: 0 },
      })),
    })),
  };
};

/** CPLEX LP text of the transport problem. */
const linearProgramme = ({ tasks, sites }: Problem): string => {
  const name = (task: number, site: number): string => `x${task}_${site}`;
  const objective = tasks.map((task, at) =>
    task.options.map((option, site) => `${optionCost(option)} ${name(at, site)}`).join(' + '),
  );
  const once = tasks.map((_, at) => `t${at}: ${sites.map((__, site) => name(at, site)).join(' + ')} = 1`);
  const slots = sites.map(
    ({ slotCosts }, site) =>
      `s${site}: ${tasks.map((_, at) => name(at, site)).join(' + ')} <= ${slotCosts.length}`,
  );
  return `Minimize\n obj: ${objective.join('\n + ')}\nSubject To\n${[...once, ...slots].join('\n')}\nEnd\n`;
};

const timeHighs = async (problem: Problem): Promise<{ highsCost: number | null; highsMs: number | null }> => {
  if (problem.tasks.length * problem.sites.length > HIGHS_PAIRS_MAX)
    return { highsCost: null, highsMs: null };
  const text = linearProgramme(problem);
  const highs = await loadHighs();
  const begunMs = performance.now();
  const solution = highs.solve(text);
  const highsMs = performance.now() - begunMs;
  return { highsCost: solution.Status === 'Optimal' ? Math.round(solution.ObjectiveValue) : null, highsMs };
};

const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
};

const planOf = (problem: Problem): { plan: FlowPlan; tookMs: number } => {
  const begunMs = performance.now();
  const plan = new FlowPlan(problem.sites);
  for (const task of problem.tasks) plan.insert(task);
  return { plan, tookMs: performance.now() - begunMs };
};

/** One event is one task taken out or put in; the plan is exact after each. */
const timeEvents = (plan: FlowPlan, problem: Problem, seed: number): number => {
  const random = seeded(seed);
  const times: number[] = [];
  for (let event = 0; event < EVENTS / 2; event += 1) {
    const task = problem.tasks[random.below(problem.tasks.length)]!;
    const begunMs = performance.now();
    plan.remove(task.taskId);
    const betweenMs = performance.now();
    plan.insert(task);
    times.push(betweenMs - begunMs, performance.now() - betweenMs);
  }
  return quantile(times, 0.99);
};

const checked = (plan: FlowPlan, problem: Problem): { cost: number; bound: number } => {
  const sites = problem.tasks.map(({ taskId }) => plan.siteOf(taskId));
  const { faults, cost, bound } = verifyCertificate(problem, sites, plan.sitePrices());
  if (faults.length > 0 || bound === null) throw new Error(`the plan does not check: ${faults.join('; ')}`);
  return { cost, bound };
};

export const measureFlow = async (tasks: number, sites: number, seed: number): Promise<FlowRow> => {
  const first = makeProblem(tasks, sites, seed);
  planOf(first);
  // One instance at a time: a million options each would keep the garbage collector busy.
  const times = Array.from(
    { length: REPEATS },
    (_, at) => planOf(at === 0 ? first : makeProblem(tasks, sites, seed + at)).tookMs,
  );
  const { plan } = planOf(first);
  const { cost, bound } = checked(plan, first);
  const eventMsP99 = timeEvents(plan, first, seed);
  checked(plan, first);
  const peer = await timeHighs(first);
  if (peer.highsCost !== null && peer.highsCost !== cost)
    throw new Error(`HiGHS found ${peer.highsCost}, the flow solver ${cost}`);
  return {
    tasks,
    sites,
    cost,
    bound,
    wallMsP50: quantile(times, 0.5),
    wallMsP95: quantile(times, 0.95),
    eventMsP99,
    ...peer,
  };
};

const text = (row: FlowRow): string =>
  [
    `${row.tasks} tasks x ${row.sites} sites: cost ${row.cost}, bound ${row.bound} (gap ${row.cost - row.bound})`,
    `whole plan: p50 ${row.wallMsP50.toFixed(1)} ms, p95 ${row.wallMsP95.toFixed(1)} ms; one event: p99 ${row.eventMsP99.toFixed(3)} ms`,
    row.highsMs === null
      ? 'HiGHS: not tried at this size'
      : `HiGHS: ${row.highsMs.toFixed(0)} ms, cost ${row.highsCost ?? 'not found'} (${(row.highsMs / row.wallMsP50).toFixed(1)}x ours)`,
  ].join('\n');

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<FlowRow> => {
  const { values } = parseArgs({
    args: [...args],
    options: { tasks: { type: 'string' }, sites: { type: 'string' }, seed: { type: 'string' } },
  });
  const [tasks, sites, seed] = [
    Number(values.tasks ?? 1_000),
    Number(values.sites ?? 100),
    Number(values.seed ?? 1),
  ];
  if (!(
    Number.isInteger(tasks) &&
    tasks >= 1 &&
    Number.isInteger(sites) &&
    sites >= 1 &&
    Number.isInteger(seed)
  ))
    throw new QflError('invalid_request', {
      detail: 'tasks and sites are whole numbers from 1, the seed a whole number',
    });
  const row = await measureFlow(tasks, sites, seed);
  console.log(json ? JSON.stringify(row) : text(row));
  return row;
};
