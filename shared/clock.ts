/** Time as a parameter, so that tests own it. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch; may jump either way. */
  nowMs(): number;
  /** Milliseconds that never go back while the process lives; the origin means nothing. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
/** Clocks of two programs may differ by this much. */
export const CLOCK_SKEW_MS = 2 * MINUTE_MS;
