import { describe, expect, test } from 'vitest';
import { createPredictor } from '../../../coordinator/planning/predictor.ts';
import {
  type CandidateSettings,
  columnMoments,
  type ServiceExample,
  standardised,
  trainCandidate,
} from '../../../coordinator/planning/service-candidate.ts';
import {
  type Asked,
  CHANNELS,
  createServiceHistory,
  FEATURES,
  type ServiceHistory,
  STEPS,
} from '../../../coordinator/planning/service-history.ts';
import { SiteId } from '../../../shared/ids.ts';
import { atOnce } from '../../../shared/rounds/slowly.ts';
import { seeded } from '../../../shared/seeded.ts';

const asked = (site = 0, sizeBucketBytes = 1_024): Asked => ({
  siteId: SiteId.parse(`site-${site}`),
  model: 'm',
  sizeBucketBytes,
});

const fed = (history: ServiceHistory, count: number, seed: number): void => {
  const random = seeded(seed);
  for (let at = 0; at < count; at += 1) {
    const one = asked(random.below(3), 2 ** (8 + random.below(4)));
    history.placed(one);
    history.ended(one, 100 + 900 * random.uniform(), 50 * at);
  }
};

const featureOf = (features: Float64Array | undefined, name: (typeof FEATURES)[number]): number =>
  features?.[FEATURES.indexOf(name)] ?? NaN;

describe('what a candidate sees', () => {
  test('is nothing where the incumbent knows nothing', () => {
    const history = createServiceHistory();
    expect(history.look(asked(), 0)).toBeNull();
    history.ended(asked(1), 500, 10);
    expect(history.look(asked(0), 20)).toBeNull();
    expect(history.look(asked(1), 20)).not.toBeNull();
  });

  test('rests on what the incumbent says of the same observations', () => {
    const history = createServiceHistory();
    const predictor = createPredictor();
    for (const [at, serviceMs] of [300, 500, 800, 200].entries()) {
      history.ended(asked(), serviceMs, at);
      predictor.observe(asked().siteId, 'm', serviceMs, 1_024);
    }
    const prediction = predictor.predict(asked().siteId, 'm', 1_024);
    expect(Math.exp(history.look(asked(), 9)?.baseLog ?? NaN)).toBeCloseTo(prediction?.q50Ms ?? NaN, 9);
    expect(Math.exp(history.look(asked(), 9)?.meanLog ?? NaN)).toBeCloseTo(prediction?.meanMs ?? NaN, 9);
  });

  test('does not change with what ends later, nor by being looked at', () => {
    const [one, other] = [createServiceHistory(), createServiceHistory()];
    for (const history of [one, other]) fed(history, 60, 1);
    const before = one.look(asked(), 4_000);
    const kept = structuredClone(before);
    fed(one, 40, 2);
    expect(before).toEqual(kept);
    expect(other.look(asked(), 4_000)).toEqual(kept);
    expect(one.look(asked(), 4_000)).not.toEqual(kept);
  });

  test('is a series of the newest ends, and the question last, of which time and miss are not known', () => {
    const history = createServiceHistory();
    fed(history, 200, 1);
    const sight = history.look(asked(1, 4_096), 20_000);
    for (const series of [sight?.ofSite, sight?.ofModel]) {
      expect(series?.steps).toBe(STEPS);
      expect(series?.channels).toBe(CHANNELS.length);
      const question = series?.values.subarray((STEPS - 1) * CHANNELS.length);
      expect(Array.from(question ?? [])).toEqual([NaN, NaN, Math.log2(4_097), 0]);
      expect(series?.values.subarray(0, (STEPS - 1) * CHANNELS.length).some(Number.isNaN)).toBe(false);
      expect(series?.hours).toEqual(series?.hours.toSorted());
      expect(series?.hours[0]).toBe(0);
    }
    // The newest ends of all sites are nearer than those of one.
    expect(sight?.ofModel.hours.at(-1)).toBeLessThan(sight?.ofSite.hours.at(-1) ?? 0);
  });

  test('holds each end against what the incumbent said before it knew of it', () => {
    const history = createServiceHistory();
    history.ended(asked(), 500, 1_000);
    const before = history.look(asked(), 1_500)?.baseLog ?? NaN;
    history.ended(asked(), 2_000, 2_000);
    const sight = history.look(asked(), 2_500);
    const miss = Math.log(2_000) - before;
    expect(miss).toBeCloseTo(Math.log(4), 9);
    expect(sight?.ofSite.values[CHANNELS.length]).toBeCloseTo(miss, 12);
    expect(featureOf(sight?.features, 'miss_of_site_fast')).toBeCloseTo(0.2 * miss, 12);
    expect(featureOf(sight?.features, 'last_over_base')).toBeLessThan(miss);
  });

  test('tells how many are on their way at the site, and when the last ended', () => {
    const history = createServiceHistory();
    history.ended(asked(), 500, 1_000);
    for (const site of [0, 0, 1]) history.placed(asked(site));
    const features = history.look(asked(), 3_000)?.features;
    expect(features).toHaveLength(FEATURES.length);
    expect(featureOf(features, 'in_flight')).toBeCloseTo(Math.log(3), 12);
    expect(featureOf(features, 'since_last_end')).toBeCloseTo(Math.log(2_001), 12);
    history.ended(asked(), 500, 3_000);
    expect(featureOf(history.look(asked(), 3_000)?.features, 'in_flight')).toBeCloseTo(Math.log(2), 12);
  });

  test('takes no time that is none', () => {
    const history = createServiceHistory();
    history.ended(asked(), NaN, 1);
    history.ended(asked(), -1, 1);
    expect(history.look(asked(), 2)).toBeNull();
  });
});

describe('columns', () => {
  test('are scaled by what is known of them; far is far enough, unknown stays unknown', () => {
    const rows = [Float64Array.of(1, 7, NaN), Float64Array.of(3, 7, 4, 5, 7, 8)];
    const moments = columnMoments(rows, 3);
    expect(Array.from(moments.mean)).toEqual([3, 7, 6]);
    expect(Array.from(moments.sd.map((sd) => sd * sd))).toEqual([expect.closeTo(8 / 3, 12), 1, 4]);
    expect(Array.from(standardised(Float64Array.of(3, 8, NaN, 1e9, 7, -1e9), moments))).toEqual([
      0,
      1,
      NaN,
      5,
      0,
      -5,
    ]);
  });
});

describe('a candidate', () => {
  const settings: CandidateSettings = {
    units: 6,
    follows: 'site',
    bend: Infinity,
    l2: 0,
    epochs: 30,
    rate: 0.01,
    seed: 1,
  };
  /** A site that is slow for a while, then fast, in turns too short for sixty-four values to follow. */
  const turning = (): readonly ServiceExample[] => {
    const history = createServiceHistory();
    const random = seeded(3);
    const examples: ServiceExample[] = [];
    for (let at = 0; at < 600; at += 1) {
      const sight = history.look(asked(), 100 * at);
      const serviceMs = (Math.floor(at / 12) % 2 === 0 ? 200 : 1_000) * (0.9 + 0.2 * random.uniform());
      if (sight !== null) examples.push({ sight, serviceLog: Math.log(serviceMs) });
      history.ended(asked(), serviceMs, 100 * at + 50);
    }
    return examples;
  };
  const errorOf = (examples: readonly ServiceExample[], told: (one: ServiceExample) => number): number =>
    examples.reduce((sum, one) => sum + Math.abs(one.serviceLog - told(one)), 0) / examples.length;

  test('learns on earlier time what the incumbent cannot follow, and tells later time', () => {
    const all = turning();
    const forecast = atOnce(trainCandidate(all.slice(0, 400), settings));
    const later = all.slice(400);
    const own = errorOf(later, ({ sight }) => forecast(sight));
    expect(own).toBeLessThan(0.5 * errorOf(later, ({ sight }) => sight.baseLog));
  });

  test('is the incumbent before it has learned, and the same for the same seed', () => {
    const all = turning().slice(0, 100);
    const [one] = all;
    const told = (changed: Partial<CandidateSettings>): number =>
      one === undefined ? NaN : atOnce(trainCandidate(all, { ...settings, ...changed }))(one.sight);
    expect(told({ epochs: 0 })).toBe(one?.sight.baseLog);
    expect(told({ epochs: 2 })).toBe(told({ epochs: 2 }));
    expect(told({ epochs: 2 })).not.toBe(told({ epochs: 2, seed: 2 }));
    expect(told({ epochs: 2 })).not.toBe(told({ epochs: 2, follows: 'model', units: 7 }));
  });

  test('of nothing learns nothing', () => {
    expect(() => atOnce(trainCandidate([], settings))).toThrow(/learns from something/);
  });
});
