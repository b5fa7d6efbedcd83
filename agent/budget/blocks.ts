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

/** A query's blocks: at least one, none twice, in order. @throws QflError `invalid_request` */
export const checkBlocks = (blocks: readonly string[]): readonly Block[] => {
  const parsed = z.array(Block).min(1).max(BLOCKS_MAX).safeParse(blocks);
  if (parsed.success && new Set(parsed.data).size === parsed.data.length) return parsed.data.toSorted();
  throw new QflError('invalid_request', {
    detail: 'a query names each data block that it reads once',
    next: 'Name the admission months that the cohort spans, such as 2026-03.',
  });
};

/** The month of a moment, in UTC. */
export const blockAt = (nowMs: number): Block => Block.parse(new Date(nowMs).toISOString().slice(0, 7));

const monthNumber = (block: string): number => Number(block.slice(0, 4)) * 12 + Number(block.slice(5)) - 1;

/** Every month from one to another, both included; none when the first is the later one. @throws QflError `invalid_request` for too many */
export const blocksBetween = (from: string, to: string): readonly Block[] => {
  const first = monthNumber(from);
  const count = Math.max(0, monthNumber(to) - first + 1);
  if (count > BLOCKS_MAX)
    throw new QflError('invalid_request', {
      detail: `${count} admission months are named, and at most ${BLOCKS_MAX} are charged at once`,
      next: 'Name a shorter range of months.',
    });
  return Array.from({ length: count }, (_, at) => {
    const month = first + at;
    return Block.parse(`${Math.floor(month / 12)}-${String((month % 12) + 1).padStart(2, '0')}`);
  });
};

/** First and last of a query's blocks. */
export const blockRange = (blocks: readonly Block[] | undefined): { from: Block; to: Block } | null => {
  const [from, to] = [blocks?.[0], blocks?.at(-1)];
  return from === undefined || to === undefined ? null : { from, to };
};
