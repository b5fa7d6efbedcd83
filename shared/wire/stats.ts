/**
 * Federated statistics: the question that travels sealed, and what each site answers. One file per kind of question in `stats/`; a new
 * kind is added to `KINDS` here, given a planner at every site (`agent/answer/contribute.ts`), and is then asked, charged, noised
 * and collected as every other.
 */
import { z } from 'zod';
import { ConceptsQuery, TallyQuery } from './stats/ask.ts';
import { MeasuresQuery } from './stats/measures.ts';

const KINDS = [MeasuresQuery, ConceptsQuery, TallyQuery] as const;

export const StatsQuery = z.discriminatedUnion('kind', KINDS);
export type StatsQuery = z.infer<typeof StatsQuery>;

export type StatsKind = StatsQuery['kind'];
export type StatsQueryOf<Kind extends StatsKind> = Extract<StatsQuery, { readonly kind: Kind }>;

export * from './stats/common.ts';
export * from './stats/measures.ts';
export * from './stats/price.ts';
export * from './stats/result.ts';
