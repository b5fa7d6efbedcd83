import { describe, expect, it } from 'vitest';
import {
  buildProblem,
  CANDIDATE_DEFAULTS,
  type CandidateSite,
  type PlanRequest,
} from '../../../coordinator/planning/candidates.ts';
import { STRATEGY_WEIGHTS } from '../../../coordinator/planning/strategies.ts';
import { makePlan } from '../../../coordinator/planning/plan.ts';
import { createPredictor } from '../../../coordinator/planning/predictor.ts';
import { FlowPlan, flowSolver } from '../../../coordinator/solvers/flow.ts';
import { seeded } from '../../../shared/seeded.ts';
import { systemClock } from '../../../shared/clock.ts';
import { siteIdOf } from './instances.ts';

const [north, south, east] = [siteIdOf(0), siteIdOf(1), siteIdOf(2)];
const options = { ...CANDIDATE_DEFAULTS, weights: STRATEGY_WEIGHTS.balanced };
const site = (siteId: CandidateSite['siteId'], rest: Partial<CandidateSite> = {}): CandidateSite => ({
  siteId,
  models: ['m'],
  slots: 2,
  busySlots: 0,
  ...rest,
});
const request = (taskId: string, rest: Partial<PlanRequest> = {}): PlanRequest => ({
  taskId,
  model: 'm',
  allowedSites: [north, south, east],
  excludedSites: [],
  ...rest,
});
const plan = (
  requests: readonly PlanRequest[],
  sites: readonly CandidateSite[],
  predictor = createPredictor(),
) => makePlan(buildProblem(requests, sites, predictor, options), flowSolver, systemClock);

describe('a plan', () => {
  it('goes where the model is, policy allows, and nothing excludes', () => {
    const sites = [site(north, { models: ['other'] }), site(south), site(east)];
    expect(plan([request('a', { excludedSites: [south] })], sites).assignments).toEqual([
      { taskId: 'a', siteId: east },
    ]);
    expect(plan([request('a', { allowedSites: [north] })], sites).assignments[0]?.siteId).toBeNull();
  });

  it('prefers what was measured to be faster, warm conversations, and spreads load', () => {
    const predictor = createPredictor();
    predictor.observe(north, 'm', 1_000);
    predictor.observe(south, 'm', 300);
    const sites = [site(north), site(south)];
    expect(plan([request('a')], sites, predictor).assignments[0]?.siteId).toBe(south);
    predictor.observe(south, 'm', 3_000);
    const warm = request('a', { affinitySite: north });
    expect(plan([warm], sites, predictor).assignments[0]?.siteId).toBe(north);
    const spread = plan([request('a'), request('b')], [site(north), site(south)]);
    expect(new Set(spread.assignments.map(({ siteId }) => siteId)).size).toBe(2);
  });

  it('makes what does not fit wait, says what it costs, and proves it is the best', () => {
    const made = plan([request('a'), request('b'), request('c')], [site(north, { slots: 3, busySlots: 1 })]);
    expect(made.assignments.filter(({ siteId }) => siteId === null)).toHaveLength(1);
    const { latency, preference, load, waiting, total } = made.cost;
    // Two at 100 ms each and the second and third slot of three; who waits pays more than all of it.
    expect({ latency, preference, load }).toEqual({
      latency: 2 * 100 * options.weights.latency,
      preference: 0,
      load: Math.round((options.weights.load * 100) / 3) + Math.round((options.weights.load * 200) / 3),
    });
    expect(waiting).toBeGreaterThan(latency + load);
    expect(made).toMatchObject({ solver: 'flow', bound: total, gap: 0 });
    expect(made.certificate?.sitePrices[north]).toBeGreaterThan(0);
  });

  it('refuses a malformed problem', () => {
    const bad = { tasks: [], sites: [{ siteId: north, slotCosts: [2, 1] }] };
    expect(() => makePlan(bad, flowSolver, systemClock)).toThrowError(/fall/);
    const float = [{ taskId: 'a', waitingCost: 0.5, options: [] }];
    expect(() => makePlan({ tasks: float, sites: [] }, flowSolver, systemClock)).toThrowError(/integer/);
    const stranger = [
      { taskId: 'a', waitingCost: 1, options: [{ siteId: south, cost: { latency: 1, preference: 0 } }] },
    ];
    expect(() => makePlan({ tasks: stranger, sites: [] }, flowSolver, systemClock)).toThrowError(/not there/);
    const flow = new FlowPlan([]);
    flow.insert({ taskId: 'a', waitingCost: 1, options: [] });
    expect(() => flow.insert({ taskId: 'a', waitingCost: 1, options: [] })).toThrowError(/already/);
    expect(() => flow.remove('b')).toThrowError(/not in the plan/);
  });
});

describe('the predictor', () => {
  it('knows nothing until it was told, then follows what is measured', () => {
    const predictor = createPredictor();
    expect(predictor.predictMs(north, 'm')).toBeNull();
    predictor.observe(north, 'm', 100);
    expect(predictor.predictMs(north, 'm')).toBe(100);
    predictor.observe(north, 'm', 200);
    expect(predictor.predictMs(north, 'm')).toBe(120);
    predictor.observe(north, 'm', Number.NaN);
    expect(predictor.predictMs(north, 'm')).toBe(120);
    expect(predictor.predictMs(north, 'other')).toBeNull();
    predictor.forget(north);
    expect(predictor.predictMs(north, 'm')).toBeNull();
  });

  it('is bounded', () => {
    const predictor = createPredictor();
    for (let at = 0; at < 300; at += 1) predictor.observe(north, `m${at}`, 1);
    expect(predictor.predictMs(north, 'm0')).toBeNull();
    expect(predictor.predictMs(north, 'm299')).toBe(1);
  });

  it('knows a size from its own measurements, and a new size from the others', () => {
    const predictor = createPredictor();
    for (let at = 0; at < 30; at += 1) {
      predictor.observe(north, 'm', 100 + (at % 5), 256);
      predictor.observe(north, 'm', 1_000 + (at % 5), 4_096);
    }
    expect(predictor.predict(north, 'm', 256)?.meanMs).toBeLessThan(200);
    expect(predictor.predict(north, 'm', 4_096)?.meanMs).toBeGreaterThan(800);
    const unseen = predictor.predict(north, 'm', 65_536)?.meanMs ?? 0;
    expect(unseen).toBeGreaterThan(100);
    expect(unseen).toBeLessThan(1_000);
    // What a site never did, another site's sizes tell: the ratio of sizes travels, the speed does not.
    for (let at = 0; at < 10; at += 1) predictor.observe(south, 'm', 50, 256);
    expect(predictor.predict(south, 'm', 4_096)?.meanMs).toBeGreaterThan(
      2 * (predictor.predict(south, 'm', 256)?.meanMs ?? Infinity) * 0.75,
    );
    expect(predictor.predict(east, 'm', 256)).toBeNull();
  });

  it('uses whichever forecaster is better on what comes later, and says which', () => {
    const sizes = createPredictor();
    const random = seeded(1);
    for (let at = 0; at < 300; at += 1) {
      const bucket = random.below(2) === 0 ? 256 : 65_536;
      sizes.observe(north, 'm', (bucket === 256 ? 100 : 2_000) * (1 + 0.1 * random.uniform()), bucket);
    }
    const bySize = sizes.report();
    expect(bySize.used).toBe('quantiles');
    expect(bySize.forecasters.quantiles.pinballLossMs).toBeLessThan(
      bySize.forecasters.moving_average.pinballLossMs ?? 0,
    );
    const coverage = bySize.forecasters.quantiles.coverage95 ?? 0;
    expect(Math.abs(coverage - 0.95)).toBeLessThan(0.05);
    const drifting = createPredictor();
    for (let at = 0; at < 300; at += 1) drifting.observe(north, 'm', 100 * 1.03 ** at, 256);
    expect(drifting.report().used).toBe('moving_average');
    expect(drifting.predict(north, 'm', 256)?.meanMs).toBe(drifting.predictMs(north, 'm'));
  });
});
