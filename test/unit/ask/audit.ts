/** Attacks on the release of a concepts vector, and on any histogram of patients; the mutants run the same with a fault in the noise. */
import { askMechanism } from '../../../agent/answer/ask-records/mechanism.ts';
import { auditEpsilon } from '../../../shared/privacy/analytic/audit.ts';
import { gaussianEpsilon } from '../../../shared/privacy/analytic/gaussian.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { discreteGaussian, type DiscreteGaussian } from '../../../shared/privacy/mechanism.ts';
import { multiply, rational, toNumber } from '../../../shared/privacy/rational.ts';
import { prepareRelease } from '../../../shared/privacy/release.ts';
import { seededRandom } from '../../fixtures/drbg.ts';

/** Exact vector in, released vector out. */
export type ReleaseVector = (exact: readonly bigint[]) => Promise<readonly bigint[]>;

/** As `contribute.ts` releases. */
export const releaseWith =
  (mechanism: DiscreteGaussian, seed: number): ReleaseVector =>
  async (exact) =>
    (await prepareRelease(mechanism, exact.length, seededRandom(seed)))(exact);

/** A mutant: the same price, σ over two. */
export const halved = ({ sensitivitySquared, sigmaSquared }: DiscreteGaussian): DiscreteGaussian =>
  discreteGaussian(sensitivitySquared, multiply(sigmaSquared, rational(1n, 4n)));

/** (ε, δ) that the noise claims: the Gaussian's own curve, which the discrete one does not exceed by more than rounding. */
export const claimedEpsilon = (
  { sensitivitySquared, sigmaSquared }: DiscreteGaussian,
  delta: number,
): number => gaussianEpsilon(Math.sqrt(toNumber(sigmaSquared) / toNumber(sensitivitySquared)), delta);

/** ε 0.5 of a question in which a patient counts for one term: σ 2. */
export const auditedMechanism = askMechanism(microEpsilon(500_000), 1n);
export const AUDIT_DELTA = 1e-8;
export const AUDIT_CANARIES = 400_000;
/** Guess where the released count is at least this far from one half: the likelihood ratio there is beyond what is claimed. */
export const AUDIT_MARGIN = 3;
/** Odds of a false alarm. */
export const AUDIT_ALPHA = 1e-3;

/**
 * One run (Steinke, Nasr, Jagielski 2023): every cell holds one canary patient or none, by a fair coin; the auditor sees the
 * released vector and guesses where the likelihood ratio is large. The epsilon that the right guesses refute.
 */
export const oneRunEpsilon = async (
  release: ReleaseVector,
  coins: readonly bigint[],
  margin: number,
): Promise<number> => {
  const released = await release(coins);
  const guesses = released.flatMap((value, at) => {
    const far = Number(value) - 0.5;
    return Math.abs(far) < margin ? [] : [far > 0 === (coins[at] === 1n)];
  });
  const correct = guesses.filter((right) => right).length;
  return auditEpsilon(
    { canaries: coins.length, guesses: guesses.length, correct, delta: AUDIT_DELTA },
    AUDIT_ALPHA,
  );
};

export const fairCoins = (count: number, seed: number): readonly bigint[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => BigInt(random(1)[0]! & 1));
};
