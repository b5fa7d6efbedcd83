/**
 * The two questions behind `ask`. Both name terms of a public list by version and hash, and both are answered with one noisy vector:
 * `concepts` counts patients per term, `tally` counts shards of patients whose model named a term (privacy.md §5, choices C and A).
 */
import { z } from 'zod';
import { questionFields } from './common.ts';

export const CONCEPT_GROUPS = ['conditions', 'medications', 'procedures', 'observations'] as const;
export const ConceptGroup = z.enum(CONCEPT_GROUPS);
export type ConceptGroup = z.infer<typeof ConceptGroup>;

export const ConceptId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'a term is named by lower-case letters, digits and "-"')
  .brand<'ConceptId'>();
export type ConceptId = z.infer<typeof ConceptId>;

export const ConceptListName = z.strictObject({
  version: z.string().min(1).max(40),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});
export type ConceptListName = z.infer<typeof ConceptListName>;

const Day = z.string().regex(/^\d{4}-\d{2}-\d{2}$/);
const TERMS_MAX = 64;
const Terms = z.array(ConceptId).min(1).max(TERMS_MAX);

/** Whom the question is about: every condition is on the patient's own records. */
export const ConceptCohort = z.strictObject({
  /** Each list: at least one of its terms. */
  all: z.array(Terms).max(8),
  /** None of these terms. */
  none: z.array(ConceptId).max(TERMS_MAX),
  sex: z.enum(['female', 'male']).nullable(),
  /** Born in [bornFrom, bornBefore); ages are turned into days of birth by the asker, so every site counts alike. */
  bornFrom: Day.nullable(),
  bornBefore: Day.nullable(),
});
export type ConceptCohort = z.infer<typeof ConceptCohort>;

/** Patients count for at most this many terms of an answer. */
export const K_MAX = 16;
const entriesMax = z.int().min(1).max(K_MAX);

/** What is counted of a patient of the cohort. */
export const ConceptCells = z.discriminatedUnion('count', [
  /** One cell per term of a group but those of the cohort: the terms the patient has, at most k of them. */
  z.strictObject({ count: z.literal('terms'), group: ConceptGroup, k: entriesMax }),
  /** Two cells, "with" and "without": has the patient at least one term of each list? One cell per patient. */
  z.strictObject({ count: z.literal('share'), of: z.array(Terms).min(1).max(8) }),
]);
export type ConceptCells = z.infer<typeof ConceptCells>;

export const ConceptsQuery = z.strictObject({
  kind: z.literal('concepts'),
  list: ConceptListName,
  cohort: ConceptCohort,
  cells: ConceptCells,
  ...questionFields,
});
export type ConceptsQuery = z.infer<typeof ConceptsQuery>;

export const QUESTION_LENGTH_MAX = 500;
export const SHARDS_MAX = 1_024;

export const TallyQuery = z.strictObject({
  kind: z.literal('tally'),
  list: ConceptListName,
  question: z.string().min(1).max(QUESTION_LENGTH_MAX),
  /** What a shard may answer: terms of a group, at most k, or yes or no. */
  answers: z.discriminatedUnion('form', [
    z.strictObject({ form: z.literal('terms'), group: ConceptGroup, k: entriesMax }),
    z.strictObject({ form: z.literal('yes_no') }),
  ]),
  /** The parts into which every site's patients are divided; one number for the whole federation. */
  shards: z.int().min(2).max(SHARDS_MAX),
  ...questionFields,
});
export type TallyQuery = z.infer<typeof TallyQuery>;
