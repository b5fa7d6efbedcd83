/**
 * One-run audit (Steinke, Nasr, Jagielski 2023) of a statistic: each bin of one histogram holds a canary patient or none, by a fair coin; what is
 * released, as `contribute` releases it, is used to guess. A passed audit proves nothing; the mutant shows that a fault would be seen.
 */
import { describe, expect, test } from 'vitest';
import { parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import {
  type DiscreteLaplace,
  discreteLaplace,
  laplaceForEpsilon,
} from '../../../shared/privacy/mechanism.ts';
import { multiply, rational } from '../../../shared/privacy/rational.ts';
import { prepareRelease } from '../../../shared/privacy/release.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { fairCoins, oneRunEpsilon } from '../ask/audit.ts';

const CANARIES = 100_000;
const EPSILON = 1;
/** Every bin is guessed: at or below 0 nobody, at or above 1 somebody. */
const MARGIN = 0.5;

const count = laplaceForEpsilon(
  { epsilon: parseEpsilon(String(EPSILON)), sensitivity: 1n },
  { microEpsilonPerQueryMax: parseEpsilon('1') },
);
/** The same price, half the noise. */
const halved = ({ sensitivity, scale }: DiscreteLaplace): DiscreteLaplace =>
  discreteLaplace(sensitivity, multiply(scale, rational(1n, 2n)));

const refutedBy = (mechanism: DiscreteLaplace, seed: number): Promise<number> =>
  oneRunEpsilon(
    async (exact) => (await prepareRelease(mechanism, exact.length, seededRandom(seed)))(exact),
    fairCoins(CANARIES, seed + 1),
    MARGIN,
  );

describe('one run over a histogram of canaries', () => {
  test('does not refute its epsilon, and comes close to it', async () => {
    const refuted = await refutedBy(count, 51);
    expect(refuted).toBeLessThanOrEqual(EPSILON);
    expect(refuted).toBeGreaterThan(0.9 * EPSILON);
  });

  test('refutes half the noise at the same price', async () => {
    expect(await refutedBy(halved(count), 53)).toBeGreaterThan(EPSILON);
  });
});
