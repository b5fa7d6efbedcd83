import fc from 'fast-check';
import { expect, it } from 'vitest';
import { makePlan } from '../../../coordinator/planning/plan.ts';
import type { PlanningTask, Problem } from '../../../coordinator/planning/problem.ts';
import { verifyCertificate } from '../../../coordinator/planning/verify-certificate.ts';
import { FlowPlan, flowSolver } from '../../../coordinator/solvers/flow.ts';
import { greedySolver } from '../../../coordinator/solvers/greedy.ts';
import { systemClock } from '../../../shared/clock.ts';
import { bruteForceCost, problemArbitrary } from './instances.ts';

it('is as cheap as the best of all assignments, and proves it', () => {
  fc.assert(
    fc.property(problemArbitrary, (problem) => {
      const plan = makePlan(problem, flowSolver, systemClock);
      expect(plan.cost.total).toBe(bruteForceCost(problem));
      expect(plan.gap).toBe(0);
    }),
    { numRuns: 400 },
  );
});

const checkOf = (plan: FlowPlan, problem: Problem) =>
  verifyCertificate(
    problem,
    problem.tasks.map(({ taskId }) => plan.siteOf(taskId)),
    plan.sitePrices(),
  );

it('stays exact while tasks come, go and change their costs', () => {
  const step = fc.record({ task: fc.nat({ max: 5 }), kind: fc.constantFrom('insert', 'remove', 'reprice') });
  fc.assert(
    fc.property(problemArbitrary, fc.array(step, { maxLength: 12 }), ({ tasks, sites }, steps) => {
      const plan = new FlowPlan(sites);
      const present = new Map<string, PlanningTask>();
      for (const { task: at, kind } of steps) {
        const task = tasks[at];
        if (task === undefined) continue;
        const isThere = present.has(task.taskId);
        if (kind === 'insert' && !isThere) {
          plan.insert(task);
          present.set(task.taskId, task);
        } else if (kind === 'remove' && isThere) {
          plan.remove(task.taskId);
          present.delete(task.taskId);
        } else if (kind === 'reprice' && isThere) {
          const dearer = { ...task, waitingCost: task.waitingCost + 7, options: task.options.slice(1) };
          plan.reprice(dearer);
          present.set(task.taskId, dearer);
        }
        const problem = { sites, tasks: [...present.values()] };
        const cost = bruteForceCost(problem);
        expect(checkOf(plan, problem)).toEqual({ faults: [], cost, bound: cost });
      }
    }),
    { numRuns: 200 },
  );
});

it('never costs more than greedy in arrival order', () => {
  fc.assert(
    fc.property(problemArbitrary, (problem) => {
      const greedy = makePlan(problem, greedySolver, systemClock);
      expect(greedy.bound).toBeNull();
      expect(makePlan(problem, flowSolver, systemClock).cost.total).toBeLessThanOrEqual(greedy.cost.total);
    }),
  );
});
