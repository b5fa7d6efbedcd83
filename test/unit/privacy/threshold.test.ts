/** Release above a threshold: its failure against plain sums, the least threshold, the account of deltas, and what its output tells. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  deltaOfText,
  deltaOfUnits,
  deltaUnitsDown,
  deltaUnitsUp,
  divideDelta,
  SHARE_MAX,
} from '../../../shared/privacy/delta.ts';
import { gaussianMass } from '../../../shared/privacy/gaussian.ts';
import { laplaceMass } from '../../../shared/privacy/laplace.ts';
import {
  discreteGaussian,
  discreteLaplace,
  mechanismOfText,
  mechanismToText,
  type NoiseMechanism,
  thresholdedHistogram,
} from '../../../shared/privacy/mechanism.ts';
import { rational, toNumber } from '../../../shared/privacy/rational.ts';
import { prepareThreshold } from '../../../shared/privacy/release.ts';
import {
  deltaCost,
  noiseFrom,
  thresholdedForDelta,
  thresholdFor,
} from '../../../shared/privacy/threshold.ts';
import { seededRandom } from '../../fixtures/drbg.ts';

const laplace = (scale: bigint, m = 1n) => discreteLaplace(m, rational(scale));
const gaussian = (sigmaSquared: bigint, m = 1n) => discreteGaussian(rational(m), rational(sigmaSquared));

const massOf = (noise: NoiseMechanism, x: number): number =>
  noise.kind === 'discrete_laplace'
    ? laplaceMass(toNumber(noise.scale), x)
    : gaussianMass(Math.sqrt(toNumber(noise.sigmaSquared)), x);

/** Every mass from x on, one by one. */
const summedFrom = (noise: NoiseMechanism, x: number): number => {
  let sum = 0;
  for (let y = x + 4_000; y >= x; y -= 1) sum += massOf(noise, y);
  return sum;
};

describe('the odds that noise reaches x', () => {
  test.each([laplace(1n), laplace(10n), laplace(100n), gaussian(1n), gaussian(100n), gaussian(10_000n)])(
    'of %o are the sum of its masses',
    (noise) => {
      for (const x of [1, 2, 5, 20, 35]) {
        const exact = summedFrom(noise, x);
        expect(noiseFrom(noise, x) / exact).toBeCloseTo(1, 9);
      }
    },
  );

  test('where the sum would be long are bounded from above, by little', () => {
    // 4,096 is where one way takes over from the other.
    const below = gaussian(4_096n ** 2n);
    const above = gaussian(4_097n ** 2n);
    for (const sigmas of [1, 3, 6]) {
      const x = Math.round(sigmas * 4_096);
      const ratio = noiseFrom(above, x) / noiseFrom(below, x);
      expect(ratio).toBeGreaterThan(1);
      expect(ratio).toBeLessThan(1.02);
    }
  });
});

describe('a threshold', () => {
  test('is the least whose failure, over all keys of a patient, is within delta', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(laplace(2n, 3n), laplace(30n, 3n), gaussian(9n, 3n), gaussian(900n, 3n)),
        fc.constantFrom('1e-2', '1e-5', '1e-9', '3.5e-7', '0.05'),
        (noise, text) => {
          const delta = deltaOfText(text)!;
          const threshold = Number(thresholdFor(noise, 3n, delta));
          expect(3 * summedFrom(noise, threshold - 1)).toBeLessThanOrEqual(toNumber(delta) * (1 + 1e-9));
          if (threshold > 2)
            expect(3 * summedFrom(noise, threshold - 2)).toBeGreaterThan(toNumber(delta) * (1 - 1e-9));
        },
      ),
    );
  });

  test('grows with the keys of a patient, and what is charged covers them all', () => {
    const one = thresholdedForDelta(laplace(40n, 4n), 1n, deltaOfText('1e-9')!);
    const four = thresholdedForDelta(laplace(40n, 4n), 4n, deltaOfText('1e-9')!);
    expect(four.threshold).toBeGreaterThan(one.threshold);
    const charged = deltaOfUnits(deltaCost(four));
    expect(charged).toBeGreaterThanOrEqual(4 * summedFrom(four.noise, Number(four.threshold) - 1));
    expect(charged).toBeLessThanOrEqual(1e-9 * (1 + 1e-9));
    expect(deltaCost(laplace(1n))).toBe(0n);
  });

  test('that could never be reached is refused', () => {
    expect(() => thresholdFor(laplace(10n ** 15n), 1n, deltaOfText('1e-20')!)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }) as Error,
    );
  });

  test('travels as text, and not with noise for fewer keys than it tells of', () => {
    const mechanism = thresholdedForDelta(gaussian(90n, 4n), 4n, deltaOfText('1e-6')!);
    expect(mechanismOfText(mechanismToText(mechanism))).toEqual(mechanism);
    for (const noise of [laplace(10n, 3n), gaussian(100n, 3n)])
      expect(() => thresholdedHistogram(noise, { keysPerPatient: 4n, threshold: 50n })).toThrow(
        expect.objectContaining({ code: 'invalid_request' }) as Error,
      );
    expect(() => thresholdedHistogram(laplace(10n), { keysPerPatient: 1n, threshold: 1n })).toThrow();
  });
});

describe('the account of deltas', () => {
  test('rounds what is charged up and what is reserved down', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-20, max: 0.5, noNaN: true }), (delta) => {
        expect(deltaOfUnits(deltaUnitsUp(delta))).toBeGreaterThanOrEqual(delta);
        expect(deltaOfUnits(deltaUnitsDown(delta))).toBeLessThanOrEqual(delta);
      }),
    );
  });

  test('divides a delta into parts that are together no more than it', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-12, max: 1e-3, noNaN: true }),
        fc.integer({ min: 1, max: SHARE_MAX }),
        (delta, share) => {
          const { conversion, reservedUnits } = divideDelta(delta, share);
          expect(conversion + deltaOfUnits(reservedUnits)).toBeLessThanOrEqual(delta);
          expect(conversion + deltaOfUnits(reservedUnits)).toBeGreaterThan(delta * (1 - 1e-9));
        },
      ),
    );
    expect(divideDelta(1e-5, 0)).toEqual({ conversion: 1e-5, reservedUnits: 0n });
  });

  test('reads deltas as people write them, exactly', () => {
    expect(deltaOfText('1e-9')).toEqual(rational(1n, 10n ** 9n));
    expect(deltaOfText('2.5e-7')).toEqual(rational(25n, 10n ** 8n));
    expect(deltaOfText('0.0001')).toEqual(rational(1n, 10_000n));
    for (const text of ['0', '0.0', '1', '-1e-9', '1e9', 'NaN', '1e-9x', '.5'])
      expect(deltaOfText(text)).toBeUndefined();
  });
});

describe('a release above a threshold', () => {
  const mechanism = thresholdedHistogram(laplace(2n), { keysPerPatient: 1n, threshold: 20n });

  test('tells what reaches it, in the order of keys, whatever order the rows had', async () => {
    const exact = new Map([
      ['z', 1_000n],
      ['rare', 1n],
      ['a', 500n],
    ]);
    const told = await (await prepareThreshold(mechanism, 8, seededRandom(1)))(exact);
    expect([...told.keys()]).toEqual(['a', 'z']);
    const turned = await (
      await prepareThreshold(mechanism, 8, seededRandom(1))
    )(new Map([...exact].toReversed()));
    expect([...turned]).toEqual([...told]);
  });

  test('with more keys than its pool pushes no key out, and tells the largest', async () => {
    const keys = Array.from({ length: 50 }, (_, at): [string, bigint] => [
      `k${String(at).padStart(2, '0')}`,
      at < 47 ? 1n : 1_000n * BigInt(at),
    ]);
    const told = await (await prepareThreshold(mechanism, 4, seededRandom(2)))(new Map(keys));
    expect([...told.keys()]).toEqual(['k47', 'k48', 'k49']);
    const many = await (
      await prepareThreshold(mechanism, 4, seededRandom(3))
    )(new Map(keys.map(([key], at) => [key, 1_000n * BigInt(at + 1)])));
    expect([...many.keys()]).toEqual(['k46', 'k47', 'k48', 'k49']);
  });

  test('is made once', async () => {
    const release = await prepareThreshold(mechanism, 2, seededRandom(1));
    await release(new Map());
    await expect(release(new Map())).rejects.toThrow('noise is used once');
  });
});
