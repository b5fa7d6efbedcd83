/** What an agent says of its privacy budgets. */
import { z } from 'zod';

/** Loss after many days on each of which a daily budget was used up. */
const OverDays = z.strictObject({
  days: z.int(),
  epsilonAnyMechanism: z.number(),
  /** Null where the rule holds no Gaussian charges. */
  epsilonGaussian: z.number().nullable(),
});

const LedgerExplained = z.strictObject({
  ledger: z.string(),
  rule: z.string(),
  /** Renyi order at which charges are summed; null under rules without one. */
  order: z.number().nullable(),
  delta: z.number(),
  budgetEpsilon: z.number(),
  /** Counts of this epsilon that fit into the whole budget, and into what is left of it now. */
  queriesInAll: z.int(),
  queriesLeft: z.int(),
  /** What adding epsilons up would allow. */
  queriesByAddition: z.int(),
  /** Empty for a ledger that never renews. */
  overDays: z.array(OverDays),
});

export const PrivacyExplanation = z.strictObject({
  site: z.string(),
  department: z.string(),
  /** Of the query explained: a count with discrete Laplace noise at sensitivity 1. */
  epsilon: z.number(),
  ledgers: z.array(LedgerExplained),
});
export type PrivacyExplanation = z.infer<typeof PrivacyExplanation>;
