/** What questions and answers of every kind of statistic share. */
import { z } from 'zod';
import { MechanismText } from '../../privacy/mechanism.ts';

/** An integer of any size as decimal text: JSON has none. */
export const IntegerText = z.string().regex(/^-?\d{1,40}$/);
/** A decimal as text, so that no digit is lost. */
export const DecimalText = z
  .string()
  .regex(/^-?\d{1,20}(\.\d{1,12})?$/, 'a plain decimal such as 12 or -0.5');

/** Cells of one release and of one question at most. */
export const CELLS_MAX = 10_000;
/** Of a cell's name. */
export const CELL_LENGTH_MAX = 1_000;

export const BlockMonth = z
  .string()
  .regex(/^[1-9]\d{3}-(0[1-9]|1[0-2])$/, 'a data block is a month such as 2026-03');
export const BlockRange = z
  .strictObject({ from: BlockMonth, to: BlockMonth })
  .refine(({ from, to }) => from <= to, 'the first month is not after the last');
export type BlockRange = z.infer<typeof BlockRange>;

/** What every kind of question carries: what each asked site charges, in millionths of epsilon. */
export const questionFields = {
  microEpsilon: z.int().min(1),
  /** Admission months whose patients are asked about, both ends included; all months where it is left out. Of sites that keep data blocks. */
  blocks: BlockRange.exactOptional(),
} as const;

/** One ledger as the asker meets it; public parameters only. */
export const LedgerShown = z.strictObject({
  ledger: z.enum(['site_lifetime', 'asking_site_day', 'department_day', 'user_day']),
  budgetEpsilon: z.number(),
  spentEpsilon: z.number(),
  remainingEpsilon: z.number(),
  /** When the window renews; null for a ledger that never does. */
  renewsAtMs: z.number().nullable(),
  /** The delta that is reserved for releases above a threshold, and how much of it is spent; where any is. */
  deltaBudget: z.number().exactOptional(),
  deltaSpent: z.number().exactOptional(),
});
export type LedgerShown = z.infer<typeof LedgerShown>;

/**
 * One vector of integers after its noise; `values[i]` belongs to `cells[i]`. A thresholded histogram names its cells itself, each as a JSON
 * list of its bins, and may have none.
 */
export const Release = z
  .strictObject({
    cells: z.array(z.string().max(CELL_LENGTH_MAX)).max(CELLS_MAX),
    values: z.array(IntegerText).max(CELLS_MAX),
    mechanism: MechanismText,
  })
  .refine(({ cells, values }) => cells.length === values.length, 'one value per cell');
export type Release = z.infer<typeof Release>;

/** A site's sealed answer, whatever was asked. */
export const StatsAnswer = z.strictObject({
  releases: z.array(Release).min(1).max(1_000),
  microEpsilon: z.int(),
  /** Charged at this site to its lifetime ledger, integer of 2^-40 nat. */
  chargedUnits: IntegerText,
  /** The data blocks that were read, where the site keeps them; retired ones in between were not. */
  blocks: BlockRange.exactOptional(),
  ledgers: z.array(LedgerShown),
});
export type StatsAnswer = z.infer<typeof StatsAnswer>;
