/**
 * Release above a threshold (Korolova et al. 2009; Bun, Nissim, Stemmer 2019): noise is added to the count of every key that occurs, and a key
 * is told only when its noisy count reaches T. A key that occurs tells that somebody has it, so this fails with a probability.
 *
 * Proof. D' is D and one patient, who adds at most m keys, each by one. Of those let j occur in D' only; there each counts 1. E: none of
 * the j noisy counts reaches T. Given E, the outputs over D and D' differ in at most m − j counts that occur in both, each by one, under
 * the same noise: that is the loss of the noise alone. Not E happens with probability at most j·P[1 + noise ≥ T], the noises being
 * drawn apart for each key, and most for j = m:
 *
 *     δ = m · P[noise ≥ T − 1]
 *
 * So the release is δ-approximate with the loss of its noise, under every rule. How many keys occur is never told.
 */
import { assert, QflError } from '../errors.ts';
import { deltaOfUnits, deltaUnitsUp } from './delta.ts';
import { gaussianNormaliser } from './gaussian.ts';
import { laplaceTail } from './laplace.ts';
import { normalTail } from './math/normal.ts';
import { isNoise, type Mechanism, type NoiseMechanism, type ThresholdedHistogram } from './mechanism.ts';
import { type Rational, toNumber } from './rational.ts';

/** From here on the exact sum would take long, and the bound is within a part in a thousand of it. */
const SIGMA_SUMMED_MAX = 4_096;

/** Terms beyond this many sigmas behind the first change the sum by less than 2^-53 of itself. */
const SPAN_SIGMAS = 10;

/** P(X ≥ x) of a discrete Gaussian, x ≥ 1: summed up, or bounded by P(N(0, σ²) ≥ x − 1) (Canonne, Kamath, Steinke 2020, Prop. 25). */
const gaussianFrom = (sigma: number, x: number): number => {
  if (sigma > SIGMA_SUMMED_MAX) return normalTail((x - 1) / sigma);
  let sum = 0;
  for (let y = x + Math.ceil(SPAN_SIGMAS * sigma); y >= x; y -= 1) sum += Math.exp(-((y / sigma) ** 2) / 2);
  return sum / gaussianNormaliser(sigma);
};

/** P(noise ≥ x) for an integer x ≥ 1, or a bound a little above it. */
export const noiseFrom = (noise: NoiseMechanism, x: number): number =>
  noise.kind === 'discrete_laplace'
    ? laplaceTail(toNumber(noise.scale), x - 1)
    : gaussianFrom(Math.sqrt(toNumber(noise.sigmaSquared)), x);

/** m·P[noise ≥ T − 1]. */
const failure = (noise: NoiseMechanism, keysPerPatient: bigint, threshold: number): number =>
  Number(keysPerPatient) * noiseFrom(noise, threshold - 1);

/** What a mechanism charges to the delta accounts, in their units, rounded up; 0 for what never fails. */
export const deltaCost = (mechanism: Mechanism): bigint =>
  mechanism.kind === 'thresholded_histogram'
    ? deltaUnitsUp(failure(mechanism.noise, mechanism.keysPerPatient, Number(mechanism.threshold)))
    : 0n;

/** Of several together, for displays. */
export const deltaOf = (mechanisms: readonly Mechanism[]): number =>
  deltaOfUnits(mechanisms.reduce((sum, mechanism) => sum + deltaCost(mechanism), 0n));

/** The noise in a mechanism's counts; undefined for a selection, which has none. */
export const noiseWithin = (mechanism: Mechanism): NoiseMechanism | undefined => {
  if (mechanism.kind === 'thresholded_histogram') return mechanism.noise;
  return isNoise(mechanism) ? mechanism : undefined;
};

/** No count of patients is near it. */
const THRESHOLD_MAX = 2 ** 50;

/**
 * The least T ≥ 2 whose failure is at most delta.
 * @throws QflError `invalid_request` when the noise is so wide, or delta so small, that nothing would ever be told
 */
export const thresholdFor = (noise: NoiseMechanism, keysPerPatient: bigint, delta: Rational): bigint => {
  const wanted = toNumber(delta);
  const holds = (threshold: number): boolean => failure(noise, keysPerPatient, threshold) <= wanted;
  let high = 2;
  while (!holds(high)) {
    high *= 2;
    if (high > THRESHOLD_MAX)
      throw new QflError('invalid_request', {
        detail: 'with so much noise and so small a delta no count would ever be shown',
        next: 'Ask with a larger epsilon or a larger delta.',
      });
  }
  let low = high === 2 ? 2 : high / 2 + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  assert(holds(high), 'the threshold found keeps its delta');
  return BigInt(high);
};

/** The release of keys that only the data knows, at most `keysPerPatient` of one patient. @throws QflError `invalid_request` */
export const thresholdedForDelta = (
  noise: NoiseMechanism,
  keysPerPatient: bigint,
  delta: Rational,
): ThresholdedHistogram => ({
  kind: 'thresholded_histogram',
  relation: 'add_or_remove_patient',
  keysPerPatient,
  noise,
  threshold: thresholdFor(noise, keysPerPatient, delta),
});
