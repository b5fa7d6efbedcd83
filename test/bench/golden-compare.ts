/** What every kind of reference case is compared with. */
import { z } from 'zod';
import type { GoldenCase } from './golden.ts';

/** The case holds something this program does not compute yet. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** Error in multiples of the tolerance: at most 1 passes. */
export type Checker = (one: GoldenCase) => number;

const Tolerance = z.object({ rel: z.number().default(0), abs: z.number().default(0) });

export const compare = (one: GoldenCase, got: number, expected: number): number => {
  const { rel, abs } = Tolerance.parse(one.tolerance);
  const difference = got === expected ? 0 : Math.abs(got - expected);
  const allowed = abs + rel * Math.abs(expected);
  return difference === 0 ? 0 : Number.isNaN(difference) ? Infinity : difference / allowed;
};

/** A failure that no tolerance covers. */
export const WRONG = Infinity;

/** 0 between the two, otherwise how far outside. */
export const within = (one: GoldenCase, got: number, low: number, high: number): number => {
  if (got >= low && got <= high) return 0;
  return compare(one, got, got < low ? low : high);
};

/** Numbers of the reference files; infinity is written as text. */
export const Real = z.union([z.number(), z.literal('inf').transform(() => Infinity)]);

export const worst = (...errors: readonly number[]): number => Math.max(...errors);

export const compareAll = (one: GoldenCase, got: readonly number[], expected: readonly number[]): number =>
  got.length === expected.length
    ? worst(...got.map((value, at) => compare(one, value, expected[at]!)))
    : Infinity;
