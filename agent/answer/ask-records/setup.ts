/** The parts of `ask` joined: what a site contributes, and what its own users ask. */
import type { SiteId } from '../../../shared/ids.ts';
import type { Board } from '../../../shared/wire/session.ts';
import { type ConceptList, CONCEPTS } from '../../concepts/list.ts';
import { createTermFinder } from '../../concepts/match.ts';
import { EXTRACTIVE_MODEL } from '../../llm/extractive.ts';
import type { Records } from '../../records/store.ts';
import type { Planners } from '../measurement.ts';
import { type AskRecords, type AskRecordsOptions, createAskRecords } from './ask-records.ts';
import { createConceptsPlanner } from './plan-concepts.ts';
import { createTallyPlanner } from './plan-tally.ts';
import { createRecordsModel, type ListedBackend } from './records-model.ts';
import { createRewrite, type RewriteOptions } from './rewrite.ts';

export interface AskSetup {
  readonly list: ConceptList;
  readonly planners: Pick<Planners, 'concepts' | 'tally'>;
  journey(
    options: Omit<AskRecordsOptions, 'list' | 'rewrite' | 'withModels'> &
      Pick<RewriteOptions, 'models' | 'documents' | 'logger'> & { readonly board: () => Board | undefined },
  ): AskRecords;
}

/** @param secret 32 bytes that never change: they fix which patients are in which shard */
export const setUpAsk = (
  records: Records,
  secret: Uint8Array,
  backends: readonly ListedBackend[],
): AskSetup => {
  const list = CONCEPTS;
  const recordsModel = createRecordsModel(backends);
  /** What other sites say of their models; whether those may read records, each decides when asked. */
  const withModels = async (
    sites: readonly SiteId[],
    self: SiteId,
    board: Board | undefined,
  ): Promise<readonly SiteId[]> => {
    const here = (await recordsModel()) !== undefined;
    const seen = new Map(board?.sites.map(({ site, models }) => [site, models]));
    const hasModel = (site: SiteId): boolean =>
      seen.get(site)?.some((model) => model !== EXTRACTIVE_MODEL) === true;
    return sites.filter((site) => (site === self ? here : hasModel(site)));
  };
  return {
    list,
    planners: {
      concepts: createConceptsPlanner(records, list),
      tally: createTallyPlanner({ records, list, secret, model: recordsModel }),
    },
    journey: ({ models, documents, logger, board, ...options }) =>
      createAskRecords({
        ...options,
        list,
        withModels: (sites) => withModels(sites, options.self, board()),
        rewrite: createRewrite({
          models,
          documents,
          logger,
          find: createTermFinder(list),
          model: async () => (await recordsModel())?.id,
        }),
      }),
  };
};
