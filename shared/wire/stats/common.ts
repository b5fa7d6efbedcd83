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

/** What every kind of question carries: what each asked site charges, in millionths of epsilon. */
export const questionFields = { microEpsilon: z.int().min(1) } as const;

/** One ledger as the asker meets it; public parameters only. */
export const LedgerShown = z.strictObject({
  ledger: z.enum(['site_lifetime', 'asking_site_day', 'department_day', 'user_day']),
  budgetEpsilon: z.number(),
  spentEpsilon: z.number(),
  remainingEpsilon: z.number(),
  /** When the window renews; null for a ledger that never does. */
  renewsAtMs: z.number().nullable(),
});
export type LedgerShown = z.infer<typeof LedgerShown>;

/** One vector of integers after its noise; `values[i]` belongs to `cells[i]`. */
export const Release = z
  .strictObject({
    cells: z.array(z.string().max(1_000)).min(1).max(CELLS_MAX),
    values: z.array(IntegerText).min(1).max(CELLS_MAX),
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
  ledgers: z.array(LedgerShown),
});
export type StatsAnswer = z.infer<typeof StatsAnswer>;
