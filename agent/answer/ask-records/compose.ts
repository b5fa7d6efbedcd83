/**
 * Words from noisy numbers: post-processing of what the sites released, by a public template. Nothing here has seen a record, and no
 * sentence of a record can come out of it.
 */
import { isDeepStrictEqual } from 'node:util';
import { QflError } from '../../../shared/errors.ts';
import { MICRO_PER_EPSILON } from '../../../shared/privacy/epsilon.ts';
import { noiseHalfWidth } from '../../../shared/privacy/interval.ts';
import { type DiscreteGaussian, mechanismToText } from '../../../shared/privacy/mechanism.ts';
import type {
  AskAnswered,
  AskInterval,
  AskItem,
  AskPrivacy,
  AskSite,
  AskVisibility,
} from '../../../shared/wire/ask.ts';
import type { StatsAnswer, StatsResult } from '../../../shared/wire/stats.ts';
import type { ConceptList } from '../../concepts/list.ts';
import { rhoOf, sigmaOf, visibilityOf } from './mechanism.ts';
import { type AskedQuestion, methodOf } from './question.ts';
import { type AskRelease, releaseOf } from './release.ts';

/** The noisy vectors of all sites that answered, added. */
export interface Merged {
  readonly cells: readonly string[];
  readonly values: readonly bigint[];
  /** One per site that answered. */
  readonly mechanisms: readonly DiscreteGaussian[];
}

export interface Share {
  readonly percent: number;
  readonly low: number;
  readonly high: number;
}

type SiteResult = StatsResult['sites'][number];

/** The noisy vector of a site's answer; undefined when it is no answer to this question. */
const valuesOf = (answer: StatsAnswer, { cells, mechanism }: AskRelease): readonly bigint[] | undefined => {
  const [release, ...more] = answer.releases;
  const fits =
    release !== undefined &&
    more.length === 0 &&
    isDeepStrictEqual(release.cells, cells) &&
    isDeepStrictEqual(release.mechanism, mechanismToText(mechanism));
  return fits ? release.values.map(BigInt) : undefined;
};

/** What a site sent is not trusted to be what was asked: an answer over other cells or with other noise counts as a refusal. */
const checkedSite = (one: SiteResult, release: AskRelease): SiteResult =>
  one.status === 'answered' && valuesOf(one.answer, release) === undefined
    ? {
        status: 'refused',
        site: one.site,
        code: 'protocol',
        detail: 'its answer is not one to this question',
        facts: null,
      }
    : one;

/** Sites' counts add up. */
export const mergeAnswers = (answers: readonly StatsAnswer[], release: AskRelease): Merged => {
  const vectors = answers.flatMap((answer) => {
    const values = valuesOf(answer, release);
    return values === undefined ? [] : [values];
  });
  return {
    cells: release.cells,
    values: release.cells.map((_, at) => vectors.reduce((sum, values) => sum + (values[at] ?? 0n), 0n)),
    mechanisms: vectors.map(() => release.mechanism),
  };
};

const atLeastZero = (value: bigint): bigint => (value < 0n ? 0n : value);

/** Patients are not fewer than none: clamping the interval keeps what it promises. */
const intervalOf = (value: bigint, half: bigint): AskInterval => ({
  low: String(atLeastZero(value - half)),
  high: String(atLeastZero(value + half)),
});

/** Tenths of a per cent, rounded down; divided once, where they are shown, so that no digits are made up. */
const permille = (part: bigint, whole: bigint): number =>
  whole === 0n ? 0 : Number((part * 1_000n) / whole);

/** Bounds of with/(with + without); each cell's interval may fail half as often, so both hold together. */
export const shareOf = ({ values, mechanisms }: Merged, confidence: number): Share | null => {
  const [yes = 0n, no = 0n] = values;
  const both = [...mechanisms, ...mechanisms];
  if (yes + no < visibilityOf(both, 1).cut) return null;
  const half = noiseHalfWidth(mechanisms, 1 - (1 - confidence) / 2);
  const [lowYes, highYes] = [atLeastZero(yes - half), atLeastZero(yes + half)];
  const [lowNo, highNo] = [atLeastZero(no - half), atLeastZero(no + half)];
  return {
    percent: permille(atLeastZero(yes), atLeastZero(yes) + atLeastZero(no)) / 10,
    low: permille(lowYes, lowYes + highNo) / 10,
    high: highYes + lowNo === 0n ? 100 : Math.min(1_000, permille(highYes, highYes + lowNo) + 1) / 10,
  };
};

const itemsOf = (
  { cells, values, mechanisms }: Merged,
  nameOf: (cell: string) => string,
  confidence: number,
): AskItem[] => {
  const { cut } = visibilityOf(mechanisms, cells.length);
  const half = noiseHalfWidth(mechanisms, confidence);
  return cells
    .map((id, at) => ({ id, value: values[at]! }))
    .filter(({ value }) => value >= cut)
    .toSorted((left, right) => Number(right.value - left.value))
    .map(({ id, value }) => ({
      id,
      name: nameOf(id),
      count: String(value),
      interval: intervalOf(value, half),
    }));
};

const COUNTED: Readonly<Record<string, string>> = {
  medications: 'medications on record',
  conditions: 'conditions on record',
  procedures: 'procedures on record',
  observations: 'observations on record',
};

const unitOf = (asked: AskedQuestion): AskVisibility['unit'] =>
  asked.query.kind === 'concepts' ? 'patients' : 'shards';

/** Patients with more than k terms are left out of some, so a list's count of patients is a lower bound. */
const itemText = ({ name, count, interval }: AskItem, unit: AskVisibility['unit']): string =>
  `${name}: ${unit === 'patients' ? 'at least ' : ''}about ${count} ${unit} (${interval.low} to ${interval.high})`;

const listText = (asked: AskedQuestion, items: readonly AskItem[]): string => {
  const unit = unitOf(asked);
  const what =
    asked.understood === null
      ? 'Terms named'
      : `${capital(COUNTED[asked.understood.what] ?? asked.understood.what)} of ${asked.understood.who}`;
  return items.length === 0
    ? `${what}: none is visible through the noise.`
    : `${what}: ${items.map((item) => itemText(item, unit)).join('; ')}.`;
};

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const verdict = ({ low, high }: Share): string => {
  if (low > 50) return 'Yes, most do';
  return high < 50 ? 'No, most do not' : 'The noise leaves it open whether most do';
};

const shareText = (asked: AskedQuestion, merged: Merged, share: Share | null, confidence: number): string => {
  const { who, what } = asked.understood ?? { who: 'patients', what: 'it' };
  if (share === null) return `There are too few ${who} to say anything about ${what}.`;
  const half = noiseHalfWidth(merged.mechanisms, confidence);
  const [yes = 0n, no = 0n] = merged.values;
  const both = noiseHalfWidth([...merged.mechanisms, ...merged.mechanisms], confidence);
  const withIt = intervalOf(yes, half);
  const all = intervalOf(yes + no, both);
  const numbers = `about ${atLeastZero(yes)} of about ${atLeastZero(yes + no)} (${withIt.low} to ${withIt.high} of ${all.low} to ${all.high})`;
  const shares = `${share.percent} % (${share.low} % to ${share.high} %)`;
  const of = `Of ${who}, ${shares} have ${what} on record: ${numbers}.`;
  if (asked.form === 'usual') return `${verdict(share)}. ${of}`;
  return asked.form === 'count'
    ? `About ${atLeastZero(yes)} ${who} have ${what} on record (${withIt.low} to ${withIt.high}). ${of}`
    : of;
};

const yesNoText = ({ values, mechanisms }: Merged, confidence: number): string => {
  const [yes = 0n, no = 0n] = values;
  const half = noiseHalfWidth(mechanisms, 1 - (1 - confidence) / 2);
  const counts = `about ${atLeastZero(yes)} shards say yes, about ${atLeastZero(no)} say no`;
  if (yes - half > no + half) return `More yes than no: ${counts}.`;
  return no - half > yes + half ? `More no than yes: ${counts}.` : `The noise leaves it open: ${counts}.`;
};

const factsOf = (
  asked: AskedQuestion,
  merged: Merged,
  items: readonly AskItem[],
  share: Share | null,
  confidence: number,
): string => {
  if (asked.form === 'list') return listText(asked, items);
  return asked.form === 'yes_no'
    ? yesNoText(merged, confidence)
    : shareText(asked, merged, share, confidence);
};

/** How many cells one patient moves: the k of the answer. */
const kOf = ({ query }: AskedQuestion): number => {
  if (query.kind === 'concepts') return query.cells.count === 'terms' ? query.cells.k : 1;
  return query.answers.form === 'terms' ? query.answers.k : 1;
};

export const privacyOf = (asked: AskedQuestion, { cells, mechanism }: AskRelease): AskPrivacy => ({
  epsilonPerSite: asked.query.microEpsilon / MICRO_PER_EPSILON,
  rhoPerSite: rhoOf(mechanism),
  sigmaPerSite: sigmaOf(mechanism),
  k: Math.min(kOf(asked), cells.length),
  cells: cells.length,
});

export const visibilityShown = (
  asked: AskedQuestion,
  mechanisms: readonly DiscreteGaussian[],
  cells: number,
): AskVisibility => {
  const { cut, reliableFrom } = visibilityOf(mechanisms, cells);
  return { unit: unitOf(asked), cut: String(cut), reliableFrom: String(reliableFrom) };
};

const METHOD_TEXT = {
  concepts: 'Method: patients counted per listed term (no model read any record).',
  shards:
    'Method: fixed groups of patients (shards), each asked on its own by a model, their listed answers counted.',
} as const;

const limitText = (asked: AskedQuestion, { k }: AskPrivacy): string => {
  if (asked.form !== 'list') return '';
  return asked.query.kind === 'concepts'
    ? `Each patient counts for at most ${k} terms, so these are lower bounds; a question about one term (“how common is …”) has no such cut. `
    : `Each shard names at most ${k} terms. `;
};

/** Every answer says how it came about, what it cost and what it could not see. */
export const explanationOf = (
  asked: AskedQuestion,
  privacy: AskPrivacy,
  { unit, reliableFrom }: AskVisibility,
  confidence: number,
): string =>
  `${METHOD_TEXT[methodOf(asked)]} Each site charged ε ${privacy.epsilonPerSite} (ρ ${Number(privacy.rhoPerSite.toPrecision(6))}) and added noise of σ ${Number(privacy.sigmaPerSite.toPrecision(4))} to every count; ` +
  `the intervals hold with ${Number((confidence * 100).toFixed(4))} % and cover the noise alone. ${limitText(asked, privacy)}` +
  `A fact needs about ${reliableFrom} ${unit} to be visible reliably; what is not shown is not thereby absent.`;

const siteOf = (one: SiteResult): AskSite =>
  one.status === 'answered'
    ? { status: one.status, site: one.site, ledgers: one.answer.ledgers }
    : { status: one.status, site: one.site, code: one.code, detail: one.detail };

/** @throws QflError `refused_by_site` when no site answered what was asked */
export const composeAnswer = (
  asked: AskedQuestion,
  result: StatsResult,
  confidence: number,
  list: ConceptList,
): AskAnswered => {
  const release = releaseOf(list, asked.query);
  const sites = result.sites.map((one) => checkedSite(one, release));
  const answers = sites.flatMap((one) => (one.status === 'answered' ? [one.answer] : []));
  if (answers.length === 0)
    throw new QflError('refused_by_site', {
      detail: 'no site gave an answer to this question',
      next: 'Check that all sites run the same release.',
      facts: { queryId: result.queryId, sites: sites.map(siteOf) },
    });
  const merged = mergeAnswers(answers, release);
  const nameOf = (id: string): string => list.byId(id)?.name ?? id;
  const items = asked.form === 'list' ? itemsOf(merged, nameOf, confidence) : [];
  const isShare = asked.form !== 'list' && asked.form !== 'yes_no';
  const share = isShare ? shareOf(merged, confidence) : null;
  const facts = factsOf(asked, merged, items, share, confidence);
  const privacy = privacyOf(asked, release);
  const visibility = visibilityShown(asked, merged.mechanisms, merged.cells.length);
  return {
    kind: 'answer',
    queryId: result.queryId,
    method: methodOf(asked),
    form: asked.form,
    understood: asked.understood,
    list: asked.query.list,
    answer: facts,
    rewritten: false,
    facts,
    explanation: explanationOf(asked, privacy, visibility, confidence),
    items,
    share,
    confidence,
    privacy,
    visibility,
    complete: sites.every(({ status }) => status === 'answered'),
    sites: sites.map(siteOf),
  };
};
