/**
 * Data blocks: the records of one admission month as a data set of their own (Lecuyer et al. 2019; PrivateKube). A query is charged on every
 * block it reads, a patient stands in one block only, and so each patient's loss is at most what that block was charged. New months bring
 * new budget honestly, because they bring new patients; a retired block is never read again.
 */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';

/** A month of UTC, such as `2026-03`. */
export const Block = z
  .string()
  .regex(/^[1-9]\d{3}-(0[1-9]|1[0-2])$/, 'a data block is a month such as 2026-03')
  .brand<'Block'>();
export type Block = z.infer<typeof Block>;

/** More than two hundred years of months. */
export const BLOCKS_MAX = 2_500;

/** Name of a block's sum in reports and refusals. */
export const blockAccount = (block: string): string => `block/${block}`;

/** @throws QflError `invalid_request` when the date is not a FHIR date with at least a month */
export const blockOfDate = (date: string): Block => {
  const parsed = Block.safeParse(date.slice(0, 7));
  const whole = /^\d{4}-\d{2}($|-\d{2}($|T))/.test(date);
  if (whole && parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: 'an admission without a month belongs to no data block',
    next: 'Give the admission a date such as 2026-03-14.',
  });
};

/**
 * The block of a patient: the first ever assigned stays, whatever admissions become known later, because queries over it were charged
 * there already.
 */
export const assignBlock = (
  assigned: string | undefined,
  admissions: readonly string[],
): Block | undefined => {
  if (assigned !== undefined) return Block.parse(assigned);
  return admissions.map(blockOfDate).toSorted()[0];
};

/** A query's blocks: at least one, none twice, in order. @throws QflError `invalid_request` */
export const checkBlocks = (blocks: readonly string[]): readonly Block[] => {
  const parsed = z.array(Block).min(1).max(BLOCKS_MAX).safeParse(blocks);
  if (parsed.success && new Set(parsed.data).size === parsed.data.length) return parsed.data.toSorted();
  throw new QflError('invalid_request', {
    detail: 'a query names each data block that it reads once',
    next: 'Name the admission months that the cohort spans, such as 2026-03.',
  });
};
