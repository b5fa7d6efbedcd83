import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { verifyGap } from '../../../coordinator/planning/verify-gap.ts';
import { type GapInstance, gapCost } from '../../../coordinator/solvers/gap/instance.ts';
import { MULTIPLIER_SCALE } from '../../../coordinator/solvers/gap/lagrangian.ts';
import { type GapSolution, solveGap } from '../../../coordinator/solvers/gap/solve.ts';
import { parseGap } from '../../bench/gap.ts';

const solve = (instance: GapInstance, seed = 1): GapSolution =>
  solveGap(instance, { timeMs: 5_000, seed, nowMs: () => performance.now() });

const check = (instance: GapInstance, solution: GapSolution) =>
  verifyGap(instance, solution.assignment, solution.multipliers, MULTIPLIER_SCALE);

const anyInstance: fc.Arbitrary<GapInstance> = fc
  .record({ agents: fc.integer({ min: 1, max: 4 }), jobs: fc.integer({ min: 1, max: 6 }) })
  .chain(({ agents, jobs }) => {
    const many = (count: number, max: number) =>
      fc
        .array(fc.integer({ min: 0, max }), { minLength: count, maxLength: count })
        .map((values) => Int32Array.from(values));
    return fc.record({
      agents: fc.constant(agents),
      jobs: fc.constant(jobs),
      costs: many(agents * jobs, 30),
      weights: many(agents * jobs, 9),
      capacities: many(agents, 25),
    });
  });

/** Every assignment tried. */
const bruteForce = (instance: GapInstance): number => {
  const assignment = new Int32Array(instance.jobs);
  let best = Infinity;
  const total = instance.agents ** instance.jobs;
  for (let code = 0; code < total; code += 1) {
    let rest = code;
    for (let job = 0; job < instance.jobs; job += 1) {
      assignment[job] = rest % instance.agents;
      rest = Math.floor(rest / instance.agents);
    }
    const cost = gapCost(instance, assignment);
    if (cost < best) best = cost;
  }
  return best;
};

test('small instances: the optimum, proven; or proven to have none', () => {
  fc.assert(
    fc.property(anyInstance, (instance) => {
      const solution = solve(instance);
      const best = bruteForce(instance);
      if (best === Infinity) expect(solution).toMatchObject({ cost: null, infeasible: true, proven: false });
      else {
        expect(solution).toMatchObject({ cost: best, bound: best, proven: true, infeasible: false });
        expect(check(instance, solution)).toMatchObject({
          faults: [],
          cost: best,
          bound: solution.certified,
        });
      }
    }),
    { numRuns: 150 },
  );
});

test('multipliers stay integers where only one agent can take anything', () => {
  const instance: GapInstance = {
    agents: 3,
    jobs: 3,
    costs: Int32Array.of(3, 28, 25, 2, 1, 1, 1, 22, 28),
    weights: Int32Array.of(9, 4, 9, 3, 3, 2, 3, 4, 9),
    capacities: Int32Array.of(1, 1, 23),
  };
  const solution = solve(instance);
  expect(solution).toMatchObject({ cost: 51, proven: true });
  expect(check(instance, solution)).toMatchObject({ faults: [], cost: 51 });
});

const FOLDER = new URL('../../../../shared/bench/gap/', import.meta.url);
const BestKnown = z.record(z.string(), z.looseObject({ minimise: z.number() }));

describe.skipIf(!existsSync(FOLDER))('public instances (skipped without ../shared/bench/gap)', () => {
  const read = (name: string) => parseGap(readFileSync(new URL(`${name}.txt`, FOLDER), 'utf8'), name);
  const optimum = (name: string): number | undefined => {
    const json: unknown = JSON.parse(readFileSync(new URL('best-known.json', FOLDER), 'utf8'));
    const table = z.looseObject({ instances: BestKnown.optional() }).parse(json);
    return (table.instances ?? BestKnown.parse(json))[name]?.minimise;
  };
  const names = [1, 2, 3, 4, 5, 6].flatMap((family) => [0, 1, 2, 3, 4].map((at) => `gap${family}-${at}`));

  test.each([...names, 'a05100', 'a10100', 'a20100', 'b10100', 'b20100'])(
    '%s: optimal and proven',
    (name) => {
      const instance = read(name);
      const solution = solve(instance);
      expect(solution).toMatchObject({ cost: optimum(name), proven: true });
      expect(check(instance, solution).faults).toEqual([]);
    },
  );
});

describe('the checker', () => {
  const instance: GapInstance = {
    agents: 2,
    jobs: 2,
    costs: Int32Array.of(1, 5, 5, 1),
    weights: Int32Array.of(3, 3, 3, 3),
    capacities: Int32Array.of(3, 3),
  };
  const multipliers = [1, 1].map((value) => value * MULTIPLIER_SCALE);

  test('passes what is right', () => {
    expect(verifyGap(instance, [0, 1], multipliers, MULTIPLIER_SCALE)).toEqual({
      faults: [],
      cost: 2,
      bound: 2,
    });
  });
  test('names a full agent, a job that is nowhere, and multipliers nobody can repeat', () => {
    expect(verifyGap(instance, [0, 0], multipliers, MULTIPLIER_SCALE).faults).toEqual([
      'agent 0 takes 6 of 3',
    ]);
    expect(verifyGap(instance, [0], multipliers, MULTIPLIER_SCALE).faults[0]).toBe('job 1 is at no agent');
    expect(verifyGap(instance, [0, 1], [0.5, 0], MULTIPLIER_SCALE).faults).toContain(
      'the multipliers are not integers',
    );
  });
});

test('malformed instances are refused', () => {
  expect(() => parseGap('2 2 1 1', 'short')).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  expect(() => parseGap('1 1 1 x 1', 'text')).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  expect(() =>
    solve({
      agents: 1,
      jobs: 1,
      costs: Int32Array.of(-1),
      weights: Int32Array.of(1),
      capacities: Int32Array.of(1),
    }),
  ).toThrow(expect.objectContaining({ code: 'invalid_request' }));
});
