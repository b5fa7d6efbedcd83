/** Patients' vectors as integers, and the price of noise in shares. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distributedRho } from '../../../shared/privacy/distributed.ts';
import { costUnits, createFilter } from '../../../shared/privacy/filter.ts';
import {
  discreteGaussian,
  distributedGaussian,
  mechanismOfText,
  mechanismToText,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { MicroEpsilon } from '../../../shared/privacy/epsilon.ts';
import {
  boundSquared,
  createEncoder,
  decode,
  fitsWords,
  hadamard,
  wordsFor,
} from '../../../shared/rounds/encode.ts';
import { seeded } from '../../../shared/seeded.ts';

const SEED = Buffer.alloc(32, 3);
const squared = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value ** 2, 0);

describe('a patient’s vector', () => {
  it('moves the sum by no more than the noise is made for, whatever it holds', () => {
    const anything = fc.double({ noDefaultInfinity: false, noNaN: false });
    fc.assert(
      fc.property(fc.array(anything, { minLength: 1, maxLength: 20 }), (values) => {
        const grid = { clip: 1, step: 1 / 64, words: wordsFor(values.length) };
        const encoder = createEncoder(grid, SEED, randomBytes);
        encoder.add(values);
        expect(BigInt(squared(encoder.sum))).toBeLessThanOrEqual(boundSquared(grid));
      }),
      { numRuns: 500 },
    );
  });

  it('comes back from the sum of many, to the step of the grid', () => {
    const random = seeded(4);
    const grid = { clip: 2, step: 1 / 1_024, words: 32 };
    const encoder = createEncoder(grid, SEED, randomBytes);
    const patients = 300;
    const exact = new Float64Array(20);
    for (let patient = 0; patient < patients; patient += 1) {
      const values = Float64Array.from({ length: 20 }, () => 0.2 * (random.uniform() - 0.5));
      values.forEach((value, at) => (exact[at]! += value));
      encoder.add(values);
    }
    const decoded = decode(encoder.sum, grid, SEED, 20);
    for (const [at, value] of decoded.entries())
      // Rounding by chance: a standard deviation of √(300/4) steps at most.
      expect(Math.abs(value - exact[at]!)).toBeLessThan(6 * Math.sqrt(patients / 4) * grid.step);
  });

  it('is clipped to its length', () => {
    const grid = { clip: 1, step: 1 / 4_096, words: 4 };
    const encoder = createEncoder(grid, SEED, randomBytes);
    encoder.add([30, 40]);
    const [a, b] = decode(encoder.sum, grid, SEED, 4);
    expect(a).toBeCloseTo(0.6, 2);
    expect(b).toBeCloseTo(0.8, 2);
  });

  it('is turned by a transform that is its own inverse and keeps lengths', () => {
    const values = Float64Array.from({ length: 64 }, (_, at) => Math.sin(at));
    const before = Float64Array.from(values);
    hadamard(values);
    expect(squared(values)).toBeCloseTo(squared(before), 9);
    hadamard(values);
    for (const [at, value] of values.entries()) expect(value).toBeCloseTo(before[at]!, 12);
  });

  it('fits into words as long as the stated rule holds', () => {
    const grid = { clip: 1, step: 1 / 65_536, words: 1_024 };
    const noise = { sigmaSquared: 1e8, shares: 10 };
    expect(fitsWords(grid, 100_000, noise)).toBe(true);
    expect(fitsWords(grid, 1e8, noise)).toBe(false);
  });
});

const renyi = (p: readonly number[], q: readonly number[], a: number): number =>
  Math.log(p.reduce((sum, mass, at) => sum + mass * Math.exp((a - 1) * Math.log(mass / q[at]!)), 0)) /
  (a - 1);
const convolve = (left: readonly number[], right: readonly number[]): number[] => {
  const out = Array.from({ length: left.length + right.length - 1 }, () => 0);
  left.forEach((a, at) => right.forEach((b, of) => (out[at + of]! += a * b)));
  return out;
};

describe('noise in shares', () => {
  const share = (sigmaSquared: bigint, shares: number, sensitivitySquared = 1n, words = 1) =>
    distributedGaussian({ sensitivitySquared, sigmaSquared: rational(sigmaSquared), shares, words });

  it.each([
    [1n, 2],
    [1n, 3],
    [4n, 2],
    [9n, 4],
  ])('of variance %d from %i sites loses no more than is charged, summed up exactly', (variance, shares) => {
    const span = 40 + 12 * Math.ceil(Math.sqrt(Number(variance)));
    const one = Array.from({ length: 2 * span + 1 }, (_, at) =>
      Math.exp(-((at - span) ** 2) / (2 * Number(variance))),
    );
    const total = one.reduce((sum, mass) => sum + mass, 0);
    const masses = one.map((mass) => mass / total);
    let sum = masses;
    for (let more = 1; more < shares; more += 1) sum = convolve(sum, masses);
    const moved = [...sum.slice(1), 0];
    const keep = sum.map((mass, at) => mass > 1e-250 && moved[at]! > 1e-250);
    const [p, q] = [sum, moved].map((of) => of.filter((_, at) => keep[at]));
    const rho = distributedRho(share(variance, shares));
    for (const order of [1.5, 2, 4, 8]) expect(renyi(p!, q!, order)).toBeLessThanOrEqual(order * rho + 1e-9);
    // And not much more than is lost.
    if (variance >= 4n) expect(rho).toBeLessThan((renyi(p!, q!, 2) / 2) * 1.01 + 1e-9);
  });

  it('costs what one wide Gaussian costs, as soon as the shares are wide', () => {
    const filter = createFilter('zcdp', { epsilon: MicroEpsilon.parse(1_000_000), delta: 1e-6 });
    const wide = costUnits(discreteGaussian(rational(400n), rational(900n)), filter);
    const shared = costUnits(share(100n, 9, 400n, 4_096), filter);
    expect(shared).toBeGreaterThanOrEqual(wide);
    expect(Number(shared - wide) / Number(wide)).toBeLessThan(1e-9);
    // Shares too narrow to add up to a Gaussian cost more.
    expect(
      costUnits(distributedGaussian({ ...share(1n, 9, 4n, 4_096), sigmaSquared: rational(1n, 4n) }), filter),
    ).toBeGreaterThan(costUnits(discreteGaussian(rational(4n), rational(9n, 4n)), filter));
  });

  it('is recorded as it is', () => {
    const mechanism = share(25n, 4, 77n, 16);
    expect(mechanismOfText(mechanismToText(mechanism))).toEqual(mechanism);
  });
});
