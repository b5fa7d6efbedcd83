/**
 * Release above a threshold on two data sets that differ in one patient, who holds keys that nobody else has. The real one is not refuted at
 * its epsilon and delta; each fault is.
 */
import { describe, expect, test } from 'vitest';
import { createLedgerFilter, fits, type LedgerFilter } from '../../agent/budget/filters.ts';
import type { Amount } from '../../agent/budget/amount.ts';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { deltaOfText, deltaOfUnits } from '../../shared/privacy/delta.ts';
import { discreteLaplace, type ThresholdedHistogram } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { type KeyedCounts, prepareThreshold } from '../../shared/privacy/release.ts';
import { deltaCost, thresholdedForDelta } from '../../shared/privacy/threshold.ts';
import { seededRandom } from '../fixtures/drbg.ts';
import { refutedEpsilon } from '../fixtures/falsification.ts';

const EPSILON = 1;
const KEYS = 2n;
const noise = discreteLaplace(KEYS, rational(KEYS));
const real = thresholdedForDelta(noise, KEYS, deltaOfText('0.05')!);

const SHARED = 9n;
const WITHOUT: KeyedCounts = new Map([['shared', SHARED]]);
/** The patient holds two keys that nobody else has. */
const OWN: KeyedCounts = new Map([...WITHOUT, ['own 1', 1n], ['own 2', 1n]]);
/** The patient holds one of their own and the shared one: part of the loss is the noise's. */
const BOTH: KeyedCounts = new Map([
  ['shared', SHARED + 1n],
  ['own 1', 1n],
]);

type Told = ReadonlyMap<string, bigint>;
type Release = (exact: KeyedCounts, seed: number) => Promise<Told>;

const releaseOf =
  (mechanism: ThresholdedHistogram): Release =>
  async (exact, seed) =>
    (await prepareThreshold(mechanism, 4, seededRandom(seed)))(exact);

/** What was told as one integer: the shared count, and which keys of the patient. */
const codeOf = (told: Told): number =>
  Number(told.get('shared') ?? 0n) * 4 + (told.has('own 1') ? 2 : 0) + (told.has('own 2') ? 1 : 0);

const DRAWS = 8_000;
const draws = async (
  release: Release,
  exact: KeyedCounts,
  from: number,
  count = DRAWS,
): Promise<Int32Array> => {
  const found = new Int32Array(count);
  for (let at = 0; at < count; at += 1) found[at] = codeOf(await release(exact, from + at));
  return found;
};

/** The most epsilon that the draws refute at this delta, over both pairs of neighbours. */
const refuted = async (release: Release, delta: number): Promise<number> => {
  const without = await draws(release, WITHOUT, 1);
  const worst = [];
  for (const [at, neighbour] of [OWN, BOTH].entries())
    worst.push(refutedEpsilon(await draws(release, neighbour, (at + 1) * 1_000_000), without, delta));
  return Math.max(...worst);
};

const CHARGED = deltaOfUnits(deltaCost(real));

describe('on neighbouring data sets', () => {
  test('the real one holds what it claims', async () => {
    expect(await refuted(releaseOf(real), CHARGED)).toBeLessThanOrEqual(EPSILON);
  });

  test('a threshold too low is refuted', async () => {
    const low = { ...real, threshold: real.threshold - 4n };
    expect(await refuted(releaseOf(low), CHARGED)).toBeGreaterThan(EPSILON);
  });

  test('a threshold for one key of a patient who holds two is refuted', async () => {
    // All of delta for one key: two of them fail twice as often.
    const one = { ...thresholdedForDelta(noise, 1n, deltaOfText('0.05')!), keysPerPatient: KEYS };
    const many = 5 * DRAWS;
    const left = await draws(releaseOf(one), OWN, 1_000_000, many);
    const right = await draws(releaseOf(one), WITHOUT, 1, many);
    expect(refutedEpsilon(left, right, CHARGED)).toBeGreaterThan(EPSILON);
  });

  test('a delta that is not charged is refuted', async () => {
    expect(await refuted(releaseOf(real), 0)).toBeGreaterThan(EPSILON);
  });

  test('keys cut to the pool before the threshold are refuted: a rare key pushes out a common one', async () => {
    const cut: Release = async (exact, seed) => {
      // In the order of a public hash, the patient's own keys come first.
      const kept = new Map([...exact].toSorted(([left], [right]) => (left < right ? -1 : 1)).slice(0, 1));
      return releaseOf(real)(kept, seed);
    };
    const many = (exact: KeyedCounts): KeyedCounts =>
      new Map([...exact].map(([key, count]) => [key, key === 'shared' ? count + 1_000n : count]));
    const left = await draws(cut, many(WITHOUT), 1);
    const right = await draws(cut, many(OWN), 1_000_000);
    expect(refutedEpsilon(left, right, CHARGED)).toBeGreaterThan(EPSILON);
  });
});

describe('the ledger', () => {
  const SHARE = 100_000;
  const budget = { epsilon: parseEpsilon('20'), delta: 1e-5 };
  const price = createLedgerFilter('rdp_fixed_order', budget, undefined, SHARE);
  const mechanism = thresholdedForDelta(discreteLaplace(1n, rational(10n)), 1n, deltaOfText('1e-7')!);

  /** Charges until it refuses; what it then has admitted in delta, truly. */
  const admitted = (cost: (filter: LedgerFilter) => Amount): number => {
    let spent: Amount = price.budget.map(() => 0n);
    let runs = 0;
    while (fits(price, spent, cost(price)) && runs < 10_000) {
      spent = spent.map((units, at) => units + cost(price)[at]!);
      runs += 1;
    }
    return runs * deltaOfUnits(deltaCost(mechanism));
  };

  test('that charges delta stops within the share; one that does not passes the whole of delta', () => {
    const share = (budget.delta * SHARE) / 1_000_000;
    expect(admitted((filter) => filter.cost(mechanism))).toBeLessThanOrEqual(share);
    const withoutDelta = admitted((filter) => [...filter.cost(mechanism).slice(0, -1), 0n]);
    expect(withoutDelta).toBeGreaterThan(budget.delta);
  });
});
