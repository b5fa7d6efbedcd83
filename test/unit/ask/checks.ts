/** Checks of the two sensitivities, over neighbouring hospitals; the mutants run the same checks with a fault in them. */
import { createHash } from 'node:crypto';
import {
  promptOf,
  type ShardCallRules,
  type ShardModel,
  tallyShards,
} from '../../../agent/answer/ask-records/ask-shards.ts';
import { type ShardRules, shardTexts } from '../../../agent/answer/ask-records/shards.ts';
import { countConcepts, type HistogramRules, planConcepts } from '../../../agent/concepts/histogram.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import type { Records } from '../../../agent/records/store.ts';
import type { ConceptCells, ConceptCohort } from '../../../shared/wire/stats/ask.ts';

export const SECRET = new Uint8Array(32).fill(3);
export const SHARDS = 4;
export const CELLS = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'];
/** Each is a function of one call: time-outs are not part of these checks. */
const TIMING = { timeoutMs: 10_000, lanes: 2 };

export const squaredLength = (left: readonly bigint[], right: readonly bigint[]): bigint =>
  left.reduce((sum, value, at) => sum + (value - right[at]!) ** 2n, 0n);

/** How far the concepts vector moves between two hospitals, squared, and the k it was planned for. */
export const conceptsMove = async (
  [left, right]: readonly [Records, Records],
  cohort: ConceptCohort,
  cells: ConceptCells,
  rules: HistogramRules = {},
) => {
  const plan = planConcepts(CONCEPTS, cohort, cells);
  const vectors = [
    await countConcepts(left, plan, CONCEPTS.name.hash, rules),
    await countConcepts(right, plan, CONCEPTS.name.hash, rules),
  ] as const;
  return { vectors, moved: squaredLength(...vectors), k: BigInt(plan.k) };
};

/** Answers anything at all, decided by the prompt alone: lists too long, repeats, unknown names, prose, nothing, an error. */
export const adversarialModel: ShardModel = async (prompt) => {
  const digest = createHash('sha256').update(JSON.stringify(prompt)).digest();
  const names = [...digest.subarray(1, 12)].map((byte) => [...CELLS, 'unknown', 'ALPHA'][byte % 8]);
  await Promise.resolve();
  switch (digest[0]! % 6) {
    case 0:
      return `Of course! ${JSON.stringify(names)}`;
    case 1:
      return '';
    case 2:
      throw new Error('out of order');
    case 3:
      return `\`\`\`json\n${JSON.stringify(names)}\n\`\`\``;
    default:
      return JSON.stringify(names);
  }
};

export const textsOf = (records: Records, question: string, rules: ShardRules = {}) =>
  shardTexts(records, { question, shards: SHARDS, secret: SECRET, list: CONCEPTS }, rules);

export const tallyOf = async (
  records: Records,
  question: string,
  k: number,
  rules: ShardRules & ShardCallRules = {},
  model: ShardModel = adversarialModel,
): Promise<readonly bigint[]> =>
  tallyShards(
    model,
    await textsOf(records, question, rules),
    CELLS,
    { question, terms: [], k },
    TIMING,
    rules,
  );

export const changedShards = async (
  [left, right]: readonly [Records, Records],
  question: string,
  rules: ShardRules = {},
): Promise<number> => {
  const [before, after] = [await textsOf(left, question, rules), await textsOf(right, question, rules)];
  return before.filter((text, at) => text !== after[at]).length;
};

/** The texts in which one question differs only by its shard. */
export const sampleTask = { question: 'what?', terms: [], k: 2 };
export const promptTextOf = (text: string): string => promptOf(sampleTask, text).user;
