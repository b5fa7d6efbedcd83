/**
 * `samplers [--tasks N] [--sites M] [--seeds K] [--seconds T]`: the quadratic (QUBO) view of coupled assignment given to samplers — simulated annealing, simulated
 * bifurcation, QAOA on the exact simulator where it fits — beside the structure-aware solver on the same instances and the same time. Their
 * proposals are repaired and scored on the true objective. What loses is printed like what wins.
 */
import { parseArgs } from 'node:util';
import {
  compareSamplers,
  type SamplerName,
  type SamplerRow,
} from '../../coordinator/solvers/samplers/compare.ts';
import { QflError } from '../../shared/errors.ts';
import { makeCoupled } from './coupled.ts';

export const usage = '[--tasks N] [--sites M] [--seeds K] [--seconds T]';

export interface SamplersRow {
  readonly tasks: number;
  readonly sites: number;
  readonly solver: SamplerName;
  readonly instances: number;
  readonly bits: number;
  /** Of all proposals, those that kept every rule by themselves. */
  readonly feasibleShare: number;
  /** Above the best plan of any solver, mean over the instances; null when an instance had no plan. */
  readonly meanGap: number | null;
  /** Instances on which it found the best plan. */
  readonly bestOn: number;
  readonly meanWallMs: number;
}

const SIZES = [
  { tasks: 5, sites: 3 },
  { tasks: 40, sites: 4 },
  { tasks: 60, sites: 5 },
] as const;

const summarise = (
  tasks: number,
  sites: number,
  comparisons: readonly { readonly rows: readonly SamplerRow[]; readonly best: number }[],
): SamplersRow[] => {
  const names = comparisons[0]?.rows.map(({ solver }) => solver) ?? [];
  return names.map((solver) => {
    const own = comparisons.flatMap(({ rows, best }) =>
      rows.filter((row) => row.solver === solver).map((row) => ({ row, best })),
    );
    const runs = own.reduce((sum, { row }) => sum + row.runs, 0);
    const gaps = own.map(({ row, best }) => (row.cost === null ? null : (row.cost - best) / best));
    return {
      tasks,
      sites,
      solver,
      instances: own.length,
      bits: own[0]?.row.bits ?? 0,
      feasibleShare: own.reduce((sum, { row }) => sum + row.feasibleRuns, 0) / runs,
      meanGap: gaps.includes(null)
        ? null
        : gaps.reduce<number>((sum, gap) => sum + (gap ?? 0), 0) / gaps.length,
      bestOn: own.filter(({ row, best }) => row.cost === best).length,
      meanWallMs: own.reduce((sum, { row }) => sum + row.wallMs, 0) / own.length,
    };
  });
};

const line = (row: SamplersRow): string =>
  [
    `${row.tasks} x ${row.sites}`.padEnd(9),
    row.solver.padEnd(23),
    String(row.bits).padStart(5),
    `${(row.feasibleShare * 100).toFixed(0)} %`.padStart(9),
    (row.meanGap === null ? 'none' : `+${(row.meanGap * 100).toFixed(2)} %`).padStart(11),
    `${row.bestOn}/${row.instances}`.padStart(8),
    row.meanWallMs.toFixed(0).padStart(9),
  ].join('');

export const run = ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly SamplersRow[]> => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      tasks: { type: 'string' },
      sites: { type: 'string' },
      seeds: { type: 'string' },
      seconds: { type: 'string' },
    },
  });
  const seeds = Number(values.seeds ?? 20);
  const timeMs = Number(values.seconds ?? 0.5) * 1_000;
  const sizes =
    values.tasks === undefined && values.sites === undefined
      ? SIZES
      : [{ tasks: Number(values.tasks ?? 40), sites: Number(values.sites ?? 4) }];
  const whole = [seeds, ...sizes.flatMap(({ tasks, sites }) => [tasks - 1, sites])];
  if (!whole.every((value) => Number.isInteger(value) && value >= 1) || !(timeMs > 0))
    throw new QflError('invalid_request', {
      detail: 'tasks (from 2), sites and seeds are whole numbers, seconds above 0',
    });
  if (!json) console.log('size     solver                  bits  feasible  above best  best on  wall ms');
  const all = sizes.flatMap(({ tasks, sites }) => {
    const comparisons = Array.from({ length: seeds }, (_, at) => {
      const options = { seed: at + 1, timeMs, nowMs: () => performance.now() };
      const { rows, best } = compareSamplers(makeCoupled(tasks, sites, 500 + at), options);
      return { rows, best: best.cost };
    });
    const rows = summarise(tasks, sites, comparisons);
    if (!json) for (const row of rows) console.log(line(row));
    return rows;
  });
  if (json) console.log(JSON.stringify({ bench: 'samplers', seconds: timeMs / 1_000, rows: all }));
  return Promise.resolve(all);
};
