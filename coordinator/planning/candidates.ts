/** From what is known of sites and requests to a planning problem: who may serve, what it is predicted to cost, what waiting costs. */
import type { SiteId } from '../../shared/ids.ts';
import {
  optionCost,
  type PlanningSite,
  type PlanningTask,
  type Problem,
  type TaskOption,
} from './problem.ts';
import type { Forecaster, Prediction } from './predictor.ts';
import type { Weights } from './strategies.ts';

export interface CandidateSite {
  readonly siteId: SiteId;
  readonly models: readonly string[];
  /** Requests it takes at once, and how many run or wait there now. */
  readonly slots: number;
  readonly busySlots: number;
  /** What the site itself says a service takes; used until it was measured from here. */
  readonly serviceMs?: number | null;
  /** Slots beyond `slots` that only emergencies may take. */
  readonly emergencySlots?: number;
  /** Tokens that it runs at once, as it reports, and how many it runs now; without them they do not bind. */
  readonly tokensMax?: number | undefined;
  readonly tokensBusy?: number;
  /** Announced price of a thousand tokens, in millionths of the federation's currency unit. */
  readonly tokenPriceMicros?: number | undefined;
  /** Privacy budget left, in millionths of epsilon: a hint. */
  readonly microEpsilonLeft?: number | undefined;
}

export interface PlanRequest {
  readonly taskId: string;
  readonly model: string;
  /** Sites that policy and the sender's seal allow; others are not considered. */
  readonly allowedSites: readonly SiteId[];
  /** Sites that refused or failed this request. */
  readonly excludedSites: readonly SiteId[];
  /** Where earlier requests of the same conversation went. */
  readonly affinitySite?: SiteId | undefined;
  /** Where other copies of it went. */
  readonly apartSites?: readonly SiteId[];
  readonly sizeBucketBytes?: number;
  /** 0 to 9. */
  readonly priority?: number;
  /** Who asks. */
  readonly sender?: SiteId | undefined;
  /** Of prompt and answer. */
  readonly tokens?: number;
  /** What each site would charge. */
  readonly microEpsilon?: number;
  /** On the clock of `CandidateOptions.nowMs`. */
  readonly arrivedMs?: number;
  readonly deadlineMs?: number;
}

export interface CandidateOptions {
  readonly weights: Weights;
  readonly nowMs: number;
  /** Places behind a taken slot where a request may wait at the site; 0: only free slots count. */
  readonly queuePerSlot: number;
  /** Stands in for a latency that nobody measured. */
  readonly unmeasuredMs: number;
  /** What a warm conversation saves, as a share of the service. */
  readonly affinityShare: number;
}

export const CANDIDATE_DEFAULTS: Omit<CandidateOptions, 'weights'> = {
  nowMs: 0,
  queuePerSlot: 0,
  unmeasuredMs: 100,
  affinityShare: 0.3,
};

/** Not serving a request at all, in typical service times: above every sum of what serving it could cost. */
const NOT_SERVED = 1_000;
/** Price of putting two together that should not meet, as a share of a typical service. */
export const APART_SHARE = 0.5;
const PRIORITY_MAX = 9;

export interface Forecasts {
  of(request: PlanRequest, site: CandidateSite): Prediction;
  /** Mean service over the sites: the scale on which load and waiting are priced. */
  readonly typicalMs: number;
}

const guess = (meanMs: number): Prediction => ({
  meanMs,
  q50Ms: meanMs,
  q95Ms: 2 * meanMs,
  errorMs: meanMs / 2,
  samples: 0,
});

/** Predictions for one plan. A site that was never measured counts as the fastest one known: it is tried. */
export const forecastsOf = (
  requests: readonly PlanRequest[],
  sites: readonly CandidateSite[],
  predictor: Forecaster,
  { unmeasuredMs }: Pick<CandidateOptions, 'unmeasuredMs'>,
): Forecasts => {
  const [sample] = requests;
  const known = sites.map((site) =>
    sample === undefined
      ? null
      : (predictor.predict(site.siteId, sample.model, sample.sizeBucketBytes ?? 0)?.meanMs ??
        site.serviceMs ??
        null),
  );
  const measured = known.filter((value) => value !== null);
  const fastest = measured.length === 0 ? unmeasuredMs : Math.min(...measured);
  const typicalMs = Math.max(
    1,
    known.reduce<number>((sum, value) => sum + (value ?? fastest), 0) / Math.max(1, known.length),
  );
  const made = new Map<SiteId, Map<string, Prediction>>();
  const predictAt = (site: CandidateSite, model: string, size: number): Prediction =>
    predictor.predict(site.siteId, model, size) ?? guess(site.serviceMs ?? fastest);
  return {
    typicalMs,
    of({ model, sizeBucketBytes = 0 }, site) {
      const here = made.get(site.siteId) ?? new Map<string, Prediction>();
      made.set(site.siteId, here);
      const key = `${sizeBucketBytes} ${model}`;
      const prediction = here.get(key) ?? predictAt(site, model, sizeBucketBytes);
      here.set(key, prediction);
      return prediction;
    },
  };
};

/**
 * Places at a site: free slots first, then places behind them, each costing the wait for a slot. The k-th place costs more than the one before
 * (convex), so load spreads. No more places than there are requests.
 */
const siteOf = (
  site: CandidateSite,
  meanMs: number,
  typicalMs: number,
  placesMax: number,
  { weights, queuePerSlot }: CandidateOptions,
): PlanningSite => {
  const { siteId, slots, busySlots } = site;
  const room = Math.max(0, slots + Math.floor(slots * queuePerSlot) - busySlots);
  const places = Math.min(placesMax, room);
  const costOf = (place: number): number => {
    const load = weights.load * typicalMs * Math.min(1, place / Math.max(1, slots));
    const ahead = Math.max(0, place - slots + 1);
    return Math.round(load + (Math.max(1, weights.latency) * meanMs * ahead) / Math.max(1, slots));
  };
  const { tokensMax, tokensBusy = 0, microEpsilonLeft } = site;
  return {
    siteId,
    slotCosts: Array.from({ length: places }, (_, at) => costOf(busySlots + at)),
    ...(tokensMax === undefined ? {} : { tokensMax: Math.max(0, Math.floor(tokensMax - tokensBusy)) }),
    ...(microEpsilonLeft === undefined ? {} : { microEpsilonMax: microEpsilonLeft }),
  };
};

const TOKENS_PER_PRICE = 1_000;
const MICROS_PER_MILLI = 1_000;

const moneyOf = (tokens: number, { tokenPriceMicros = 0 }: CandidateSite, { money }: Weights): number =>
  Math.round((money * tokens * tokenPriceMicros) / (TOKENS_PER_PRICE * MICROS_PER_MILLI));

/** The coordinator cannot see how sensitive a question is: where it may go its agent has decided. What is left is that it stays home if it can. */
const privacyOf = (
  { sender, microEpsilon = 0 }: PlanRequest,
  { siteId, microEpsilonLeft }: CandidateSite,
  typicalMs: number,
  { privacy }: Weights,
): number => {
  const away = sender === undefined || sender === siteId ? 0 : 1;
  const drawn =
    microEpsilonLeft === undefined ? 0 : Math.min(1, microEpsilon / Math.max(1, microEpsilonLeft));
  return Math.round(privacy * typicalMs * (away + drawn));
};

const optionOf = (
  request: PlanRequest,
  site: CandidateSite,
  { meanMs, q95Ms }: Prediction,
  typicalMs: number,
  { weights, affinityShare }: CandidateOptions,
): TaskOption => {
  const { siteId } = site;
  const { tokens = 0, microEpsilon = 0 } = request;
  const saved = request.affinitySite === siteId ? affinityShare * meanMs : 0;
  const shared = request.apartSites?.includes(siteId) === true ? APART_SHARE * meanMs : 0;
  return {
    siteId,
    ...(tokens === 0 ? {} : { tokens }),
    ...(microEpsilon === 0 ? {} : { microEpsilon }),
    cost: {
      money: moneyOf(tokens, site, weights),
      privacy: privacyOf(request, site, typicalMs, weights),
      latency: Math.round(weights.latency * meanMs + weights.tail * Math.max(0, q95Ms - meanMs)),
      preference: Math.round(Math.max(1, weights.latency) * (shared - saved)) || 0,
    },
  };
};

export const mayServe = (request: PlanRequest, { siteId, models }: CandidateSite): boolean =>
  models.includes(request.model) &&
  request.allowedSites.includes(siteId) &&
  !request.excludedSites.includes(siteId);

/** Those that may serve a request, found by name: a request allows few of many sites. In the order of `sites`. */
export const ableAmong = (
  sites: readonly CandidateSite[],
): ((request: PlanRequest) => readonly CandidateSite[]) => {
  const places = new Map(sites.map((site, at) => [site.siteId, { site, at }]));
  return (request) =>
    request.allowedSites
      .flatMap((siteId) => places.get(siteId) ?? [])
      .filter(({ site }) => mayServe(request, site))
      .toSorted((one, other) => one.at - other.at)
      .map(({ site }) => site);
};

/**
 * Price of not serving a request in this plan. Where slots are scarce the dearest go first: who is urgent, has waited, or would miss a
 * deadline that can still be met.
 */
const waitingCostOf = (
  { priority = 0, arrivedMs, deadlineMs }: PlanRequest,
  bestMs: number,
  typicalMs: number,
  { weights, nowMs }: CandidateOptions,
): number => {
  const waitedMs = Math.max(0, nowMs - (arrivedMs ?? nowMs));
  const leftMs = deadlineMs === undefined ? Infinity : deadlineMs - nowMs;
  // Once even the best site will hardly make it, hurrying helps nobody.
  const near = leftMs < bestMs ? 0 : Math.min(1, Math.max(0, 1 - (leftMs - bestMs) / (4 * typicalMs)));
  const typicals = NOT_SERVED + (weights.urgency * priority) / PRIORITY_MAX + weights.deadline * near;
  return Math.round(typicals * typicalMs + weights.age * waitedMs);
};

/** The problem that these requests and sites are. Exclusions are filters, affinity is a score. */
export const buildProblem = (
  requests: readonly PlanRequest[],
  sites: readonly CandidateSite[],
  predictor: Forecaster,
  options: CandidateOptions,
): Problem => {
  const forecasts = forecastsOf(requests, sites, predictor, options);
  const { typicalMs } = forecasts;
  const [sample] = requests;
  const ableSites = ableAmong(sites);
  return {
    sites: sites.map((site) =>
      siteOf(
        site,
        sample === undefined ? typicalMs : forecasts.of(sample, site).meanMs,
        typicalMs,
        requests.length,
        options,
      ),
    ),
    tasks: requests.map((request): PlanningTask => {
      const able = ableSites(request);
      const predictions = able.map((site) => forecasts.of(request, site));
      const bestMs = Math.min(...predictions.map(({ meanMs }) => meanMs), Number.MAX_SAFE_INTEGER);
      return {
        taskId: request.taskId,
        waitingCost: waitingCostOf(request, able.length === 0 ? 0 : bestMs, typicalMs, options),
        options: able.map((site, at) => optionOf(request, site, predictions[at]!, typicalMs, options)),
      };
    }),
  };
};

/**
 * What each request would lose by not being served now, at its best site: the order in which scarce slots are given.
 */
export const lossesOf = (
  requests: readonly PlanRequest[],
  sites: readonly CandidateSite[],
  predictor: Forecaster,
  options: CandidateOptions,
): readonly number[] =>
  buildProblem(
    requests,
    sites.map((site) => ({ ...site, slots: 0 })),
    predictor,
    options,
  ).tasks.map(({ waitingCost, options: places }) =>
    places.length === 0 ? -Infinity : waitingCost - Math.min(...places.map(optionCost)),
  );
