/** Choice A at a site: the planner of `tally`. The site's own model reads its own records, shard by shard; only the noisy count of what the shards named leaves. */
import { QflError } from '../../../shared/errors.ts';
import type { ConceptList } from '../../concepts/list.ts';
import { requireSameList } from '../../concepts/list.ts';
import { createKnownWords } from '../../concepts/known-words.ts';
import { onePatientRefusal, onePatientSign } from '../../concepts/one-patient.ts';
import { requireBlocks } from '../../records/blocks.ts';
import type { Records } from '../../records/store.ts';
import type { Planner } from '../measurement.ts';
import { type ShardCallRules, type ShardModel, tallyShards } from './ask-shards.ts';
import { SHARDS } from './question.ts';
import { tallyK, tallyRelease, tallyTerms } from './release.ts';
import { type ShardRules, shardTexts } from './shards.ts';

/** The model that may read records, with the calls it takes at once. */
export interface RecordsModel {
  readonly complete: ShardModel;
  readonly slots: number;
}

export interface TallyPlannerOptions {
  readonly records: Records;
  readonly list: ConceptList;
  /** 32 bytes that never leave the site and never change: they fix who is in which shard. */
  readonly secret: Uint8Array;
  /** Undefined when no model of this site may read records. */
  readonly model: () => Promise<RecordsModel | undefined>;
  readonly rules?: ShardRules & ShardCallRules;
  /** Fixed time of one call; by default what lets all shards be asked within `TALLY_MAX_MS`. */
  readonly timeoutMs?: number;
}

/** All shards together at most, whatever the models do. */
export const TALLY_MAX_MS = 40_000;
const LANES_MAX = 8;

const refuseOther = (
  query: { readonly question: string; readonly shards: number },
  known: ReturnType<typeof createKnownWords>,
): void => {
  if (query.shards !== SHARDS)
    throw new QflError('conflict', {
      detail: `this site divides its patients into ${SHARDS} shards, the question asks for ${query.shards}`,
      next: 'Run the same release of this program at both sites.',
    });
  const sign = onePatientSign(query.question, known);
  if (sign !== undefined) throw onePatientRefusal(sign);
};

export const createTallyPlanner = (options: TallyPlannerOptions): Planner<'tally'> => {
  const { records, list, secret, rules = {} } = options;
  const known = createKnownWords(list);
  return async (query, { blocks }) => {
    requireSameList(list, query.list);
    refuseOther(query, known);
    await requireBlocks(records, blocks);
    const model = await options.model();
    if (model === undefined)
      throw new QflError('refused_by_site', {
        detail: 'no language model inside this site may read its records',
        next: 'Ask with the method "concepts", which needs none; or connect a model that runs in the hospital\'s own network.',
      });
    const release = tallyRelease(list, query);
    const lanes = Math.max(1, Math.min(LANES_MAX, model.slots));
    const timing = {
      lanes,
      timeoutMs: options.timeoutMs ?? Math.floor(TALLY_MAX_MS / Math.ceil(SHARDS / lanes)),
    };
    const { question } = query;
    const task = { question, terms: tallyTerms(list, query), k: tallyK(query, release.cells.length) };
    return {
      releases: [release],
      blocks,
      evaluate: async (signal) => {
        const texts = await shardTexts(
          records,
          { question, shards: SHARDS, secret, list, blocks },
          rules,
          signal,
        );
        return [await tallyShards(model.complete, texts, release.cells, task, timing, { ...rules, signal })];
      },
    };
  };
};
