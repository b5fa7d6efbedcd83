/**
 * `planning`: the exact flow solver on random linear instances. Units: milliseconds for a whole plan, microseconds for one task
 * more, per cent of cost. Inputs: tasks × sites with slots for 115 % of the tasks. Beside it, on the same instances in the
 * same run: greedy in arrival order (cost), and the textbook peer, the Hungarian method on slots copied out (time; small only,
 * its time is cubic).
 */
import type { SiteId } from '../../shared/ids.ts';
import { SiteId as SiteIdSchema } from '../../shared/ids.ts';
import { systemClock } from '../../shared/clock.ts';
import { makePlan } from '../../coordinator/planning/plan.ts';
import { optionCost, type PlanningTask, type Problem } from '../../coordinator/planning/problem.ts';
import { flowSolver } from '../../coordinator/solvers/flow.ts';
import { greedySolver } from '../../coordinator/solvers/greedy.ts';

export interface PlanningBenchRow {
  readonly tasks: number;
  readonly sites: number;
  readonly flowMs: number;
  readonly flowMicrosPerTask: number;
  readonly gap: number;
  readonly greedyCostPercentAbove: number;
  /** null: not tried at this size. */
  readonly hungarianMs: number | null;
}

const SIZES = [
  { tasks: 100, sites: 3 },
  { tasks: 1_000, sites: 10 },
  { tasks: 1_000, sites: 100 },
  { tasks: 10_000, sites: 10 },
] as const;
const HUNGARIAN_TASKS_MAX = 1_000;
const SLOTS_PER_TASK = 1.15;

/** Mulberry32: a seeded generator, so that every run has the same instances. */
const seeded = (seed: number) => {
  let state = seed;
  return (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

const makeProblem = (tasks: number, sites: number): Problem => {
  const random = seeded(tasks * 1_000 + sites);
  const ids: SiteId[] = Array.from({ length: sites }, (_, at) => SiteIdSchema.parse(`site-${at}`));
  // Sites differ as hospitals do: some are fast for nearly every task, so the good places are contended.
  const speeds = ids.map(() => 0.4 + 1.2 * random());
  const slots = Math.ceil((tasks * SLOTS_PER_TASK) / sites);
  const taskOf = (at: number): PlanningTask => ({
    taskId: `t${at}`,
    waitingCost: 100_000,
    options: ids.map((siteId, site) => ({
      siteId,
      cost: { latency: Math.floor((100 + random() * 1_900) * speeds[site]!), preference: 0 },
    })),
  });
  return {
    sites: ids.map((siteId) => ({ siteId, slotCosts: Array.from({ length: slots }, () => 0) })),
    tasks: Array.from({ length: tasks }, (_, at) => taskOf(at)),
  };
};

/** Shortest augmenting paths on the full matrix (Jonker and Volgenant's row step); rows ≤ columns. Returns the cost. */
const hungarianCost = (matrix: readonly Float64Array[], columns: number): number => {
  const u = new Float64Array(matrix.length + 1);
  const v = new Float64Array(columns + 1);
  const row = new Int32Array(columns + 1);
  for (let inserted = 1; inserted <= matrix.length; inserted += 1) {
    const way = new Int32Array(columns + 1);
    const least = new Float64Array(columns + 1).fill(Infinity);
    const used = new Uint8Array(columns + 1);
    row[0] = inserted;
    let column = 0;
    do {
      used[column] = 1;
      const current = row[column]!;
      const costs = matrix[current - 1]!;
      let delta = Infinity;
      let next = 0;
      for (let j = 1; j <= columns; j += 1) {
        if (used[j] === 1) continue;
        const reduced = costs[j - 1]! - u[current]! - v[j]!;
        if (reduced < least[j]!) [least[j], way[j]] = [reduced, column];
        if (least[j]! < delta) [delta, next] = [least[j]!, j];
      }
      for (let j = 0; j <= columns; j += 1) {
        if (used[j] === 1) {
          u[row[j]!]! += delta;
          v[j]! -= delta;
        } else least[j]! -= delta;
      }
      column = next;
    } while (row[column] !== 0);
    for (; column !== 0; column = way[column]!) row[column] = row[way[column]!]!;
  }
  return -v[0]!;
};

const copySlots = ({ tasks, sites }: Problem): readonly Float64Array[] =>
  tasks.map(({ options }) =>
    Float64Array.from(
      sites.flatMap(({ slotCosts }, at) => slotCosts.map((cost) => cost + optionCost(options[at]!))),
    ),
  );

const timeHungarian = (problem: Problem, expectedCost: number): number | null => {
  if (problem.tasks.length > HUNGARIAN_TASKS_MAX) return null;
  const begunMs = performance.now();
  const matrix = copySlots(problem);
  const cost = hungarianCost(matrix, matrix[0]?.length ?? 0);
  const tookMs = performance.now() - begunMs;
  if (cost !== expectedCost) throw new Error(`the peer found ${cost}, the flow solver ${expectedCost}`);
  return tookMs;
};

const measure = ({ tasks, sites }: { readonly tasks: number; readonly sites: number }): PlanningBenchRow => {
  const problem = makeProblem(tasks, sites);
  const plan = makePlan(problem, flowSolver, systemClock);
  const greedy = makePlan(problem, greedySolver, systemClock);
  return {
    tasks,
    sites,
    flowMs: plan.wallMs,
    flowMicrosPerTask: (plan.wallMs * 1_000) / tasks,
    gap: plan.gap ?? Number.NaN,
    greedyCostPercentAbove: (greedy.cost.total / plan.cost.total - 1) * 100,
    hungarianMs: timeHungarian(problem, plan.cost.total),
  };
};

const table = (rows: readonly PlanningBenchRow[]): string => {
  const head = ['tasks x sites', 'flow ms', 'µs/task', 'gap', 'greedy cost', 'Hungarian ms'];
  const lines = rows.map((row) => [
    `${row.tasks} x ${row.sites}`,
    row.flowMs.toFixed(1),
    row.flowMicrosPerTask.toFixed(1),
    String(row.gap),
    `+${row.greedyCostPercentAbove.toFixed(1)} %`,
    row.hungarianMs === null ? 'not tried' : row.hungarianMs.toFixed(1),
  ]);
  return [head, ...lines].map((cells) => cells.map((cell) => cell.padStart(14)).join('')).join('\n');
};

/** Prints a table, or one JSON object with `json`. */
export const run = ({ json }: { readonly json: boolean }): Promise<readonly PlanningBenchRow[]> => {
  measure(SIZES[0]);
  const rows = SIZES.map(measure);
  console.log(json ? JSON.stringify({ bench: 'planning', rows }) : table(rows));
  return Promise.resolve(rows);
};
