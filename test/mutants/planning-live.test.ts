/** Faults in the planning layer's figures and rules, and the checks that catch them. */
import { expect, it } from 'vitest';
import { planBatch } from '../../coordinator/planning/batch.ts';
import { CANDIDATE_DEFAULTS } from '../../coordinator/planning/candidates.ts';
import { coherenceOf } from '../../coordinator/planning/coherence.ts';
import { contendersFlow } from '../../coordinator/planning/contenders.ts';
import { measuringDeferral, type ServedRequest } from '../../coordinator/planning/deferral.ts';
import { createDesk, type DeskRequest } from '../../coordinator/planning/desk.ts';
import { weighPlans } from '../../coordinator/planning/ensemble.ts';
import { pairStrength } from '../../coordinator/planning/entanglement.ts';
import { makePlan } from '../../coordinator/planning/plan.ts';
import { createPredictor } from '../../coordinator/planning/predictor.ts';
import { finish } from '../../coordinator/planning/simulate.ts';
import { STRATEGY_WEIGHTS } from '../../coordinator/planning/strategies.ts';
import { nextWaiter } from '../../agent/llm/admission.ts';
import type { Solver } from '../../coordinator/solvers/port.ts';
import { systemClock } from '../../shared/clock.ts';
import { seeded } from '../../shared/seeded.ts';
import { siteIdOf } from '../unit/planning/instances.ts';

const [north, south] = [siteIdOf(0), siteIdOf(1)];

it('contenders chosen by the wrong end lose the proof: the gap shows', () => {
  const problem = {
    sites: [{ siteId: north, slotCosts: [0] }],
    tasks: [5, 50, 10].map((waitingCost, at) => ({
      taskId: `t${at}`,
      waitingCost,
      options: [{ siteId: north, cost: { latency: 0, preference: 0 } }],
    })),
  };
  const wrongEnd: Solver = {
    name: 'wrong end',
    solve: () => ({ sites: [north, null, null], sitePrices: new Map([[north, 5]]) }),
  };
  expect(makePlan(problem, contendersFlow, systemClock).gap).toBe(0);
  expect(makePlan(problem, wrongEnd, systemClock).gap).toBeGreaterThan(0);
});

it('weights taken over whole plans collapse where weights per component do not', () => {
  const tasks = 120;
  const instance = {
    tasks,
    sites: 2,
    costs: Float64Array.from({ length: 2 * tasks }, (_, at) => at % 2),
    slotCosts: [Array<number>(tasks).fill(0), Array<number>(tasks).fill(0)],
    first: new Int32Array(0),
    second: new Int32Array(0),
    weights: new Float64Array(0),
  };
  const random = seeded(1);
  const plans = Array.from({ length: 64 }, () => Array.from({ length: tasks }, () => random.below(2)));
  const open = weighPlans({ instance, sitePrices: [0, 0] }, plans, () => 1);
  expect(Math.max(...open.flatMap(({ weights }) => weights))).toBeLessThan(0.8);
  // The fault: one chain of couplings without weight makes the whole plan one component.
  const chained = {
    ...instance,
    first: Int32Array.from({ length: tasks - 1 }, (_, at) => at),
    second: Int32Array.from({ length: tasks - 1 }, (_, at) => at + 1),
    weights: new Float64Array(tasks - 1),
  };
  const whole = weighPlans({ instance: chained, sitePrices: [0, 0] }, plans, () => 1);
  // Of 64 plans hardly more than one counts, though no task of them is decided.
  expect(whole[0]!.assignments).toHaveLength(64);
  expect(1 / whole[0]!.weights.reduce((sum, weight) => sum + weight ** 2, 0)).toBeLessThan(6);
});

it('mutual information without its permutation null calls chance a bond', () => {
  const random = seeded(9);
  let [naive, gated] = [0, 0];
  for (let trial = 0; trial < 60; trial += 1) {
    const rows = Array.from({ length: 6 }, () => [random.below(3), random.below(3)] as const);
    const pair = {
      first: rows.map(([a]) => a),
      second: rows.map(([, b]) => b),
      weights: rows.map(() => 1 / 6),
    };
    const { strength, entangled, measure } = pairStrength(pair, { chance: 1 / 3, seed: trial });
    if (measure !== 'nmi') continue;
    if ((strength ?? 0) > -0.2) naive += 1;
    if (entangled) gated += 1;
  }
  expect(naive).toBeGreaterThan(25);
  expect(gated).toBeLessThan(6);
});

it('stale telemetry taken for fresh keeps a coherence that it has lost', () => {
  const p = [0.5, 0.5];
  expect(coherenceOf(p, [6_000, 6_000], 3_000)!).toBeLessThan(0.2);
  expect(coherenceOf(p, [0, 0], 3_000)).toBe(1);
});

it('a desk that held requests open though slots are free would make them wait: it commits them at once', () => {
  const predictor = createPredictor();
  const desk = createDesk(predictor, () => 1);
  const request = (taskId: string): DeskRequest => ({
    taskId,
    model: 'm',
    allowedSites: [north, south],
    excludedSites: [],
    arrivedMs: 0,
    deadlineMs: 60_000,
  });
  const tuning = { weights: STRATEGY_WEIGHTS.balanced, deferred: true, queuePerSlot: 4, coupled: true };
  const sites = [north, south].map((siteId) => ({ siteId, models: ['m'], slots: 1, busySlots: 0 }));
  for (const name of ['a', 'b', 'c']) desk.add(request(name));
  const { commits, refused } = desk.decide(0, sites, tuning);
  expect(commits.map(({ reason }) => reason)).toEqual(['immediate', 'immediate']);
  expect(new Set(commits.map(({ site }) => site))).toEqual(new Set([north, south]));
  expect(refused).toEqual([]);
  const full = sites.map((site) => ({ ...site, busySlots: 1 }));
  expect(desk.decide(10, full, tuning).commits).toEqual([]);
  expect(desk.open()).toHaveLength(1);
  // Nobody is left who may serve it: it is told so, not held.
  expect(desk.decide(20, [], tuning).refused).toHaveLength(1);
});

it('a verdict on the mean alone would switch deferral on by luck; the interval does not', () => {
  const random = seeded(3);
  const lucky: ServedRequest[] = Array.from({ length: 120 }, (_, at) => ({
    arrivedMs: at * 400,
    sizeBucketBytes: 256,
    priority: 5,
    deadlineMs: 1e9,
    predictedMs: new Map([
      [north, 100],
      [south, 100],
    ]),
    site: north,
    serviceMs: at === 60 ? 3_000 : 50 + random.below(20),
  }));
  const value = finish(
    measuringDeferral({
      served: lucky,
      slotsOf: new Map([
        [north, 1],
        [south, 1],
      ]),
      weights: STRATEGY_WEIGHTS.balanced,
      seed: 1,
    }),
  );
  expect(value).not.toBeNull();
  expect(value!.lowMs).toBeLessThanOrEqual(0);
});

it('a queue without ageing would starve the patient', () => {
  const waiting = [
    { priority: 1, sinceMs: 0 },
    { priority: 7, sinceMs: 70_000 },
  ];
  expect(nextWaiter(waiting, 71_000, true)).toBe(0);
  expect(nextWaiter([{ ...waiting[0]!, sinceMs: 70_000 }, waiting[1]!], 71_000, true)).toBe(1);
});

it('equal sites taken in a fixed order would pile up on the first: the seed spreads them', () => {
  const predictor = createPredictor();
  const placed = Array.from(
    { length: 40 },
    (_, seed) =>
      planBatch({
        requests: [{ taskId: 'a', model: 'm', allowedSites: [north, south], excludedSites: [] }],
        sites: [north, south].map((siteId) => ({ siteId, models: ['m'], slots: 4, busySlots: 0 })),
        predictor,
        options: { ...CANDIDATE_DEFAULTS, weights: STRATEGY_WEIGHTS.balanced },
        seed,
      }).sites[0],
  );
  const share = placed.filter((site) => site === north).length / placed.length;
  expect(share).toBeGreaterThan(0.2);
  expect(share).toBeLessThan(0.8);
});
