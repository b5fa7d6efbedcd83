/** What `POST /v1/ask` takes and gives. */
import { z } from 'zod';
import { QueryId, SiteId } from '../ids.ts';
import { BlockRange, IntegerText, LedgerShown } from './stats/common.ts';
import { ConceptListName, K_MAX, QUESTION_LENGTH_MAX } from './stats/ask.ts';
import { Comparisons } from './keys.ts';

/** `auto`: concepts when the question is about listed terms, shards otherwise. */
export const AskMethod = z.enum(['concepts', 'shards', 'auto']);
export type AskMethod = z.infer<typeof AskMethod>;

export const AskBody = z.strictObject({
  question: z.string().trim().min(3).max(QUESTION_LENGTH_MAX),
  method: AskMethod.default('auto'),
  /** Decimal text, so that no digit is lost; the site's default when left out. */
  epsilon: z.union([z.string(), z.number()]).optional(),
  /** Terms a patient (or a shard) counts for at most. */
  k: z.int().min(1).max(K_MAX).optional(),
  confidence: z.number().gt(0.5).lt(1).default(0.95),
  /** Only these sites. */
  sites: z.array(SiteId).min(1).max(64).optional(),
  /** Admission months whose patients are asked about, at sites that keep data blocks; all when left out. */
  blocks: BlockRange.optional(),
  /** Let this site's own model word the answer; by default only where shards were asked. */
  rewrite: z.boolean().optional(),
  /** Say what would be asked and charged, and stop there. */
  dryRun: z.boolean().default(false),
});
export type AskBody = z.infer<typeof AskBody>;

const Method = z.enum(['concepts', 'shards']);

/** What a fact needs to be seen, from the mechanism alone. */
export const AskVisibility = z.strictObject({
  unit: z.enum(['patients', 'shards']),
  /** Noisy counts below this are not shown. */
  cut: IntegerText,
  /** A fact that this many patients (or shards) have is shown in 95 % of answers. */
  reliableFrom: IntegerText,
});
export type AskVisibility = z.infer<typeof AskVisibility>;

export const AskPrivacy = z.strictObject({
  /** Charged at each site that answers, like one pure query of this epsilon. */
  epsilonPerSite: z.number(),
  /** Zero-concentrated loss at each site. */
  rhoPerSite: z.number(),
  sigmaPerSite: z.number(),
  /** Cells that one patient moves by one. */
  k: z.int(),
  cells: z.int(),
});
export type AskPrivacy = z.infer<typeof AskPrivacy>;

/** What was understood; null for a free question. */
const Understood = z.strictObject({ who: z.string(), what: z.string() }).nullable();
const Form = z.enum(['list', 'share', 'usual', 'count', 'yes_no']);

export const AskPlanned = z.strictObject({
  kind: z.literal('plan'),
  method: Method,
  form: Form,
  understood: Understood,
  list: ConceptListName,
  privacy: AskPrivacy,
  visibility: AskVisibility,
  /** Who would be asked. */
  sites: z.array(SiteId),
  comparisons: Comparisons.exactOptional(),
  /** At this site: would the charge fit, and what the ledgers say now. */
  fits: z.boolean(),
  ledgers: z.array(LedgerShown),
  explanation: z.string(),
});
export type AskPlanned = z.infer<typeof AskPlanned>;

export const AskInterval = z.strictObject({ low: IntegerText, high: IntegerText });
export type AskInterval = z.infer<typeof AskInterval>;

/** A noisy count that is above the cut. */
export const AskItem = z.strictObject({
  id: z.string(),
  name: z.string(),
  count: IntegerText,
  interval: AskInterval,
});
export type AskItem = z.infer<typeof AskItem>;

export const AskSite = z.discriminatedUnion('status', [
  z.strictObject({ status: z.literal('answered'), site: SiteId, ledgers: z.array(LedgerShown) }),
  z.strictObject({
    status: z.literal('refused'),
    site: SiteId,
    code: z.string(),
    detail: z.string().nullable(),
  }),
]);
export type AskSite = z.infer<typeof AskSite>;

export const AskAnswered = z.strictObject({
  kind: z.literal('answer'),
  queryId: QueryId,
  method: Method,
  form: Form,
  understood: Understood,
  list: ConceptListName,
  /** The answer in words, every number of it noisy. */
  answer: z.string(),
  /** Worded by this site's model from the noisy numbers; else a public template. */
  rewritten: z.boolean(),
  /** The template's words, whoever worded `answer`. */
  facts: z.string(),
  /** Method, price and what could not be seen, in words. */
  explanation: z.string(),
  items: z.array(AskItem),
  /** Of the patients asked about; in percent; null when there are too few, and for lists. */
  share: z.strictObject({ percent: z.number(), low: z.number(), high: z.number() }).nullable(),
  confidence: z.number(),
  privacy: AskPrivacy,
  visibility: AskVisibility,
  /** True when every site asked has answered. */
  complete: z.boolean(),
  sites: z.array(AskSite),
  comparisons: Comparisons.exactOptional(),
});
export type AskAnswered = z.infer<typeof AskAnswered>;

export const AskResult = z.discriminatedUnion('kind', [AskPlanned, AskAnswered]);
export type AskResult = z.infer<typeof AskResult>;
