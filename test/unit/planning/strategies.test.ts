/** Each strategy wins on its own metric on fixed busy traces; `adaptive` finds the best arm; waiting with a decision is worth something only where it is. */
import { describe, expect, it } from 'vitest';
import { createBandit } from '../../../coordinator/planning/bandit.ts';
import {
  batchMeansInterval,
  measuringDeferral,
  type ServedRequest,
} from '../../../coordinator/planning/deferral.ts';
import { deskPolicy } from '../../../coordinator/planning/desk-policy.ts';
import { finish, type SimulatedRequest, simulating } from '../../../coordinator/planning/simulate.ts';
import {
  FIXED_STRATEGIES,
  type FixedStrategy,
  STRATEGY_WEIGHTS,
} from '../../../coordinator/planning/strategies.ts';
import { createStrategist, EPOCH_REQUESTS } from '../../../coordinator/planning/strategist.ts';
import { seeded } from '../../../shared/seeded.ts';
import { siteIdOf } from './instances.ts';

const SPEEDS = [0.6, 0.8, 1, 1.2, 1.6];
/** Mean time between questions. */
const BETWEEN_MS = 112;
const SITES = SPEEDS.map((_, at) => ({ siteId: siteIdOf(at), slots: 2 }));

/** A busy hour in small: questions of very different lengths, a little more than the sites can take. */
const busyTrace = (seed: number): readonly SimulatedRequest[] => {
  const random = seeded(seed);
  let atMs = 0;
  return Array.from({ length: 600 }, (): SimulatedRequest => {
    atMs -= BETWEEN_MS * Math.log(1 - random.uniform());
    const size = 2 ** random.below(5);
    const work = 200 * size * (0.7 + 0.6 * random.uniform());
    const priority = random.uniform() < 0.2 ? 9 : 3;
    return {
      atMs,
      sizeBucketBytes: 256 * size,
      priority,
      deadlineMs: atMs + (priority === 9 ? 3_500 : 14_000),
      serviceMs: Float64Array.from(SPEEDS, (speed) => work / speed),
    };
  });
};

const run = (strategy: FixedStrategy, seed: number) => {
  const requests = busyTrace(seed);
  const tuning = { weights: STRATEGY_WEIGHTS[strategy], deferred: true, queuePerSlot: 100, coupled: false };
  const policy = deskPolicy({ sites: SITES, requests, tuning: () => tuning, seed });
  const { outcomes, loadVariance } = finish(simulating(SITES, requests, policy, 'priority'));
  const tookMs = outcomes.map((outcome) => outcome?.completionMs ?? Infinity);
  const sorted = tookMs.toSorted((a, b) => a - b);
  return {
    p95Ms: sorted[Math.ceil(0.95 * sorted.length) - 1]!,
    meanMs: tookMs.reduce((sum, took) => sum + took, 0) / tookMs.length,
    // Answers given by the time the last question comes: what gets done in the time.
    done: tookMs.filter((took, at) => requests[at]!.atMs + took <= requests.at(-1)!.atMs).length,
    misses:
      tookMs.filter((took, at) => requests[at]!.atMs + took > requests[at]!.deadlineMs).length /
      tookMs.length,
    loadVariance,
  };
};

describe('strategies', () => {
  it('each wins on its own metric', () => {
    const seeds = [1, 2, 3];
    const runs = new Map(FIXED_STRATEGIES.map((name) => [name, seeds.map((seed) => run(name, seed))]));
    const base = runs.get('latency_focused')!;
    const balance = (one: ReturnType<typeof run>, at: number): number =>
      0.3 * (one.meanMs / base[at]!.meanMs) +
      0.3 * (one.p95Ms / base[at]!.p95Ms) +
      0.3 * (one.misses / Math.max(0.01, base[at]!.misses)) +
      0.1 * (one.loadVariance / base[at]!.loadVariance);
    const total = (name: FixedStrategy, of: (one: ReturnType<typeof run>, at: number) => number): number =>
      runs.get(name)!.reduce((sum, one, at) => sum + of(one, at), 0);
    const bestBy = (of: (one: ReturnType<typeof run>, at: number) => number): FixedStrategy =>
      FIXED_STRATEGIES.toSorted((a, b) => total(a, of) - total(b, of))[0]!;
    expect(bestBy(({ p95Ms }) => p95Ms)).toBe('latency_focused');
    expect(bestBy(({ done }) => -done)).toBe('throughput_focused');
    expect(bestBy(balance)).toBe('balanced');
  });
});

describe('adaptive', () => {
  it('tries every arm, settles on the best, and its regret grows ever slower', () => {
    const bandit = createBandit(['good', 'bad', 'worse'] as const);
    const random = seeded(1);
    const means = { good: 0.8, bad: 0.4, worse: 0.2 };
    let regretHalfway = 0;
    for (let epoch = 0; epoch < 400; epoch += 1) {
      const arm = bandit.choose();
      bandit.reward(arm, means[arm] + 0.1 * (random.uniform() - 0.5));
      if (epoch === 199) regretHalfway = bandit.report().regret;
    }
    const { arms, regret, epochs } = bandit.report();
    expect(epochs).toBe(400);
    expect(arms.every((arm) => arm.epochs > 0)).toBe(true);
    expect(arms[0]!.epochs).toBeGreaterThan(200);
    expect(regret).toBeGreaterThan(0);
    expect(regret).toBeLessThan(400 * 0.2);
    expect(regret - regretHalfway).toBeLessThan(regretHalfway * 1.5);
  });

  it('changes only between epochs, and leaves fixed strategies alone', () => {
    const strategist = createStrategist();
    const before = strategist.current('adaptive');
    expect(strategist.current('latency_focused')).toBe('latency_focused');
    for (let at = 0; at < EPOCH_REQUESTS - 1; at += 1) strategist.ended(10, 100, false);
    expect(strategist.current('adaptive')).toBe(before);
    expect(strategist.report().epochs).toBe(0);
    strategist.ended(10, 100, true);
    expect(strategist.report().epochs).toBe(1);
    expect(strategist.current('adaptive')).not.toBe(before);
  });
});

describe('the value of waiting', () => {
  const sites = [siteIdOf(0), siteIdOf(1)];
  const served = (spacingMs: number): readonly ServedRequest[] => {
    const random = seeded(5);
    return Array.from({ length: 300 }, (_, at) => ({
      arrivedMs: at * spacingMs,
      sizeBucketBytes: 256,
      priority: 5,
      deadlineMs: at * spacingMs + 600_000,
      predictedMs: new Map(sites.map((site) => [site, 100])),
      site: sites[0]!,
      serviceMs: random.below(6) === 0 ? 500 : 20,
    }));
  };
  const measure = (spacingMs: number, slots = 1) =>
    finish(
      measuringDeferral({
        served: served(spacingMs),
        slotsOf: new Map(sites.map((site) => [site, slots])),
        weights: STRATEGY_WEIGHTS.balanced,
        seed: 1,
      }),
    );

  it('is there where slots are scarce and services differ, and not where there is room', () => {
    expect(measure(60)?.lowMs).toBeGreaterThan(0);
    const idle = measure(5_000, 4);
    expect(idle?.savedMs).toBe(0);
    expect(idle?.lowMs).toBeLessThanOrEqual(0);
  });

  it('is not judged on too little, and its interval is that of batch means', () => {
    expect(
      finish(
        measuringDeferral({
          served: served(60).slice(0, 50),
          slotsOf: new Map([[sites[0]!, 1]]),
          weights: STRATEGY_WEIGHTS.balanced,
          seed: 1,
        }),
      ),
    ).toBeNull();
    const { mean, low } = batchMeansInterval(Array.from({ length: 100 }, (_, at) => at % 10));
    expect(mean).toBe(4.5);
    expect(low).toBe(4.5);
    expect(batchMeansInterval(Array.from({ length: 100 }, (_, at) => at)).low).toBeLessThan(49.5);
  });
});
