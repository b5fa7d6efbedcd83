/** What a question would cost, without asking it. */
import { z } from 'zod';
import { SiteId } from '../../ids.ts';
import { MechanismText } from '../../privacy/mechanism.ts';
import { BlockRange, DecimalText, LedgerShown } from './common.ts';
import { Comparisons } from '../keys.ts';

export const StatsPrice = z.strictObject({
  dryRun: z.literal(true),
  /** Canonical text of what would be asked. */
  asked: z.string(),
  /** In the order of the question: each figure's part of epsilon, and what would be run for it at this site. */
  measures: z.array(
    z.strictObject({
      measure: z.string(),
      epsilon: z.number(),
      releases: z.array(
        z.strictObject({
          cells: z.int(),
          mechanism: MechanismText,
          /** Half the interval's width for one cell over all sites asked, if each runs the same; null for a selection. */
          halfWidth: DecimalText.nullable(),
          /** Of keys that only the records know: the odds of telling one that a single patient has; `cells` is then the most that are told. */
          delta: z.number().exactOptional(),
        }),
      ),
    }),
  ),
  confidence: z.number(),
  epsilonPerSite: z.number(),
  /** Sites that would be asked. */
  sites: z.array(SiteId),
  comparisons: Comparisons.exactOptional(),
  /** Data blocks that this site would charge; none where it keeps none. */
  blocks: BlockRange.nullable(),
  /** Named and not reachable now. */
  absent: z.array(SiteId),
  /**
   * This site's own ledgers, exactly. The other sites decide by their own policies and are not asked: each charges a question of this epsilon
   * to its ledgers of the same four kinds.
   */
  ledgers: z.array(
    z.strictObject({
      ...LedgerShown.shape,
      costEpsilon: z.number(),
      afterEpsilon: z.number(),
      /** Of the reserved delta; where the ledger reserves any. */
      deltaCost: z.number().exactOptional(),
      deltaAfter: z.number().exactOptional(),
    }),
  ),
  /** This site would answer. */
  fits: z.boolean(),
});
export type StatsPrice = z.infer<typeof StatsPrice>;
