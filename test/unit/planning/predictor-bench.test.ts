import { describe, expect, test } from 'vitest';
import { createServiceHistory, FEATURES, type Sight } from '../../../coordinator/planning/service-history.ts';
import { SiteId } from '../../../shared/ids.ts';
import { seeded } from '../../../shared/seeded.ts';
import { serviceRows } from '../../bench/predictor-data.ts';
import { trainLinear } from '../../bench/predictor-linear.ts';
import type { TraceRow } from '../../bench/replay-trace.ts';

const trace = (count: number): readonly TraceRow[] => {
  const random = seeded(1);
  let atMs = 0;
  return Array.from({ length: count }, () => {
    atMs += Math.ceil(500 * random.uniform());
    return { atMs, promptTokens: 1 + random.below(2_000), outputTokens: 1 + random.below(300) };
  });
};

describe('the trace as a forecaster sees it', () => {
  const rows = serviceRows(trace(400), 0.7, 1);

  test('is in order of asking, and each request ends after it was asked for', () => {
    // Eight sites, of which nothing is known at first.
    expect(rows.length).toBeGreaterThan(350);
    for (const [at, row] of rows.entries()) {
      expect(row.askedMs).toBeGreaterThanOrEqual(rows[at - 1]?.askedMs ?? 0);
      expect(row.endedMs).toBeGreaterThanOrEqual(row.askedMs + Math.exp(row.serviceLog) - 1e-6);
    }
  });

  test('of what was asked later, nothing is in what was seen before', () => {
    // The last hundred requests come in the other order: the work as a whole, by which rates are scaled, stays the same.
    const all = trace(400);
    const other = all.map((row, at) => (at < 300 ? row : (all[699 - at] ?? row)));
    const moved = serviceRows(
      other.map((row, at) => ({ ...row, atMs: all[at]?.atMs ?? 0 })),
      0.7,
      1,
    );
    const untilMs = all[300]?.atMs ?? 0;
    const before = (some: typeof rows) => some.filter(({ askedMs }) => askedMs < untilMs);
    expect(before(rows).length).toBeGreaterThan(250);
    expect(before(moved).map(({ sight }) => sight.baseLog)).toEqual(
      before(rows).map(({ sight }) => expect.closeTo(sight.baseLog, 9)),
    );
    expect(moved.map(({ serviceLog }) => serviceLog)).not.toEqual(rows.map(({ serviceLog }) => serviceLog));
  });
});

describe('linear regression', () => {
  const sights = (count: number): readonly Sight[] => {
    const history = createServiceHistory();
    const random = seeded(2);
    const asked = () => ({
      siteId: SiteId.parse('site-0'),
      model: 'm',
      sizeBucketBytes: 2 ** (6 + random.below(6)),
    });
    return Array.from({ length: count }, (_, at) => {
      history.ended(asked(), 100 + 900 * random.uniform(), 10 * at);
      return history.look(asked(), 10 * at + 5) ?? [];
    }).flat();
  };
  const size = FEATURES.indexOf('size');
  const truth = (sight: Sight): number => sight.baseLog + 0.1 * sight.features[size]! - 0.5;
  const examples = sights(300).map((sight, at) => ({
    sight,
    // Every twentieth is wild: a squared error follows it.
    serviceLog: truth(sight) + (at % 20 === 0 ? 8 : 0),
  }));
  const worst = (bend: number, ridge = 1e-3): number => {
    const forecast = trainLinear(examples, { bend, ridge });
    return Math.max(...examples.map(({ sight }) => Math.abs(forecast(sight) - truth(sight))));
  };

  test('finds a linear correction; bent, also where some times are wild', () => {
    expect(worst(0.001)).toBeLessThan(0.02);
    expect(worst(Infinity)).toBeGreaterThan(0.2);
  });

  test('held by a large penalty, moves by no more than a constant', () => {
    const forecast = trainLinear(examples, { bend: Infinity, ridge: 1e12 });
    const moves = examples.map(({ sight }) => forecast(sight) - sight.baseLog);
    expect(Math.max(...moves) - Math.min(...moves)).toBeLessThan(1e-6);
    expect(Math.abs(moves[0] ?? NaN)).toBeGreaterThan(0.1);
  });
});
