/**
 * Gaussian mechanism on a uniform subset of fixed size, replace-one: upper bound of Wang, Balle, Kasiviswanathan 2019
 * ("Subsampled Renyi Differential Privacy and Analytical Moments Accountant"), Theorem 27 with the Gaussian's chi^k moments;
 * their Corollary 10 between whole orders.
 */
import { logAdd, logBinomials, logExpm1, logSum } from '../math/logarithms.ts';

/** From this order on the moments are replaced by their simpler bound 2e^((k−1)·RDP(k)): the paper's own choice of cost. */
const ORDER_MAX_MOMENTS = 256;

/**
 * ln E[(p/q − 1)^k] for even k, p = N(1,s²), q = N(0,s²), x ~ q: an integral of an entire function at or above 0, by
 * trapezoids of a quarter sigma; the alternating sum it equals would cancel.
 */
const logMoment = (sigma: number, k: number): number => {
  const step = sigma / 4;
  const sum = logSum();
  for (let x = -14 * sigma; x <= k + 14 * sigma; x += step) {
    const w = (2 * x - 1) / (2 * sigma * sigma);
    const logRatio = w > 0 ? logExpm1(w) : Math.log(-Math.expm1(w));
    sum.add(k * logRatio - (x * x) / (2 * sigma * sigma));
  }
  return sum.value() + Math.log(1 / (4 * Math.sqrt(2 * Math.PI)));
};

const LOG_2 = Math.log(2);
const LOG_4 = Math.log(4);

/** The curve of one mechanism: a function of the order, with the moments it shares between orders kept. */
export const withoutReplacementRdp = (q: number, sigma: number): ((order: number) => number) => {
  const moments = new Map<number, number>();
  const moment = (k: number): number => {
    const known = moments.get(k) ?? logMoment(sigma, k);
    moments.set(k, known);
    return known;
  };
  const gaussian = (order: number): number => order / (2 * sigma * sigma);
  const term = (k: number, order: number): number => {
    const simple = LOG_2 + (k - 1) * gaussian(k);
    if (k === 2) return Math.min(LOG_4 + logExpm1(gaussian(2)), simple);
    if (order > ORDER_MAX_MOMENTS) return simple;
    return Math.min(LOG_4 + (moment(2 * Math.floor(k / 2)) + moment(2 * Math.ceil(k / 2))) / 2, simple);
  };
  const cumulant = (order: number): number => {
    if (order <= 1) return 0;
    const binomials = logBinomials(order);
    const sum = logSum();
    for (let k = 2; k <= order; k += 1) sum.add(k * Math.log(q) + binomials[k]! + term(k, order));
    return logAdd(0, sum.value());
  };
  return (order) => {
    if (q === 0) return 0;
    if (q === 1) return gaussian(order);
    const below = Math.floor(order);
    const part = order - below;
    const low = cumulant(below);
    return (part === 0 ? low : (1 - part) * low + part * cumulant(below + 1)) / (order - 1);
  };
};
