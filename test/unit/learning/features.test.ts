/** From a patient's facts to examples: known cases, and properties that hold whatever the facts are. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Measurement, PatientFacts } from '../../../shared/learning/facts.ts';
import {
  boundsOf,
  isStandardised,
  rawExample,
  standardise,
  standardisedBounds,
} from '../../../shared/learning/features.ts';
import { LearningData } from '../../../shared/wire/learning.ts';

const measurement = (code: string, hours: number, value: number, units: string[] = []): Measurement => ({
  code,
  hours,
  value,
  units,
});
const facts = (measurements: readonly Measurement[], rest: Partial<PatientFacts> = {}): PatientFacts => ({
  age: undefined,
  sex: undefined,
  conditions: new Set(),
  measurements,
  ...rest,
});
const observation = (take: string, rest: object = {}) => ({
  kind: 'observation',
  code: 'hr',
  take,
  low: 0,
  high: 200,
  ...rest,
});
const inputsOf = (features: readonly object[], of: PatientFacts): number[] => [
  ...rawExample(of, LearningData.parse({ target: 'ill', features }))!.inputs,
];
const seriesOf = (series: object, of: PatientFacts) =>
  rawExample(of, LearningData.parse({ target: 'ill', series }))!.series!;

describe('raw features', () => {
  const pulses = [measurement('hr', 1, 80), measurement('hr', 2, 300), measurement('hr', 3, 60)];

  it('takes what each feature says of the measurements of its code', () => {
    const takes = ['first', 'last', 'mean', 'min', 'max', 'count', 'known'];
    const all = takes.map((take) => observation(take));
    expect(inputsOf(all, facts([...pulses, measurement('other', 9, 1)]))).toEqual([
      80,
      60,
      340 / 3,
      60,
      200,
      3,
      1,
    ]);
  });

  it('does not know what was not measured, but counts it', () => {
    const all = ['first', 'last', 'mean', 'min', 'max'].map((take) => observation(take));
    expect(inputsOf(all, facts([]))).toEqual(all.map(() => Number.NaN));
    expect(inputsOf([observation('count'), observation('known')], facts([]))).toEqual([0, 0]);
    expect(inputsOf([observation('count')], facts([measurement('hr', 0, Number.NaN)]))).toEqual([0]);
  });

  it('takes a unit that a feature names, and no other', () => {
    const mixed = facts([
      measurement('hr', 1, 7, ['mmol/L', 'mM']),
      measurement('hr', 2, 90, ['mg/dL']),
      measurement('hr', 3, 50),
    ]);
    expect(inputsOf([observation('last', { unit: 'mM' })], mixed)).toEqual([7]);
    expect(inputsOf([observation('last')], mixed)).toEqual([50]);
  });

  it('says a category, a sex, a condition and an age as numbers', () => {
    const features = [
      { kind: 'is', code: 'pain', value: 4 },
      { kind: 'is', code: 'rest', value: 1 },
      { kind: 'sex', is: 'male' },
      { kind: 'condition', code: 'diabetes' },
      { kind: 'age', scale: 100 },
    ];
    const known = facts([measurement('pain', 0, 4), measurement('rest', 0, 2)], {
      age: 50,
      sex: 'male',
      conditions: new Set(['diabetes']),
    });
    expect(inputsOf(features, known)).toEqual([1, 0, 1, 1, 0.5]);
    expect(inputsOf(features, facts([]))).toEqual([Number.NaN, Number.NaN, Number.NaN, 0, Number.NaN]);
  });
});

describe('the target', () => {
  const data = LearningData.parse({ target: { code: 'glucose', unit: 'mg/dL', above: 126 } });
  const glucose = (...values: number[]) =>
    facts(values.map((value, at) => measurement('glucose', at, value, ['mg/dL'])));

  it('is the last measured value held against the bound', () => {
    expect(rawExample(glucose(150, 100), data)!.target).toBe(0);
    expect(rawExample(glucose(100, 150), data)!.target).toBe(1);
    expect(rawExample(glucose(126), data)!.target).toBe(0);
  });

  it('cannot be told where it was not measured: no example', () => {
    expect(rawExample(facts([measurement('glucose', 0, 9, ['mmol/L'])]), data)).toBeUndefined();
    expect(rawExample(facts([]), data)).toBeUndefined();
  });
});

describe('the series', () => {
  const channels = [
    { code: 'hr', low: 0, high: 200 },
    { code: 'bp', low: 0, high: 300 },
  ];

  it('is binned from the first measurement on; pieces without any make no step', () => {
    const series = seriesOf(
      { channels, hours: 10, stepHours: 2, stepsMax: 9 },
      facts([
        measurement('hr', 5, 60),
        measurement('hr', 6.9, 500),
        measurement('bp', 7, 100),
        measurement('hr', 15, 70),
        measurement('hr', 15.1, 99),
      ]),
    );
    expect(series).toEqual({
      steps: 3,
      channels: 2,
      hours: Float64Array.of(0, 2, 10),
      values: Float64Array.of(130, Number.NaN, Number.NaN, 100, 70, Number.NaN),
    });
  });

  it('keeps the first steps where there are too many, and has none where nothing was measured', () => {
    const series = { channels, hours: 10, stepHours: 1, stepsMax: 2 };
    const many = facts([0, 1, 2, 3].map((hours) => measurement('hr', hours, hours)));
    expect([...seriesOf(series, many).hours]).toEqual([0, 1]);
    expect(seriesOf(series, facts([])).steps).toBe(0);
  });
});

const value = fc.double({ noDefaultInfinity: true });
const anyFacts = fc.record<PatientFacts>({
  age: fc.option(fc.double({ noNaN: true }), { nil: undefined }),
  sex: fc.constantFrom(undefined, 'female', 'male', 'other'),
  conditions: fc.uniqueArray(fc.constantFrom('ill', 'c')).map((codes) => new Set(codes)),
  measurements: fc
    .array(
      fc.record<Measurement>({
        code: fc.constantFrom('hr', 'bp'),
        units: fc.subarray(['u', 'v']),
        hours: fc.double({ min: -100, max: 100, noNaN: true }),
        value,
      }),
      { maxLength: 12 },
    )
    .map((found) => found.toSorted((one, other) => one.hours - other.hours)),
});
const data = LearningData.parse({
  target: 'ill',
  features: [
    { kind: 'age' },
    { kind: 'sex', is: 'female' },
    { kind: 'condition', code: 'c' },
    { kind: 'is', code: 'bp', value: 1 },
    ...['first', 'last', 'mean', 'min', 'max', 'count', 'known'].map((take) => observation(take)),
    observation('mean', { unit: 'u', low: -3, high: 3 }),
  ],
  series: {
    channels: [
      { code: 'hr', low: -5, high: 5 },
      { code: 'bp', unit: 'v', low: 0, high: 1 },
    ],
    hours: 50,
    stepHours: 3,
    stepsMax: 7,
  },
});

describe('whatever is known of a patient', () => {
  it('each number lies within its declared bounds, or is not known', () => {
    fc.assert(
      fc.property(anyFacts, (of) => {
        const { inputs, series } = rawExample(of, data)!;
        for (const [at, input] of inputs.entries()) {
          const { low, high } = boundsOf(data.features[at]!);
          expect(Number.isNaN(input) || (input >= low && input <= high)).toBe(true);
        }
        for (const [at, number] of series!.values.entries()) {
          const { low, high } = data.series!.channels[at % 2]!;
          expect(Number.isNaN(number) || (number >= low && number <= high)).toBe(true);
        }
      }),
    );
  });

  it('steps ascend, are no more than allowed, and each measured something', () => {
    fc.assert(
      fc.property(anyFacts, (of) => {
        const { steps, hours, values } = rawExample(of, data)!.series!;
        expect(steps).toBeLessThanOrEqual(7);
        for (let step = 0; step < steps; step += 1) {
          expect(values.slice(step * 2, step * 2 + 2).some((number) => !Number.isNaN(number))).toBe(true);
          if (step > 0) expect(hours[step]!).toBeGreaterThan(hours[step - 1]!);
        }
      }),
    );
  });

  it('the clock of a patient may start anywhere', () => {
    fc.assert(
      fc.property(anyFacts, fc.integer({ min: -1_000, max: 1_000 }), (of, shift) => {
        // Whole and half hours: shifting them does not round.
        const measurements = of.measurements.map((one) => ({ ...one, hours: Math.round(one.hours) / 2 }));
        const shifted = measurements.map((one) => ({ ...one, hours: one.hours + shift }));
        expect(rawExample({ ...of, measurements: shifted }, data)).toEqual(
          rawExample({ ...of, measurements }, data),
        );
      }),
    );
  });

  it('standardising gives (value − mean) / sd, at most 3 away from 0, and 0 for what is not known', () => {
    const numbers = standardisedBounds(data).length;
    const moment = fc.double({ min: -100, max: 100, noNaN: true });
    const spread = fc.double({ min: 0.01, max: 100, noNaN: true });
    const scalings = fc.record({
      mean: fc.array(moment, { minLength: numbers, maxLength: numbers }),
      sd: fc.array(spread, { minLength: numbers, maxLength: numbers }),
    });
    fc.assert(
      fc.property(anyFacts, scalings, (of, scaling) => {
        const raw = rawExample(of, data)!;
        const { inputs, series } = standardise(raw, scaling);
        for (const [at, input] of inputs.entries()) {
          const before = raw.inputs[at]!;
          if (Number.isNaN(before)) expect(input).toBe(0);
          else {
            const scaled = (before - scaling.mean[at]!) / scaling.sd[at]!;
            expect(input).toBeCloseTo(Math.min(3, Math.max(-3, scaled)), 9);
          }
        }
        for (const [at, number] of series!.values.entries()) {
          const before = raw.series!.values[at]!;
          const channel = inputs.length + (at % 2);
          if (Number.isNaN(before)) expect(number).toBeNaN();
          else expect(number * scaling.sd[channel]! + scaling.mean[channel]!).toBeCloseTo(before, 6);
        }
      }),
    );
  });
});

it('flags are not standardised', () => {
  expect(data.features.filter((feature) => !isStandardised(feature))).toEqual([
    { kind: 'sex', is: 'female' },
    { kind: 'condition', code: 'c' },
    { kind: 'is', code: 'bp', value: 1 },
    observation('known'),
  ]);
  expect(standardisedBounds(data)).toHaveLength(data.features.length + 2);
  expect(standardisedBounds(data).filter((bounds) => bounds === undefined)).toHaveLength(4);
  expect(standardisedBounds(data)[0]).toEqual({ low: 0, high: 1.3 });
});
