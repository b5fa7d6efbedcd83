/** From what is known of sites and requests to a planning problem: who may serve, what it is predicted to cost. */
import type { SiteId } from '../../shared/ids.ts';
import type { PlanningSite, PlanningTask, Problem, TaskOption } from './problem.ts';
import type { Predictor } from './predictor.ts';

export type Strategy = 'latency_focused' | 'throughput_focused' | 'balanced' | 'adaptive';

/** Integer weights of a millisecond of predicted latency and of a step of load. */
export interface Weights {
  readonly latency: number;
  readonly load: number;
}

/** `adaptive` starts as balanced; what it learns belongs to the planning layer. */
export const STRATEGY_WEIGHTS: Readonly<Record<Strategy, Weights>> = {
  latency_focused: { latency: 4, load: 1 },
  throughput_focused: { latency: 1, load: 4 },
  balanced: { latency: 2, load: 2 },
  adaptive: { latency: 2, load: 2 },
};

export interface CandidateSite {
  readonly siteId: SiteId;
  readonly models: readonly string[];
  /** Requests it takes at once, and how many run there now. */
  readonly slots: number;
  readonly busySlots: number;
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
  readonly waitingCost: number;
}

export interface CandidateOptions {
  readonly weights: Weights;
  /** Width of queues against the strategy's own (`aggressive` 2, `conservative` 0.5). */
  readonly queueFactor: number;
  /** Stands in for a latency that was never measured: low, so that a new site is tried. */
  readonly unmeasuredMs: number;
  /** What one more running request at a site counts. */
  readonly loadStepMs: number;
  /** What a warm conversation saves. */
  readonly affinityMs: number;
}

export const CANDIDATE_DEFAULTS: Omit<CandidateOptions, 'weights'> = {
  queueFactor: 1,
  unmeasuredMs: 100,
  loadStepMs: 50,
  affinityMs: 200,
};

/** Slots that are free; the k-th running request costs k steps, so load is convex and spreads. */
const siteOf = ({ siteId, slots, busySlots }: CandidateSite, options: CandidateOptions): PlanningSite => {
  const width = Math.max(1, Math.floor(slots * options.queueFactor));
  const free = Math.max(0, width - busySlots);
  const step = Math.round(options.weights.load * options.loadStepMs);
  return { siteId, slotCosts: Array.from({ length: free }, (_, at) => step * (busySlots + at)) };
};

const optionOf = (
  request: PlanRequest,
  { siteId }: CandidateSite,
  predictor: Predictor,
  { weights, unmeasuredMs, affinityMs }: CandidateOptions,
): TaskOption => {
  const predictedMs = predictor.predictMs(siteId, request.model) ?? unmeasuredMs;
  const saved = request.affinitySite === siteId ? affinityMs : 0;
  return {
    siteId,
    cost: {
      latency: Math.round(weights.latency * predictedMs),
      preference: saved === 0 ? 0 : -Math.round(weights.latency * saved),
    },
  };
};

const mayServe = (request: PlanRequest, { siteId, models }: CandidateSite): boolean =>
  models.includes(request.model) &&
  request.allowedSites.includes(siteId) &&
  !request.excludedSites.includes(siteId);

/** The problem that these requests and sites are. Exclusions are filters, affinity is a score. */
export const buildProblem = (
  requests: readonly PlanRequest[],
  sites: readonly CandidateSite[],
  predictor: Predictor,
  options: CandidateOptions,
): Problem => ({
  sites: sites.map((site) => siteOf(site, options)),
  tasks: requests.map((request): PlanningTask => ({
    taskId: request.taskId,
    waitingCost: request.waitingCost,
    options: sites
      .filter((site) => mayServe(request, site))
      .map((site) => optionOf(request, site, predictor, options)),
  })),
});
