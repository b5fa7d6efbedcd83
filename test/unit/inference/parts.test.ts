/** The parts of inference: breaker, batches, recent numbers, coherence, and what somebody gives made into what a model sees. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createBatcher } from '../../../agent/inference/batcher.ts';
import {
  attempted,
  breakerAt,
  type BreakerState,
  CLOSED,
  ended,
  released,
} from '../../../agent/inference/breaker.ts';
import { coherenceState, createCoherenceGauge, isCoherent } from '../../../agent/inference/coherence.ts';
import { exampleOf } from '../../../agent/inference/examples.ts';
import { createRecentNumbers } from '../../../agent/inference/window.ts';
import { toQflError } from '../../../shared/errors.ts';
import { featureNames } from '../../../shared/learning/feature-names.ts';
import { publicScaling } from '../../../shared/learning/moments.ts';
import { LearningData } from '../../../shared/wire/learning.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';

const RULES = { failuresMax: 3, openMs: 1_000, probesMin: 2 };

describe('a breaker', () => {
  const after = (state: BreakerState, goods: readonly boolean[], nowMs: number): BreakerState =>
    goods.reduce((now, isGood) => ended(attempted(now, nowMs).next, isGood, nowMs, RULES), state);

  test('opens after failures in a row, not after as many with a good one between', () => {
    expect(after(CLOSED, [false, false, true, false, false], 0).state).toBe('closed');
    const open = after(CLOSED, [false, false, false], 5);
    expect(open).toEqual({ state: 'open', untilMs: 1_005 });
    expect(attempted(open, 1_004).isAdmitted).toBe(false);
  });

  test('half open lets one through at a time, closes after enough, and opens again after one failure', () => {
    const open = after(CLOSED, [false, false, false], 0);
    const first = attempted(open, 1_000);
    expect(first.isAdmitted).toBe(true);
    expect(attempted(first.next, 1_000).isAdmitted).toBe(false);
    const half = ended(first.next, true, 1_100, RULES);
    expect(half).toEqual({ state: 'half_open', successes: 1, isProbing: false });
    const second = attempted(half, 1_200);
    expect(ended(second.next, true, 1_300, RULES)).toBe(CLOSED);
    expect(ended(second.next, false, 1_300, RULES)).toEqual({ state: 'open', untilMs: 2_300 });
    expect(attempted(released(second.next), 1_300).isAdmitted).toBe(true);
  });

  test('what comes late, of before it opened, changes nothing', () => {
    const open = after(CLOSED, [false, false, false], 0);
    expect(ended(open, true, 10, RULES)).toBe(open);
    expect(ended(open, false, 10, RULES)).toBe(open);
  });

  test('is never closed again while everything fails, and never open for longer than its time', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3_000), { minLength: 10, maxLength: 60 }), (pauses) => {
        let [state, nowMs, admitted]: [BreakerState, number, number] = [CLOSED, 0, 0];
        for (const pauseMs of pauses) {
          nowMs += pauseMs;
          expect(breakerAt(state, nowMs + RULES.openMs).state).not.toBe('open');
          const attempt = attempted(state, nowMs);
          if (admitted >= RULES.failuresMax) expect(attempt.next.state).not.toBe('closed');
          if (!attempt.isAdmitted) continue;
          admitted += 1;
          state = ended(attempt.next, false, nowMs, RULES);
        }
        // After the first three one attempt a second goes through at most.
        expect(admitted).toBeLessThanOrEqual(RULES.failuresMax + 1 + Math.floor(nowMs / RULES.openMs));
      }),
    );
  });
});

describe('a batcher', () => {
  const batcherOf = (work: (rows: readonly number[]) => readonly number[], queueMax = 100) =>
    createBatcher<number, number>({ rowsMax: 4, waitMs: 5, queueMax, work });

  test('works on rows of several callers together, at most so many a turn, and gives each its own', async () => {
    const turns: number[] = [];
    const { submit } = batcherOf((rows) => {
      turns.push(rows.length);
      return rows.map((row) => row * 10);
    });
    const results = await Promise.all([submit([1, 2]), submit([3]), submit([4, 5, 6, 7]), submit([])]);
    expect(results).toEqual([[10, 20], [30], [40, 50, 60, 70], []]);
    expect(turns).toEqual([4, 3]);
    expect(await submit([8])).toEqual([80]);
  });

  test('tells all of a turn when the work fails, and goes on with the next', async () => {
    const { submit } = batcherOf((rows) => {
      if (rows.includes(13)) throw new Error('unlucky');
      return rows;
    });
    const outcomes = await Promise.allSettled([submit([13]), submit([1]), submit([2, 3, 4])]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(await submit([5])).toEqual([5]);
  });

  test('takes no more than may wait', async () => {
    const { submit } = batcherOf((rows) => rows, 6);
    const first = submit([1, 2, 3, 4, 5]);
    expect(outcomeOf(() => submit([6, 7]))).toBe('overloaded');
    expect(await first).toEqual([1, 2, 3, 4, 5]);
    expect(await submit([6, 7])).toEqual([6, 7]);
  });
});

describe('recent numbers', () => {
  test('are the last ones, with the quantile that a sort gives', () => {
    const recent = createRecentNumbers(100);
    expect([recent.mean(), recent.quantile(0.95)]).toEqual([null, null]);
    for (let value = 1; value <= 150; value += 1) recent.add(value);
    // 51 … 150: the 95th of a hundred is 145.
    expect([recent.mean(), recent.quantile(0.95), recent.quantile(1), recent.quantile(0)]).toEqual([
      100.5, 145, 150, 51,
    ]);
  });
});

describe('coherence', () => {
  test('is a share of evaluations that agree in side and size', () => {
    expect(isCoherent(0.499_999, 0.5)).toBe(false);
    expect(isCoherent(0.7, 0.709)).toBe(true);
    expect(isCoherent(0.7, 0.711)).toBe(false);
    expect(isCoherent(0.7, Number.NaN)).toBe(false);
    expect([null, 0.49, 0.5, 0.59, 0.6].map(coherenceState)).toEqual([
      'unmeasured',
      'alert',
      'low',
      'low',
      'good',
    ]);
  });

  test('below the alert is told once, and again after it was good', () => {
    const told: number[] = [];
    const gauge = createCoherenceGauge((value) => told.push(value));
    const add = (agrees: boolean, times: number): void => {
      for (let at = 0; at < times; at += 1) gauge.add(agrees);
    };
    add(true, 10);
    add(false, 30);
    expect(gauge.value()).toBe(0.25);
    expect(told).toHaveLength(1);
    add(true, 100);
    add(false, 200);
    expect(told).toHaveLength(2);
  });
});

describe('an example', () => {
  const data = LearningData.parse({
    target: 'x',
    features: [
      { kind: 'age' },
      { kind: 'sex', is: 'female' },
      { kind: 'condition', code: '38341003' },
      { kind: 'observation', code: '2339-0', low: 0, high: 400 },
      { kind: 'observation', code: '2339-0', take: 'mean', low: 0, high: 400 },
      { kind: 'observation', code: '2339-0', unit: 'mmol/L', low: 0, high: 20 },
      { kind: 'is', code: 'cp', value: 4 },
    ],
  });
  const scaling = { mean: [0.5, 0, 0, 100, 100, 5, 0], sd: [0.25, 1, 1, 50, 50, 1, 1] };
  const inputsOf = (given: object): number[] => [...exampleOf(data, scaling, given).inputs];
  const code = (given: object, over = data): string => outcomeOf(() => exampleOf(over, null, given));

  test('of a model without a scaling is seen as sites saw their patients: by the public one', () => {
    const given = { features: { age: 61, 'observation=2339-0': 7 } };
    expect(exampleOf(data, null, given)).toEqual(exampleOf(data, publicScaling(data), given));
  });

  test('is made of names, or of numbers in their order', () => {
    expect(featureNames(data)).toEqual([
      'age',
      'sex=female',
      'condition=38341003',
      'observation=2339-0',
      'observation=2339-0:mean',
      'observation=2339-0#2',
      'is=cp:4',
    ]);
    const named = {
      features: {
        age: 75,
        'sex=female': true,
        'observation=2339-0': 200,
        'observation=2339-0#2': 7,
        'is=cp:4': 1,
      },
    };
    // (0.75 − 0.5) / 0.25; flags as they are; what is not known is 0; (200 − 100) / 50.
    expect(inputsOf(named)).toEqual([1, 1, 0, 2, 0, 2, 1]);
    expect(inputsOf({ inputs: [75, true, null, 200, null, 7, 1] })).toEqual([1, 1, 0, 2, 0, 2, 1]);
  });

  test('counts as its bound what lies beyond, as in training', () => {
    const wide = { mean: [0, 0, 0, 0, 0, 0, 0], sd: [1, 1, 1, 200, 200, 10, 1] };
    const given = { features: { 'observation=2339-0': 1e9, age: 1_000, 'sex=female': 7 } };
    // 130 years at most; 400 at most; a flag is 1 at most.
    expect([...exampleOf(data, wide, given).inputs]).toEqual([1.3, 1, 0, 2, 0, 0, 0]);
  });

  test('is refused where it does not fit, and says what would', () => {
    expect(code({ features: { weight: 3 } })).toBe('invalid_request');
    expect(code({ inputs: [1] })).toBe('invalid_request');
    expect(code({ features: {}, inputs: [] })).toBe('invalid_request');
    expect(code({ series: { hours: [], values: [] } })).toBe('invalid_request');
    try {
      exampleOf(data, null, { features: { weight: 3 } });
    } catch (error) {
      expect(toQflError(error).next).toContain('age, sex=female, condition=38341003');
    }
  });

  test('has a series where the model follows one', () => {
    const over = LearningData.parse({
      target: 'x',
      series: {
        channels: [
          { code: 'hr', low: 0, high: 200 },
          { code: 'bp', low: 0, high: 100 },
        ],
        hours: 48,
        stepHours: 1,
        stepsMax: 3,
      },
    });
    const given = (hours: number[], values: (number | null)[][]) => ({ series: { hours, values } });
    const { series } = exampleOf(
      over,
      { mean: [100, 50], sd: [10, 5] },
      given(
        [0, 2.5],
        [
          [120, null],
          [300, 45],
        ],
      ),
    );
    expect(series).toEqual({
      steps: 2,
      channels: 2,
      hours: Float64Array.of(0, 2.5),
      values: Float64Array.of(2, NaN, 10, -1),
    });
    expect(code({}, over)).toBe('invalid_request');
    expect(
      code(
        given(
          [0, 0],
          [
            [1, 2],
            [1, 2],
          ],
        ),
        over,
      ),
    ).toBe('invalid_request');
    expect(
      code(
        given(
          [0, 49],
          [
            [1, 2],
            [1, 2],
          ],
        ),
        over,
      ),
    ).toBe('invalid_request');
    expect(code(given([0], [[1]]), over)).toBe('invalid_request');
    expect(
      code(
        given(
          [0, 1, 2, 3],
          [
            [1, 2],
            [1, 2],
            [1, 2],
            [1, 2],
          ],
        ),
        over,
      ),
    ).toBe('invalid_request');
  });
});
