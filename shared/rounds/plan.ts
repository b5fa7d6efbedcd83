/**
 * What a round is, before anything of it happens: who takes part, what is summed, how it is noised, what it costs. Its hash is in every key of the
 * round, so sites that were shown different plans make masks that do not cancel (design: sealed-rounds, section 4).
 */
import { z } from 'zod';
import { fromUtf8, toHex, utf8 } from '../bytes.ts';
import { hashOf } from '../crypto/hash.ts';
import { QflError } from '../errors.ts';
import { DepartmentId, EpochId, Pseudonym, RoundId, SiteId } from '../ids.ts';
import { MechanismText } from '../privacy/mechanism.ts';
import { Hash, ROUND_SITES_MAX } from './fields.ts';
import { ROBUST_RULES } from './robust.ts';
import { thresholdOf } from './tolerance.ts';

/** The longest vector: 1.6 GB. */
export const WORDS_MAX = 400_000_000;
const COHORT_MIN = 2;
const MECHANISMS_MAX = 64;

/** Privacy of a round, as every site charges it. `patient`: what one patient can change is bounded; `site`: only what a whole site can. */
export const RoundPrivacy = z.strictObject({
  unit: z.enum(['patient', 'site']),
  /** Of the vector's parts, each noised for its own bound: all of them are charged. */
  mechanisms: z.array(MechanismText).min(1).max(MECHANISMS_MAX),
});
export type RoundPrivacy = z.infer<typeof RoundPrivacy>;

/** What is computed at each site: a name that the agent knows, and what it is told. */
export const RoundWork = z.strictObject({
  kind: z.string().regex(/^[a-z][a-z0-9_.]{0,39}$/),
  settings: z.record(z.string().max(64), z.unknown()),
});
export type RoundWork = z.infer<typeof RoundWork>;

export const RoundPlan = z.strictObject({
  version: z.literal(1),
  federation: z.string().max(64),
  round: RoundId,
  epoch: EpochId,
  /** Hash of the epoch's offers: which keys, of which sites. */
  transcript: Hash,
  /** Position in the epoch's ratchet; each is used once. */
  number: z.int().positive(),
  /** Ascending. */
  sites: z.array(SiteId).min(COHORT_MIN).max(ROUND_SITES_MAX),
  threshold: z.int().positive(),
  minCohort: z.int().min(COHORT_MIN),
  /** Not masked: the coordinator sees each vector, and each site's noise is made for that. */
  masked: z.boolean(),
  /** What is made of the vectors. */
  rule: z.enum(['sum', ...ROBUST_RULES]),
  /** Length of the vector that is summed. */
  words: z.int().positive().max(WORDS_MAX),
  /** Of the bytes that the work begins from; null where it needs none. */
  modelHash: Hash.nullable(),
  work: RoundWork,
  privacy: RoundPrivacy,
  /** Whose budgets it counts on at each site. */
  asker: Pseudonym,
  department: DepartmentId,
  /** By the coordinator's clock. */
  madeMs: z.int().nonnegative(),
  /** A step ends when nothing came for so long. */
  silenceMs: z.int().positive(),
});
export type RoundPlan = z.infer<typeof RoundPlan>;

/** A plan as it travels: its bytes are what is hashed and signed. */
export interface PlanBytes {
  readonly plan: RoundPlan;
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
}

export const planHashOf = (bytes: Uint8Array): Uint8Array => hashOf('qfl round plan', bytes);

export const packPlan = (plan: RoundPlan): PlanBytes => {
  const bytes = utf8(JSON.stringify(plan));
  return { plan, bytes, hash: planHashOf(bytes) };
};

/** Why a masked round has no robust rule. */
export const MASKED_RULE =
  'a masked round shows the sum alone, and a robust rule looks at single vectors: it needs a round that is declared unmasked';

const refuse = (detail: string): QflError =>
  new QflError('protocol', { detail: `a round's plan: ${detail}` });

/** What of a plan must hold whoever made it. @throws QflError `protocol` */
export const parsePlan = (bytes: Uint8Array): PlanBytes => {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes));
  } catch {
    throw refuse('no JSON');
  }
  const parsed = RoundPlan.safeParse(value);
  if (!parsed.success) throw refuse(z.prettifyError(parsed.error));
  const plan = parsed.data;
  const { sites, threshold, minCohort } = plan;
  if (sites.some((site, at) => at > 0 && site <= sites[at - 1]!))
    throw refuse('sites are not in order, each once');
  if (threshold !== thresholdOf(sites.length)) throw refuse('another threshold than two thirds of the sites');
  if (plan.masked && plan.rule !== 'sum') throw refuse(MASKED_RULE);
  if (minCohort > sites.length) throw refuse('more sites must stay than there are');
  return { plan, bytes, hash: planHashOf(bytes) };
};

export const planHex = ({ hash }: PlanBytes): string => toHex(hash);
export const indexOf = ({ sites }: RoundPlan, site: SiteId): number => sites.indexOf(site);
/** No sum of fewer sites is opened, and no quorum is smaller; without masks nobody has to open anything. */
export const survivorsMin = ({
  threshold,
  minCohort,
  masked,
}: Pick<RoundPlan, 'threshold' | 'minCohort' | 'masked'>): number =>
  masked ? Math.max(threshold, minCohort) : minCohort;
