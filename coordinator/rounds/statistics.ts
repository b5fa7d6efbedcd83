/** Statistics of agents' users as sealed rounds: begun, waited for, and the sum handed back. */
import { MINUTE_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { RoundId, SiteId } from '../../shared/ids.ts';
import { minCohortOf } from '../../shared/rounds/tolerance.ts';
import { bytesOf, toWords } from '../../shared/rounds/words.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { RoundStatsReply, RoundStatsRequest } from '../../shared/wire/round.ts';
import type { Rounds } from './rounds.ts';

const SILENCE_MS = 20_000;
/** An answer that was lost may be fetched again for so long. */
const KEPT_MS = 10 * MINUTE_MS;

export interface RoundStatisticsOptions {
  readonly rounds: Rounds;
  /** @throws QflError `forbidden`, `lockdown` */
  readonly check: (asked: { readonly kind: 'stats'; readonly microEpsilon: number }) => void;
}

export const roundStatistics = ({ rounds, check }: RoundStatisticsOptions) => {
  const forgetLater = (id: RoundId): void =>
    void setTimeout(() => void rounds.forget(id).catch(() => undefined), KEPT_MS).unref();
  /** What was kept for an answer when the program ended. */
  const forgetOld = async (): Promise<void> => {
    for (const { id, task, endedMs } of await rounds.list())
      if (task === null && endedMs !== null) forgetLater(id);
  };
  const answer = async ({ header, signal }: Call, site: SiteId): Promise<Reply> => {
    const parsed = RoundStatsRequest.safeParse(header);
    if (!parsed.success) throw new QflError('protocol', { detail: 'a malformed statistic' });
    const { round, microEpsilon, ...request } = parsed.data;
    check({ kind: 'stats', microEpsilon });
    if (!request.sites.includes(site))
      throw new QflError('forbidden', { detail: 'a site asks for sums that it is a part of' });
    const id = await rounds.start(
      {
        ...request,
        id: round,
        model: null,
        masked: true,
        rule: 'sum',
        minCohort: minCohortOf(request.sites.length),
        silenceMs: SILENCE_MS,
        task: null,
      },
      signal,
    );
    const { sum, survivors } = await rounds.sum(id);
    forgetLater(id);
    return {
      header: RoundStatsReply.parse({ survivors }),
      payload: bytesOf(toWords(Int32Array.from(sum))),
    };
  };
  return { answer, forgetOld };
};
