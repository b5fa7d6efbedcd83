/** Plans in worker threads: the same plans as here, and an answer for everybody when a thread dies in the middle. */
import { describe, expect, it } from 'vitest';
import { createLivePlanner } from '../../../coordinator/planning/live.ts';
import { solvePortfolio } from '../../../coordinator/planning/portfolio.ts';
import type { Problem } from '../../../coordinator/planning/problem.ts';
import {
  createPlanningThreads,
  isSmall,
  type PlanningThreads,
} from '../../../coordinator/planning/threads.ts';
import { verifyPlan } from '../../../coordinator/planning/verify-plan.ts';
import type { PlacementRequest } from '../../../coordinator/relay/placement.ts';
import { JobMessage } from '../../../coordinator/workers/messages.ts';
import { spawnThread, type WorkerLike } from '../../../coordinator/workers/pool.ts';
import { systemClock } from '../../../shared/clock.ts';
import { toQflError } from '../../../shared/errors.ts';
import { seeded } from '../../../shared/seeded.ts';
import type { Telemetry } from '../../../shared/wire/session.ts';
import { siteIdOf } from './instances.ts';

const SITES = Array.from({ length: 10 }, (_, at) => siteIdOf(at));

const bigProblem = (tasks: number, couplings: Problem['couplings'] = []): Problem => {
  const random = seeded(5);
  return {
    sites: SITES.map((siteId) => ({
      siteId,
      slotCosts: Array.from({ length: tasks / 5 }, (_, at) => at),
    })),
    tasks: Array.from({ length: tasks }, (_, at) => ({
      taskId: `t${at}`,
      waitingCost: 100_000,
      options: SITES.map((siteId) => ({ siteId, cost: { latency: random.below(1_000), preference: 0 } })),
    })),
    couplings,
  };
};

/** Threads of which the first `deaths` die the moment they are given a plan. */
const dyingThreads = (deaths: number): { threads: PlanningThreads; failures: string[] } => {
  let left = deaths;
  const failures: string[] = [];
  const spawn = (): WorkerLike => {
    const worker = spawnThread();
    const post = worker.postMessage.bind(worker);
    return Object.assign(worker, {
      postMessage(value: unknown, transfer: readonly ArrayBuffer[]): void {
        post(value, transfer);
        if (JobMessage.parse(value).name !== 'plan' || left === 0) return;
        left -= 1;
        void worker.terminate();
      },
    });
  };
  const failed = (error: unknown): void => void failures.push(toQflError(error).code);
  return { threads: createPlanningThreads(systemClock, { spawn, failed }), failures };
};

const presence = {
  online: () => SITES,
  telemetry: (): Telemetry => ({
    atMs: 0,
    source: 'measured',
    draining: false,
    records: false,
    budgetTenths: null,
    models: [{ id: 'm', slots: 16, inFlight: 0, waiting: 0, firstTokenMs: null }],
  }),
  telemetryAgeMs: () => 0,
};
const plannerWith = (threads: PlanningThreads) =>
  createLivePlanner({
    presence,
    clock: systemClock,
    threads,
    meters: { planned: () => undefined },
    tuning: () => ({ strategy: 'balanced', queueFactor: 1 }),
  });
const request = (rest: Partial<PlacementRequest> = {}): PlacementRequest => ({
  model: 'm',
  candidates: SITES.slice(0, 3),
  priority: 5,
  sizeBucketBytes: 256,
  ...rest,
});

describe('planning threads', () => {
  it('give the plan that this thread gives, and leave few tasks to it', async () => {
    const { threads } = dyingThreads(0);
    const problem = bigProblem(200);
    expect(isSmall(problem)).toBe(false);
    expect(isSmall(bigProblem(20))).toBe(true);
    const there = await threads.plan(problem, 7);
    const here = solvePortfolio(problem, { seed: 7, timeMs: 0 });
    expect(there).toMatchObject({ solver: 'flow', seed: 7, gap: 0, cost: here.cost });
    expect(there.assignments).toEqual(here.assignments);
    expect(there.wallMs).toBeGreaterThan(0);
    await expect(
      threads.plan({ ...problem, couplings: [{ first: 0, second: 999, weight: 1 }] }, 7),
    ).rejects.toMatchObject({ code: 'invalid_request' });
    await threads.close();
    await expect(threads.plan(problem, 7)).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('one killed in mid-plan: a plan that fits stands in, a new thread plans the next', async () => {
    const { threads, failures } = dyingThreads(1);
    const problem = bigProblem(200, [{ first: 0, second: 1, weight: -500 }]);
    const standIn = await threads.plan(problem, 1);
    expect(standIn.solver).toBe('greedy');
    const sites = standIn.assignments.map(({ siteId }) => siteId);
    expect(verifyPlan(problem, sites, standIn.certificate).faults).toEqual([]);
    expect(standIn.bound).toBeLessThanOrEqual(standIn.cost.total);
    expect(threads.stats).toEqual({ lost: 1, standIns: 1 });
    expect(failures).toEqual(['cut']);
    const next = await threads.plan(problem, 1);
    expect(next.solver).toBe('coupled');
    expect(next.cost.total).toBeLessThan(standIn.cost.total);
    await threads.close();
  });
});

describe('the live planner on threads', () => {
  it('places everybody though its thread is killed in mid-plan, twice', async () => {
    const { threads } = dyingThreads(2);
    const planner = plannerWith(threads);
    for (let wave = 0; wave < 4; wave += 1) {
      const placed = await Promise.all(
        Array.from({ length: 60 }, (_, at) =>
          planner.place(request({ affinity: String(at % 10).repeat(32), queryId: `${wave}-${at}` })),
        ),
      );
      expect(placed.filter((placement) => placement === undefined)).toEqual([]);
      for (const placement of placed) placement?.done(1);
    }
    expect(threads.stats).toMatchObject({ lost: 2, standIns: 2 });
    expect(planner.waiting).toBe(0);
    expect(planner.observatory.report().solvers).toMatchObject({ greedy: 2 });
    expect(planner.records.get('0-0')?.solver).toBe('greedy');
    planner.close();
    await threads.close();
  });

  it('ten thousand at once: a place or a typed refusal for each, and nothing is left waiting', async () => {
    const { threads } = dyingThreads(0);
    const planner = plannerWith(threads);
    const random = seeded(1);
    const outcomes = await Promise.all(
      Array.from({ length: 10_000 }, () => {
        const first = random.below(SITES.length);
        const candidates = [0, 1, 2].map((at) => SITES[(first + at) % SITES.length]!);
        return planner.place(request({ candidates, priority: random.below(10) })).then(
          (placement) => (placement === undefined ? 'refused' : 'placed'),
          (error: unknown) => toQflError(error).code,
        );
      }),
    );
    // Sixteen slots and four places behind each at ten sites.
    expect(outcomes.filter((outcome) => outcome === 'placed')).toHaveLength(16 * 5 * SITES.length);
    expect(outcomes.filter((outcome) => outcome === 'overloaded')).toHaveLength(9_000);
    expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(200);
    expect(planner.waiting).toBe(0);
    planner.close();
    await threads.close();
  });
});
