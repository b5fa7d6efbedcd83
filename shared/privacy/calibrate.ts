/**
 * Calibration: the least noise, or the most runs, that keeps within a target. Takes some twenty to forty evaluations: with loss
 * distributions, run in a worker.
 */
import { QflError } from '../errors.ts';
import { bisect } from './math/search.ts';

const NOISE_MAX = 2 ** 40;
const NOISE_MIN = 2 ** -20;
const COUNT_MAX = 2 ** 40;

const unreachable = (): never => {
  throw new QflError('invalid_request', {
    detail: 'no noise meets this target',
    next: 'Raise epsilon or delta, or run less often.',
  });
};

/**
 * The least noise whose epsilon is at most `target`, rounded up by at most `relative` of itself: epsilon at the result is at most the
 * target. `epsilonAt` falls with the noise.
 * @throws QflError `invalid_request` when no noise up to 2^40 is enough.
 */
export const leastNoise = (epsilonAt: (noise: number) => number, target: number, relative = 1e-6): number => {
  const enough = (noise: number): boolean => epsilonAt(noise) <= target;
  let high = 1;
  while (!enough(high)) high = high < NOISE_MAX ? high * 2 : unreachable();
  let low = high / 2;
  while (low > NOISE_MIN && enough(low)) [low, high] = [low / 2, low];
  return low <= NOISE_MIN ? high : bisect(low, high, enough, relative).above;
};

/** The largest whole count whose epsilon is at most `target`; 0 when one run is too many. `epsilonAt` grows with the count. */
export const mostRuns = (epsilonAt: (count: number) => number, target: number): number => {
  const fits = (count: number): boolean => epsilonAt(count) <= target;
  if (!fits(1)) return 0;
  let low = 1;
  let high = 2;
  while (high < COUNT_MAX && fits(high)) [low, high] = [high, high * 2];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
};
