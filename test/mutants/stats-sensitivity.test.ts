/** Faults of statistics that the checks must catch: each check passes on the real thing and fails on the mutant. */
import { describe, expect, test } from 'vitest';
import { gridOf } from '../../agent/answer/stats/grid.ts';
import { epsilonOfVector, mechanismFor } from '../../agent/answer/stats/price.ts';
import { vectorsOf } from '../../agent/answer/stats/layout.ts';
import type { WalkRules } from '../../agent/records/walk.ts';
import type { Mechanism } from '../../shared/privacy/mechanism.ts';
import { divide, multiply, type Rational, rational, toNumber } from '../../shared/privacy/rational.ts';
import { Measure } from '../../shared/wire/stats.ts';
import { consentDeny, patient } from '../fixtures/fhir.ts';
import { exactVectors, excess, HBA1C, observation, type Person } from '../fixtures/stats.ts';

/** One with three rows of the highest value, one linked over two records, one who refused by one of two records, one plain. */
const PEOPLE: readonly Person[] = [
  [
    patient('many'),
    ...[1, 2, 3].map((at) =>
      observation(`m${at}`, 'many', {
        valueQuantity: { value: 15, unit: '%' },
        effectiveDateTime: `202${at}`,
      }),
    ),
  ],
  [
    patient('new'),
    patient('old', { link: [{ other: { reference: 'Patient/new' }, type: 'replaced-by' }] }),
    observation('n1', 'new'),
    observation('o1', 'old'),
  ],
  [
    patient('no'),
    patient('no-old', { link: [{ other: { reference: 'Patient/no' }, type: 'replaced-by' }] }),
    consentDeny('c', 'no-old'),
    observation('x1', 'no'),
  ],
  [patient('plain'), observation('p1', 'plain')],
];

const rows = { of: `Observation?code=${HBA1C}`, perPatientMax: 1, take: 'latest' };
const of = { variable: 'value', unit: '%', low: '3', high: '15', granularity: '0.5' };
const COUNT = Measure.parse({ measure: 'count' });
const ROWS = Measure.parse({ measure: 'count', rows });
const SUM = Measure.parse({ measure: 'sum', of, rows });

/** Does every person stay within what is declared, if the figure is computed by these rules? */
const holds = async (declared: Measure, computed: Measure = declared, rules: WalkRules = {}) => {
  const all = await exactVectors(PEOPLE, 'Patient', computed, rules);
  for (const person of PEOPLE) {
    const others = PEOPLE.filter((one) => one !== person);
    if (excess(declared, all, await exactVectors(others, 'Patient', computed, rules)) !== undefined)
      return false;
  }
  return true;
};

describe('the sensitivity check', () => {
  test('passes on the real thing', async () => {
    for (const measure of [COUNT, ROWS, SUM]) expect(await holds(measure)).toBe(true);
  });

  test('catches sensitivity 1 where three rows are taken', async () => {
    const three = Measure.parse({ measure: 'count', rows: { ...rows, perPatientMax: 3 } });
    expect(await holds(three)).toBe(true);
    expect(await holds(ROWS, three)).toBe(false);
  });

  test.each([ROWS, SUM])(
    'catches rows that are not cut to the declared number: $measure',
    async (measure) => {
      expect(await holds(measure, measure, { truncate: (taken) => taken })).toBe(false);
    },
  );

  test('catches linked records that count as two persons', async () => {
    const apart: WalkRules = { persons: () => Promise.resolve({ personOf: () => undefined }) };
    expect(await holds(COUNT, COUNT, apart)).toBe(false);
  });

  test('catches an opt-out that is not honoured', async () => {
    const without = await exactVectors(PEOPLE, 'Patient', COUNT);
    const withThem = await exactVectors(PEOPLE, 'Patient', COUNT, { async *optedOut() {} });
    expect(without).toEqual([[3n]]);
    expect(withThem).not.toEqual(without);
  });

  test('catches a clamp that is wider than the declared bounds', async () => {
    const wider = Measure.parse({ measure: 'sum', of: { ...of, high: '40' }, rows });
    const high: readonly Person[] = [
      [patient('p'), observation('h', 'p', { valueQuantity: { value: 39, unit: '%' } })],
    ];
    const moved = async (computed: Measure) =>
      excess(SUM, await exactVectors(high, 'Patient', computed), await exactVectors([], 'Patient', computed));
    expect(await moved(SUM)).toBeUndefined();
    expect(await moved(wider)).toBeDefined();
  });

  test('replacing a person is another relation: it moves further than the declared bound for adding or removing one', async () => {
    const signed = Measure.parse({ measure: 'mean', of, rows });
    const person = (value: number): Person => [
      patient('p'),
      observation('r', 'p', { valueQuantity: { value, unit: '%' } }),
    ];
    const low = await exactVectors([person(0)], 'Patient', signed);
    const none = await exactVectors([], 'Patient', signed);
    const high = await exactVectors([person(99)], 'Patient', signed);
    expect(excess(signed, low, none)).toBeUndefined();
    expect(excess(signed, high, none)).toBeUndefined();
    expect(excess(signed, high, low)).toBeDefined();
  });
});

const HOSTILE = [
  'NaN',
  'Infinity',
  '-Infinity',
  '',
  ' 7',
  '7 ',
  '0x10',
  '1e999',
  '-1e999',
  '1e5000',
  '--1',
  '7,5',
  '1e',
  undefined,
];

/** Within the bounds, or left out. */
const isBounded = (
  units: (text: string | undefined) => bigint | undefined,
  low: bigint,
  high: bigint,
): boolean =>
  [...HOSTILE, '3', '15', '7.25', '-4', '400'].every((text) => {
    const value = units(text);
    return value === undefined || (value >= low && value <= high);
  });

describe('the clamp', () => {
  test('holds every text within the bounds; one that compares doubles lets NaN through', () => {
    const grid = gridOf({ low: '3', high: '15', granularity: '0.5' });
    expect(isBounded((text) => grid.unitsOf(text), grid.low, grid.high)).toBe(true);
    // What passes every comparison ends up as any integer at all; 2^53 stands for it here.
    const doubles = (text: string | undefined): bigint => {
      let value = Number(text) / 0.5;
      if (value < 6) value = 6;
      if (value > 30) value = 30;
      return Number.isNaN(value) ? 2n ** 53n : BigInt(Math.round(value));
    };
    expect(isBounded(doubles, grid.low, grid.high)).toBe(false);
  });
});

const HISTOGRAM = Measure.parse({
  measure: 'table',
  by: [{ variable: 'gender' }],
  rows: { ...rows, perPatientMax: 3 },
  noise: 'laplace',
});
const MEASURES = [COUNT, SUM, Measure.parse({ measure: 'mean', of, rows, share: 2 }), HISTOGRAM];

/** Pure epsilon of all vectors together: sensitivity over scale, added up. */
const spent = (mechanisms: readonly Mechanism[]): Rational =>
  mechanisms.reduce<Rational>((sum, mechanism) => {
    if (mechanism.kind !== 'discrete_laplace') throw new Error('Laplace noise only');
    const one = divide(rational(mechanism.sensitivity), mechanism.scale);
    return rational(
      sum.numerator * one.denominator + one.numerator * sum.denominator,
      sum.denominator * one.denominator,
    );
  }, rational(0n));

const plan = (change: (mechanism: Mechanism) => Mechanism, share = epsilonOfVector): number =>
  toNumber(
    spent(
      MEASURES.flatMap((measure) => {
        const vectors = vectorsOf(measure);
        return vectors.map((vector) =>
          change(
            mechanismFor(measure, vector, share(500_000, MEASURES, measure, vectors.length), {
              rule: 'rdp_fixed_order',
            }),
          ),
        );
      }),
    ),
  );

describe('the price of a question', () => {
  test('is the epsilon asked, over all its figures', () => {
    expect(plan((mechanism) => mechanism)).toBe(0.5);
  });

  test('a scale halved is caught', () => {
    const halved = (mechanism: Mechanism): Mechanism =>
      mechanism.kind === 'discrete_laplace'
        ? { ...mechanism, scale: multiply(mechanism.scale, rational(1n, 2n)) }
        : mechanism;
    expect(plan(halved)).toBeGreaterThan(0.5);
  });

  test('figures that each take the whole epsilon are caught', () => {
    expect(
      plan(
        (mechanism) => mechanism,
        (micro) => rational(BigInt(micro), 1_000_000n),
      ),
    ).toBeGreaterThan(0.5);
  });
});
