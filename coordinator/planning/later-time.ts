/**
 * Which of two forecasters the planner should use, judged on time later than anything the candidate learned from. Shuffled time would not do: a
 * request's neighbours on both sides tell of it, and a candidate that memorises them would win.
 */
import { assert } from '../../shared/errors.ts';

export interface LaterTimeChoice {
  readonly used: 'incumbent' | 'candidate';
  /** Mean of the incumbent's error less the candidate's; above 0 the candidate is nearer. NaN without any request. */
  readonly gain: number;
  /** Standard error of `gain`; NaN where there are too few requests to tell. */
  readonly gainError: number;
}

/** Fewer requests tell too little about how neighbours are alike. */
const REQUESTS_MIN = 100;

const meanOf = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let at = 0; at < values.length; at += 1) sum += values[at]!;
  return sum / values.length;
};

/**
 * Standard error of the mean of a series whose neighbours are alike: overlapping batch means (Meketon and Schmeiser 1984, "Overlapping
 * batch means: something for nothing?") with batches of √n, as the mean's variance under a moving-block bootstrap, without its luck.
 * NaN below two values.
 */
export const batchedError = (values: ArrayLike<number>): number => {
  const count = values.length;
  const batch = Math.max(1, Math.floor(Math.sqrt(count)));
  const mean = meanOf(values);
  let sum = 0;
  let squares = 0;
  for (let at = 0; at < count; at += 1) {
    sum += values[at]! - mean;
    if (at >= batch) sum -= values[at - batch]! - mean;
    if (at >= batch - 1) squares += (sum / batch) ** 2;
  }
  return Math.sqrt((batch * squares) / ((count - batch) * (count - batch + 1)));
};

/**
 * The candidate is used only if its mean error lies below the incumbent's by more than the standard error of the paired differences. Errors
 * (absolute, of the logarithm of the time) are of the same requests, in the order in which these were asked. One standard error: a candidate that is just as good is taken by luck
 * in about one of six comparisons; one that is much worse never.
 */
export const chooseByLaterTime = (
  incumbentErrors: ArrayLike<number>,
  candidateErrors: ArrayLike<number>,
): LaterTimeChoice => {
  assert(incumbentErrors.length === candidateErrors.length, 'errors are paired by request');
  const gains = Float64Array.from(incumbentErrors, (error, at) => error - candidateErrors[at]!);
  assert(gains.every(Number.isFinite), 'both forecasters told every request');
  const gain = meanOf(gains);
  const gainError = batchedError(gains);
  const isBetter = gains.length >= REQUESTS_MIN && gain > gainError;
  return { used: isBetter ? 'candidate' : 'incumbent', gain, gainError };
};

/** A request with its time of asking and the time its service was known. */
export interface Timed {
  readonly askedMs: number;
  readonly endedMs: number;
}

export interface TimeParts<T> {
  readonly first: readonly T[];
  readonly middle: readonly T[];
  readonly later: readonly T[];
}

/**
 * Cuts by time of asking. What learns at a cut has seen nothing after it: of the first two parts, requests that ended only after the part did are
 * left out. `rows` are in order of asking; shares are of their number.
 */
export const splitByTime = <T extends Timed>(
  rows: readonly T[],
  shares: { readonly first: number; readonly middle: number },
): TimeParts<T> => {
  const middleAt = Math.floor(rows.length * shares.first);
  const laterAt = Math.floor(rows.length * (shares.first + shares.middle));
  const untilMs = (at: number): number => rows[at]?.askedMs ?? Infinity;
  const known = (from: number, to: number): readonly T[] =>
    rows.slice(from, to).filter(({ endedMs }) => endedMs < untilMs(to));
  return { first: known(0, middleAt), middle: known(middleAt, laterAt), later: rows.slice(laterAt) };
};
