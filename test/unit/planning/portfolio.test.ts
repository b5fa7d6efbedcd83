/** One portfolio over slots, tokens, budget and couplings: always within every limit, its bound proven and true, near the optimum on small problems. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runPlanJob } from '../../../coordinator/planning/thread-jobs.ts';
import { packProblem, unpackProblem } from '../../../coordinator/planning/packed.ts';
import { solvePortfolio, standInPlan } from '../../../coordinator/planning/portfolio.ts';
import type { Problem } from '../../../coordinator/planning/problem.ts';
import { verifyPlan } from '../../../coordinator/planning/verify-plan.ts';
import type { Clock } from '../../../shared/clock.ts';
import { QflError } from '../../../shared/errors.ts';
import { seeded } from '../../../shared/seeded.ts';
import { bruteForceFull, fullProblemArbitrary, siteIdOf } from './instances.ts';

const [north, south] = [siteIdOf(0), siteIdOf(1)];

describe('the portfolio', () => {
  it('is within every limit, true to its cost, and never claims a bound above the optimum', () => {
    let [optimal, runs] = [0, 0];
    fc.assert(
      fc.property(fullProblemArbitrary, (problem) => {
        const plan = solvePortfolio(problem, { seed: 1, timeMs: 2 });
        const sites = plan.assignments.map(({ siteId }) => siteId);
        expect(verifyPlan(problem, sites, plan.certificate)).toEqual({
          faults: [],
          cost: plan.cost,
          bound: plan.bound,
        });
        const truth = bruteForceFull(problem);
        expect(plan.bound).toBeLessThanOrEqual(truth);
        expect(plan.cost.total).toBeGreaterThanOrEqual(truth);
        runs += 1;
        if (plan.cost.total === truth) optimal += 1;
        const standIn = standInPlan(problem, { seed: 1 });
        expect(standIn.cost.total).toBeGreaterThanOrEqual(truth);
        expect(standIn.bound).toBeLessThanOrEqual(truth);
      }),
      { numRuns: 300 },
    );
    expect(optimal / runs).toBeGreaterThan(0.95);
  });

  it('repeats for a seed where no time is given, however slow the machine', () => {
    const readBy = (stepMs: number): Clock => {
      let nowMs = 0;
      return { nowMs: () => 0, monotonicMs: () => (nowMs += stepMs) };
    };
    const planned = (problem: Problem, stepMs: number) => {
      const { assignments, bound } = solvePortfolio(problem, { seed: 5, timeMs: 0, clock: readBy(stepMs) });
      return { assignments, bound };
    };
    fc.assert(
      fc.property(fullProblemArbitrary, (problem) => {
        const real = solvePortfolio(problem, { seed: 5, timeMs: 0 });
        const { assignments, bound } = real;
        expect(planned(problem, 1_000)).toEqual({ assignments, bound });
        expect(planned(problem, 0.000_1)).toEqual({ assignments, bound });
      }),
      { numRuns: 100 },
    );
  });

  it('chooses by what binds, and says which solver it was', () => {
    const problem = (rest: Partial<Problem>, tokensMax?: number): Problem => ({
      sites: [north, south].map((siteId) => ({ siteId, slotCosts: [0, 1, 2, 3], tokensMax })),
      tasks: Array.from({ length: 4 }, (_, at) => ({
        taskId: `t${at}`,
        waitingCost: 1_000,
        options: [north, south].map((siteId, site) => ({
          siteId,
          tokens: 600,
          cost: { latency: 10 + site * (at + 1), preference: 0 },
        })),
      })),
      ...rest,
    });
    const solverOf = (one: Problem) => solvePortfolio(one, { seed: 1, timeMs: 20 }).solver;
    expect(solverOf(problem({}))).toBe('flow');
    expect(solverOf(problem({}, 10_000))).toBe('flow');
    expect(['generalized assignment', 'flow, made to fit']).toContain(solverOf(problem({}, 1_200)));
    expect(solverOf(problem({ couplings: [{ first: 0, second: 3, weight: -20 }] }))).toBe('coupled');
    const tight = solvePortfolio(problem({}, 1_200), { seed: 1, timeMs: 20 });
    expect(tight.assignments.filter(({ siteId }) => siteId === north)).toHaveLength(2);
    expect(tight.cost.waiting).toBe(0);
    expect(tight.gap).toBeLessThanOrEqual(1);
    const none = solvePortfolio(problem({}, 100), { seed: 1, timeMs: 20 });
    expect(none.assignments.every(({ siteId }) => siteId === null)).toBe(true);
  });

  it('keeps two hundred tasks within tokens and budget, with a proven gap of a few per cent', () => {
    const random = seeded(3);
    const sites = Array.from({ length: 6 }, (_, at) => siteIdOf(at));
    const problem: Problem = {
      sites: sites.map((siteId) => ({
        siteId,
        slotCosts: Array.from({ length: 60 }, (_, at) => at),
        tokensMax: 26_000,
        microEpsilonMax: 900,
      })),
      tasks: Array.from({ length: 120 }, (_, at) => {
        const tokens = 64 * 2 ** random.below(5) + 512;
        return {
          taskId: `t${at}`,
          waitingCost: 50_000,
          options: sites.map((siteId) => ({
            siteId,
            tokens,
            microEpsilon: random.below(20),
            cost: { latency: 100 + random.below(900), preference: 0, money: random.below(50), privacy: 0 },
          })),
        };
      }),
    };
    const plan = solvePortfolio(problem, { seed: 1, timeMs: 300 });
    expect(plan.gap! / plan.cost.total).toBeLessThan(0.05);
    expect(plan.cost.waiting).toBe(0);
    expect(plan.cost.total).toBeLessThan(standInPlan(problem, { seed: 1 }).cost.total);
  });

  it('crosses to a thread and back as it is', () => {
    fc.assert(
      fc.property(fullProblemArbitrary, (problem) => {
        const named = {
          sites: problem.sites,
          couplings: problem.couplings ?? [],
          tasks: problem.tasks.map((task, at) => ({ ...task, taskId: String(at) })),
        };
        expect(unpackProblem(packProblem(named))).toEqual(named);
      }),
      { numRuns: 50 },
    );
  });
});

describe('what is no planning problem', () => {
  const task = (latency: number, rest: object = {}) => ({
    taskId: 'a',
    waitingCost: 1,
    options: [{ siteId: north, cost: { latency, preference: 0 }, ...rest }],
  });
  const one = { siteId: north, slotCosts: [0] };
  it.each<[string, Problem, RegExp]>([
    ['a cost that is NaN', { sites: [one], tasks: [task(Number.NaN)] }, /not an integer/],
    ['a negative cost', { sites: [one], tasks: [task(-1)] }, /negative/],
    [
      'a waiting cost that is NaN',
      { sites: [one], tasks: [{ ...task(1), waitingCost: Number.NaN }] },
      /integer/,
    ],
    ['tokens that are no amount', { sites: [one], tasks: [task(1, { tokens: -5 })] }, /not an amount/],
    [
      'a capacity that is no amount',
      { sites: [{ ...one, tokensMax: Number.NaN }], tasks: [] },
      /not an amount/,
    ],
    [
      'a coupling to a missing task',
      { sites: [one], tasks: [task(1)], couplings: [{ first: 0, second: 1, weight: -1 }] },
      /names a task that is not there/,
    ],
    [
      'a task coupled to itself',
      { sites: [one], tasks: [task(1)], couplings: [{ first: 0, second: 0, weight: -1 }] },
      /to itself/,
    ],
    ['an option at a site that is not there', { sites: [], tasks: [task(1)] }, /not there/],
  ])('%s is refused, here and in a thread', (_, problem, detail) => {
    const refusal: unknown = expect.objectContaining({
      code: 'invalid_request',
      detail: expect.stringMatching(detail),
    });
    expect(() => solvePortfolio(problem, { seed: 1, timeMs: 0 })).toThrowError(QflError);
    expect(() => solvePortfolio(problem, { seed: 1, timeMs: 0 })).toThrow(refusal);
    if (problem.sites.length > 0)
      expect(() => runPlanJob({ problem: packProblem(problem), seed: 1, timeMs: 0 })).toThrow(refusal);
  });

  it('no sites, or capacities that take nobody: everyone waits, proven', () => {
    const nowhere = { taskId: 'a', waitingCost: 7, options: [] };
    expect(solvePortfolio({ sites: [], tasks: [nowhere] }, { seed: 1, timeMs: 0 })).toMatchObject({
      assignments: [{ siteId: null }],
      cost: { total: 7 },
      gap: 0,
    });
    const full = { sites: [{ siteId: north, slotCosts: [] }], tasks: [task(1)] };
    expect(solvePortfolio(full, { seed: 1, timeMs: 0 })).toMatchObject({
      assignments: [{ siteId: null }],
      gap: 0,
    });
  });
});
