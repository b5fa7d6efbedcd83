/**
 * The distributed discrete Gaussian (Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
 * Aggregation", Theorem 1): each of h honest sites adds a discrete Gaussian of its own to every word of an integer vector, and only the
 * sum is ever seen. A sum of discrete Gaussians is not quite one, by
 *
 *     tau = 10 · sum_{k=1}^{h-1} exp(-2 pi^2 sigma^2 k/(k+1))
 *
 * which is below 1e-60 from sigma 4 on. The sum is e²/2 zero-concentrated with
 *
 *     e = min( sqrt(D²/(h sigma²) + tau d/2), D/(sqrt(h) sigma) + tau sqrt(d) )
 */
import { type DistributedGaussian } from './mechanism.ts';
import { toNumber } from './rational.ts';

/** tau, of shares with this variance. */
const correction = (sigmaSquared: number, shares: number): number => {
  let sum = 0;
  for (let k = 1; k < shares; k += 1) sum += Math.exp((-2 * Math.PI ** 2 * sigmaSquared * k) / (k + 1));
  return 10 * sum;
};

/** rho of zero-concentrated differential privacy; an upper bound, in doubles. */
export const distributedRho = ({
  sensitivitySquared,
  sigmaSquared,
  shares,
  words,
}: DistributedGaussian): number => {
  const variance = toNumber(sigmaSquared);
  const moved = Number(sensitivitySquared) / (shares * variance);
  const tau = correction(variance, shares);
  const e = Math.min(Math.sqrt(moved + (tau * words) / 2), Math.sqrt(moved) + tau * Math.sqrt(words));
  return e ** 2 / 2;
};
