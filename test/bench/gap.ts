/**
 * `gap FILE… [--seconds S] [--seed N]`: generalized assignment, minimised, on files in the layout of the public collections: m n, then m rows of
 * costs, m rows of weights, one row of capacities. With --json one object a line: instance, cost, assignment, bound, gap, proven, wallMs, cpuMs.
 * The certificate of every bound and every assignment is checked again by code that shares nothing with the solver.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { verifyGap } from '../../coordinator/planning/verify-gap.ts';
import type { GapInstance } from '../../coordinator/solvers/gap/instance.ts';
import { MULTIPLIER_SCALE } from '../../coordinator/solvers/gap/lagrangian.ts';
import { solveGap } from '../../coordinator/solvers/gap/solve.ts';
import { QflError } from '../../shared/errors.ts';

export const usage = 'FILE… [--seconds S] [--seed N]';

const SECONDS_DEFAULT = 5;

export interface GapRow {
  readonly instance: string;
  /** null when no plan that fits was found in the time. */
  readonly cost: number | null;
  /** Agent of each job, counted from 0. */
  readonly assignment: readonly number[] | null;
  readonly bound: number;
  /** (cost − bound) / cost */
  readonly gap: number | null;
  readonly proven: boolean;
  readonly wallMs: number;
  readonly cpuMs: number;
}

/** @throws QflError `invalid_request` */
export const parseGap = (text: string, name: string): GapInstance => {
  const refuse = (detail: string): never => {
    throw new QflError('invalid_request', { detail: `${name}: ${detail}` });
  };
  const values = text.trim().split(/\s+/).map(Number);
  if (!values.every((value) => Number.isSafeInteger(value)))
    refuse('it holds something that is not an integer');
  const [agents = 0, jobs = 0] = values;
  const expected = 2 + 2 * agents * jobs + agents;
  if (agents < 1 || jobs < 1 || values.length !== expected)
    refuse(`it holds ${values.length} integers where ${expected} belong`);
  const cells = agents * jobs;
  return {
    agents,
    jobs,
    costs: Int32Array.from(values.slice(2, 2 + cells)),
    weights: Int32Array.from(values.slice(2 + cells, 2 + 2 * cells)),
    capacities: Int32Array.from(values.slice(2 + 2 * cells)),
  };
};

export const solveRow = (instance: GapInstance, name: string, seconds: number, seed: number): GapRow => {
  const cpu = process.cpuUsage();
  const begunMs = performance.now();
  const solution = solveGap(instance, { timeMs: seconds * 1_000, seed, nowMs: () => performance.now() });
  const wallMs = performance.now() - begunMs;
  const { user, system } = process.cpuUsage(cpu);
  const check = verifyGap(instance, solution.assignment, solution.multipliers, MULTIPLIER_SCALE);
  if (check.faults.length > 0 || check.cost !== solution.cost || check.bound < solution.certified)
    throw new Error(`${name}: the solution does not check: ${check.faults.join('; ')}`);
  return {
    instance: name,
    cost: solution.cost,
    assignment: solution.assignment === null ? null : [...solution.assignment],
    bound: solution.bound,
    gap: solution.cost === null ? null : (solution.cost - solution.bound) / solution.cost,
    proven: solution.proven,
    wallMs,
    cpuMs: (user + system) / 1_000,
  };
};

const line = (row: GapRow): string =>
  [
    row.instance.padEnd(12),
    String(row.cost ?? 'none').padStart(9),
    String(row.bound).padStart(9),
    row.gap === null ? '       –' : `${(row.gap * 100).toFixed(3).padStart(7)} %`,
    row.proven ? '  proven ' : '  open   ',
    row.wallMs.toFixed(0).padStart(7),
    row.cpuMs.toFixed(0).padStart(7),
  ].join('');

export const run = ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<readonly GapRow[]> => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { seconds: { type: 'string' }, seed: { type: 'string' } },
    allowPositionals: true,
  });
  const seconds = Number(values.seconds ?? SECONDS_DEFAULT);
  const seed = Number(values.seed ?? 1);
  if (positionals.length === 0 || !(seconds > 0) || !Number.isInteger(seed))
    throw new QflError('invalid_request', { detail: 'give one or more files, and seconds above 0' });
  if (!json) console.log('instance         cost    bound      gap           wall ms cpu ms');
  return Promise.resolve(
    positionals.map((file) => {
      const name = path.basename(file).replace(/\.txt$/, '');
      const row = solveRow(parseGap(readFileSync(file, 'utf8'), name), name, seconds, seed);
      console.log(json ? JSON.stringify(row) : line(row));
      return row;
    }),
  );
};
