/**
 * Epsilon as people write it and as envelopes carry it: an integer of 1e-6, never a float. It chooses the noise
 * (`mechanism.ts`); what is charged follows from the mechanism.
 */
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { type Rational, rational, rationalOfDecimal } from './rational.ts';

export const MICRO_PER_EPSILON = 1_000_000;

/** 1 is a millionth of epsilon. The largest, a million epsilon, is far above any budget and below 2^53. */
export const MicroEpsilon = z.int().min(1).max(1_000_000_000_000).brand<'MicroEpsilon'>();
export type MicroEpsilon = z.infer<typeof MicroEpsilon>;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', {
    detail,
    next: 'Give epsilon as a decimal with at most 6 digits after the point, for example 0.1.',
  });
};

/** @throws QflError `invalid_request` unless the integer is within the type's range. */
export const microEpsilon = (value: number): MicroEpsilon => {
  const parsed = MicroEpsilon.safeParse(value);
  return parsed.success ? parsed.data : refuse('epsilon must be above 0 and at most 1000000');
};

/** `'0.1'` → 100 000. @throws QflError `invalid_request` when it is not an exact multiple of 1e-6 in range. */
export const parseEpsilon = (text: string): MicroEpsilon => {
  const { numerator, denominator } = rationalOfDecimal(text);
  const scaled = numerator * BigInt(MICRO_PER_EPSILON);
  if (scaled % denominator !== 0n) return refuse('epsilon has more than 6 digits after the point');
  return microEpsilon(Number(scaled / denominator));
};

export const epsilonOf = (micro: MicroEpsilon): Rational =>
  rational(BigInt(micro), BigInt(MICRO_PER_EPSILON));
