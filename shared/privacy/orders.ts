/** Renyi orders as whole tenths, so that they are exact in ledgers and costs. */
import { type Rational, rational } from './rational.ts';

const range = (from: number, to: number, step: number): number[] =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, at) => from + at * step);

/** 1.1 … 10.9 by 0.1, 11 … 63, 128, 256, 512, 1024: dp_accounting's default list, for comparison with it. */
export const ORDERS_TENTHS: readonly number[] = [
  ...range(11, 109, 1),
  ...range(110, 630, 10),
  1_280,
  2_560,
  5_120,
  10_240,
];

export const orderNumber = (tenths: number): number => tenths / 10;
export const orderRational = (tenths: number): Rational => rational(BigInt(tenths), 10n);
