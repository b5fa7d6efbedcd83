/**
 * A question over records, from one of this site's users: refused when it is about one patient, parsed over the public list, asked at
 * every site with records as a statistic, and answered in words made from the noisy counts alone (privacy.md §5).
 */
import type { AuditLog } from '../../../shared/audit/audit-log.ts';
import type { Clock } from '../../../shared/clock.ts';
import { DepartmentId, type Pseudonym, type QueryId, type SiteId } from '../../../shared/ids.ts';
import type { AskAnswered, AskMethod, AskPlanned } from '../../../shared/wire/ask.ts';
import type { BlockRange } from '../../../shared/wire/stats.ts';
import { createKnownWords } from '../../concepts/known-words.ts';
import type { ConceptList } from '../../concepts/list.ts';
import { createTermFinder } from '../../concepts/match.ts';
import { onePatientRefusal, onePatientSign } from '../../concepts/one-patient.ts';
import { parseQuestion } from '../../concepts/parse.ts';
import { blocksBetween } from '../../budget/blocks.ts';
import type { Ledger } from '../../budget/ledger.ts';
import { showReading } from '../contribute.ts';
import type { Asker } from '../sealing.ts';
import type { Statistics } from '../statistics.ts';
import { composeAnswer, explanationOf, privacyOf, visibilityShown } from './compose.ts';
import { AskedQuestion, askedOfText, chooseQuestion, K_DEFAULT, methodOf } from './question.ts';
import { releaseOf } from './release.ts';
import type { Rewrite } from './rewrite.ts';

export interface AskRecordsQuestion {
  readonly question: string;
  readonly method: AskMethod;
  readonly microEpsilon: number;
  readonly k: number | undefined;
  readonly confidence: number;
  readonly sites: readonly SiteId[] | undefined;
  readonly blocks?: BlockRange | undefined;
  readonly rewrite: boolean | undefined;
  readonly asker: Asker;
}

export interface AskRecordsOptions {
  readonly self: SiteId;
  readonly statistics: Statistics;
  readonly ledger: Pick<Ledger, 'quote'>;
  readonly list: ConceptList;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** Of these sites, those that can ask a model of their own about records. */
  withModels(sites: readonly SiteId[]): Promise<readonly SiteId[]>;
  readonly rewrite: Rewrite;
}

export interface AskRecords {
  /**
   * @throws QflError `invalid_request` for a question about one patient or one that is not understood; and as `Statistics.ask`
   */
  ask(question: AskRecordsQuestion): Promise<AskAnswered>;
  /** What would be asked and charged; spends nothing. @throws QflError as `ask` before its charge */
  plan(question: AskRecordsQuestion): Promise<AskPlanned>;
  /** The answer to an earlier question of this asker, by the template. @throws QflError `not_found`, `not_ready` */
  result(queryId: QueryId, asker: Pseudonym, confidence: number): Promise<AskAnswered>;
}

const DAY_LENGTH = 'YYYY-MM-DD'.length;

export const createAskRecords = (options: AskRecordsOptions): AskRecords => {
  const { self, statistics, ledger, list, audit, clock, rewrite } = options;
  const find = createTermFinder(list);
  const known = createKnownWords(list);

  /** Before anything else is done with the words: they are not parsed, not logged, not sent. */
  const refuseOnePatient = async ({ question, asker }: AskRecordsQuestion): Promise<void> => {
    const sign = onePatientSign(question, known);
    if (sign === undefined) return;
    await audit.record({
      action: 'access.refused',
      outcome: 'refused',
      actor: asker.pseudonym,
      role: asker.role,
      objects: [{ kind: 'reason', id: 'one_patient' }],
    });
    throw onePatientRefusal(sign);
  };

  const present = async (sites: readonly SiteId[] | undefined): Promise<readonly SiteId[]> => {
    const { here, others } = await statistics.reach(sites);
    return here ? [self, ...others] : others;
  };

  /** The question as it will be asked, and the sites that can answer it. */
  const prepare = async (
    asking: AskRecordsQuestion,
  ): Promise<{ asked: AskedQuestion; sites: readonly SiteId[] }> => {
    await refuseOnePatient(asking);
    const { question, method, k, microEpsilon: micro } = asking;
    const asOf = new Date(clock.nowMs()).toISOString().slice(0, DAY_LENGTH);
    const parsed = parseQuestion(question, { find, asOf, k: k ?? K_DEFAULT });
    const sites = await present(asking.sites);
    const withModels = parsed.kind === 'terms' && method !== 'shards' ? [] : await options.withModels(sites);
    const chosen = chooseQuestion(parsed, { question, method, k, micro, list }, withModels.length > 0);
    const { blocks } = asking;
    const asked =
      blocks === undefined ? chosen : AskedQuestion.parse({ ...chosen, query: { ...chosen.query, blocks } });
    return { asked, sites: methodOf(asked) === 'shards' ? withModels : sites };
  };

  return {
    async plan(asking) {
      const { asked, sites } = await prepare(asking);
      const release = releaseOf(list, asked.query);
      const privacy = privacyOf(asked, release);
      const asker = {
        sender: self,
        asker: asking.asker.pseudonym,
        department: DepartmentId.parse(asking.asker.department),
      };
      const { blocks } = asking;
      const months = blocks === undefined ? [] : blocksBetween(blocks.from, blocks.to);
      const quote = ledger.quote(asker, [release.mechanism], months);
      const visibility = visibilityShown(
        asked,
        Array.from({ length: Math.max(1, sites.length) }, () => release.mechanism),
        release.cells.length,
      );
      return {
        kind: 'plan',
        method: methodOf(asked),
        form: asked.form,
        understood: asked.understood,
        list: asked.query.list,
        privacy,
        visibility,
        sites: [...sites],
        fits: quote.fits,
        ledgers: quote.readings.map(showReading),
        explanation: explanationOf(asked, privacy, visibility, asking.confidence),
      };
    },
    async ask(asking) {
      const { asked, sites } = await prepare(asking);
      const named = methodOf(asked) === 'shards' ? sites : asking.sites;
      const result = await statistics.ask({
        query: asked.query,
        asked: JSON.stringify(asked),
        confidence: asking.confidence,
        asker: asking.asker,
        sites: named,
      });
      const answer = composeAnswer(asked, result, asking.confidence, list);
      return (asking.rewrite ?? answer.method === 'shards') ? rewrite(asking.question, answer) : answer;
    },
    async result(queryId, asker, confidence) {
      const result = await statistics.result(queryId, asker);
      return composeAnswer(askedOfText(result.asked), result, confidence, list);
    },
  };
};
