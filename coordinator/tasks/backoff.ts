/** Waiting between attempts: exponential with jitter, so that what failed together does not come back together. */
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 60_000;

/**
 * min(60 s, 1 s · 2^(failures − 1)), of which at least half and at most all is waited.
 * @param failures failed attempts so far, from 1 on
 * @param uniform in [0, 1)
 */
export const backoffMs = (failures: number, uniform: number): number => {
  const whole = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return Math.round(whole / 2 + (whole / 2) * uniform);
};
