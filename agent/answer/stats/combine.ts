/** What the sites said → what the asker gets: figures per site and over all that answered. */
import { isErrorCode, QflError, toQflError } from '../../../shared/errors.ts';
import type { SiteId } from '../../../shared/ids.ts';
import { MICRO_PER_EPSILON } from '../../../shared/privacy/epsilon.ts';
import {
  type MeasureResult,
  type StatsAnswer,
  type StatsQuery,
  type StatsResult,
  type StatsSiteResult,
} from '../../../shared/wire/stats.ts';
import { parseStatsQuery } from '../contribute.ts';
import type { OpenQuestion } from '../outbox.ts';
import { refusedBy, type SiteOutcome, type SiteOutcomes } from './collect.ts';
import { figuresOf } from './figures.ts';

/** Figures of these sites together; kinds other than measures are combined by who asked them, from the sites' releases. */
const figures = (query: StatsQuery, answers: readonly StatsAnswer[], confidence: number): MeasureResult[] =>
  query.kind === 'measures' && answers.length > 0 ? figuresOf(query, answers, confidence) : [];

/** An answer that is not one to this question counts as a refusal of its site, and spoils no other's. */
const understood = (outcome: SiteOutcome, query: StatsQuery, confidence: number): SiteOutcome => {
  if (outcome.status === 'refused') return outcome;
  try {
    figures(query, [outcome.answer], confidence);
    return outcome;
  } catch (error) {
    return refusedBy(toQflError(error));
  }
};

const siteResult = (
  site: SiteId,
  outcome: SiteOutcome,
  query: StatsQuery,
  confidence: number,
): StatsSiteResult =>
  outcome.status === 'refused'
    ? { site, ...outcome }
    : {
        status: 'answered',
        site,
        answer: outcome.answer,
        measures: figures(query, [outcome.answer], confidence),
      };

/** @param outcomes of every site asked */
export const combine = (question: OpenQuestion, outcomes: SiteOutcomes): StatsResult => {
  const query = parseStatsQuery(question.query);
  const { confidence } = question;
  const sites = [...outcomes]
    .map(([site, outcome]) => siteResult(site, understood(outcome, query, confidence), query, confidence))
    .toSorted((left, right) => (left.site < right.site ? -1 : 1));
  const answers = sites.flatMap((one) => (one.status === 'answered' ? [one.answer] : []));
  return {
    queryId: question.queryId,
    kind: query.kind,
    asked: question.asked,
    complete: answers.length === sites.length,
    measures: figures(query, answers, confidence),
    epsilonPerSite: query.microEpsilon / MICRO_PER_EPSILON,
    sites,
  };
};

const asError = (
  first: Extract<StatsSiteResult, { status: 'refused' }>,
  result: StatsResult,
  refusals: readonly StatsSiteResult[],
): QflError =>
  new QflError(isErrorCode(first.code) ? first.code : 'refused_by_site', {
    detail: `${first.site}: ${first.detail ?? first.code}`,
    facts: { ...first.facts, queryId: result.queryId, sites: refusals },
  });

/**
 * When nobody answered, the first refusal is the error, and all of them are its facts.
 * @throws QflError `budget_exceeded` and the like
 */
export const requireSome = (result: StatsResult): StatsResult => {
  if (result.sites.some(({ status }) => status === 'answered')) return result;
  const refusals = result.sites.filter((one) => one.status === 'refused');
  const first = refusals.find(({ code }) => code === 'budget_exceeded') ?? refusals[0];
  throw first === undefined
    ? new QflError('site_unavailable', { detail: 'no site was asked' })
    : asError(first, result, refusals);
};
