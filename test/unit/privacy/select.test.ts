/** Selections against their exact probabilities, and their price. */
import { describe, expect, test } from 'vitest';
import { parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import { costUnits, createFilter } from '../../../shared/privacy/filter.ts';
import {
  mechanismOfText,
  MechanismText,
  mechanismToText,
  type Selection,
  selection,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { prepareRelease } from '../../../shared/privacy/release.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { chiSquareTailBound } from './statistics.ts';

const ALPHA = 1e-9;
const DRAWS = 20_000;
const UTILITIES = [-4n, 0n, -1n, -9n, -1n];
const EPSILON = 1;
const SENSITIVITY = 2n;

const passes = UTILITIES.map((utility) => Math.exp((EPSILON * Number(utility)) / (2 * Number(SENSITIVITY))));
const total = passes.reduce((sum, weight) => sum + weight, 0);
const exponential = passes.map((weight) => weight / total);

/** Every order of the candidates equally likely; the first that passes is taken. */
const permuteAndFlip = (): number[] => {
  const chosen = UTILITIES.map(() => 0);
  const visit = (left: readonly number[], probability: number): void => {
    for (const candidate of left) {
      const reached = probability / left.length;
      chosen[candidate]! += reached * passes[candidate]!;
      const missed = reached * (1 - passes[candidate]!);
      if (missed > 0)
        visit(
          left.filter((other) => other !== candidate),
          missed,
        );
    }
  };
  visit(
    UTILITIES.map((_, at) => at),
    1,
  );
  return chosen;
};

const make = (kind: Selection['kind']): Selection =>
  selection(kind, { sensitivity: SENSITIVITY, epsilon: rational(1n), candidates: UTILITIES.length });

const drawn = async (mechanism: Selection, utilities = UTILITIES, times = DRAWS): Promise<number[]> => {
  const counts = utilities.map(() => 0);
  const random = seededRandom(41);
  for (let at = 0; at < times; at += 1) {
    const [chosen] = (await prepareRelease(mechanism, 1, random))(utilities);
    counts[Number(chosen)]! += 1;
  }
  return counts;
};

const fit = (counts: readonly number[], masses: readonly number[]): number =>
  chiSquareTailBound(
    counts.reduce((sum, count, at) => sum + (count - DRAWS * masses[at]!) ** 2 / (DRAWS * masses[at]!), 0),
    counts.length - 1,
  );

describe('selection', () => {
  test('the exponential mechanism: chi-square against the exact probabilities', async () => {
    const counts = await drawn(make('exponential'));
    expect(fit(counts, exponential)).toBeGreaterThan(ALPHA);
    // The test tells the two apart, and a rate that is twice too high.
    expect(fit(counts, permuteAndFlip())).toBeLessThan(ALPHA);
    const doubled = passes.map((weight) => weight ** 2);
    const sum = doubled.reduce((one, other) => one + other, 0);
    expect(
      fit(
        counts,
        doubled.map((weight) => weight / sum),
      ),
    ).toBeLessThan(ALPHA);
  });

  test('permute and flip: chi-square against the exact probabilities', async () => {
    const counts = await drawn(make('permute_and_flip'));
    expect(fit(counts, permuteAndFlip())).toBeGreaterThan(ALPHA);
  });

  test('only differences of utilities matter', async () => {
    const raised = UTILITIES.map((utility) => utility + 10n ** 30n);
    const plain = await drawn(make('exponential'), UTILITIES, 500);
    expect(await drawn(make('exponential'), raised, 500)).toEqual(plain);
  });

  test('a release is used once', async () => {
    const release = await prepareRelease(make('exponential'), 1, seededRandom(42));
    release(UTILITIES);
    expect(() => release(UTILITIES)).toThrowError('once');
  });

  test('what a ledger keeps reads back', () => {
    for (const kind of ['exponential', 'permute_and_flip'] as const) {
      const text = mechanismToText(make(kind));
      expect(mechanismOfText(MechanismText.parse(JSON.parse(JSON.stringify(text))))).toEqual(make(kind));
    }
  });

  test('costs: a quarter of a pure mechanism under zCDP, all of it under basic composition', () => {
    const budget = { epsilon: parseEpsilon('10'), delta: 1e-5 };
    const zcdp = createFilter('zcdp', budget);
    const one = 2n ** 40n;
    expect(costUnits(make('exponential'), zcdp)).toBe(one / 8n);
    expect(costUnits(make('permute_and_flip'), zcdp)).toBe(one / 2n);
    const rdp = createFilter('rdp_fixed_order', budget);
    const exact = (rdp.orderTenths / 10) * (2 ** 40 / 8);
    expect(Number(costUnits(make('exponential'), rdp))).toBeLessThanOrEqual(exact + 4);
    expect(Number(costUnits(make('exponential'), rdp))).toBeGreaterThan(exact * 0.9);
    const basic = createFilter('basic', budget);
    for (const kind of ['exponential', 'permute_and_flip'] as const)
      expect(costUnits(make(kind), basic)).toBe(10n ** 12n);
  });
});
