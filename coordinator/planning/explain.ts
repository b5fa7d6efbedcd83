/** A commit as people read it: every candidate with what the plan thought of it. */
import type { SiteId } from '../../shared/ids.ts';
import type { PlanCandidate, PlanRecord } from '../../shared/wire/plan.ts';
import type { CandidateSite } from './candidates.ts';
import type { Commit } from './desk.ts';
import type { PlanCost } from './plan.ts';
import type { Predictor } from './predictor.ts';
import type { KnownPresence } from './sites-now.ts';

export interface ExplainInput {
  readonly commit: Commit;
  readonly queryIdOf: (taskId: string) => string;
  readonly sender: SiteId | null;
  readonly exclusions: PlanRecord['exclusions'];
  readonly sites: readonly CandidateSite[];
  readonly presence: KnownPresence;
  readonly predictor: Predictor;
  readonly strategy: string;
  readonly committedMs: number;
  readonly waitedMs: number;
  readonly planMicros: number;
}

const verdictOf = (
  siteId: SiteId,
  { commit, presence }: ExplainInput,
  site: CandidateSite | undefined,
): PlanCandidate['verdict'] => {
  if (commit.site === siteId) return 'chosen';
  if (presence.telemetry(siteId) === undefined) return 'not_online_or_stale';
  if (site === undefined) return 'does_not_offer_the_model';
  const places = commit.plan.problem.sites.find((one) => one.siteId === siteId)?.slotCosts.length ?? 0;
  return places === 0 ? 'no_place' : 'possible';
};

const candidateOf = (siteId: SiteId, input: ExplainInput): PlanCandidate => {
  const { commit, predictor, presence } = input;
  const { plan, request, at } = commit;
  const site = input.sites.find((one) => one.siteId === siteId);
  const option = plan.problem.tasks[at]?.options.find((one) => one.siteId === siteId);
  const prediction = predictor.predict(siteId, request.model, request.sizeBucketBytes ?? 0);
  return {
    site: siteId,
    verdict: verdictOf(siteId, input, site),
    latencyCost: option?.cost.latency ?? null,
    preferenceCost: option?.cost.preference ?? null,
    moneyCost: option?.cost.money ?? null,
    privacyCost: option?.cost.privacy ?? null,
    placePrice: plan.sitePrices.get(siteId) ?? null,
    predictedMeanMs: prediction?.meanMs ?? null,
    predictedQ95Ms: prediction?.q95Ms ?? null,
    busySlots: site?.busySlots ?? null,
    slots: site?.slots ?? null,
    busyTokens: site?.tokensMax === undefined ? null : (site.tokensBusy ?? 0),
    tokensMax: site?.tokensMax ?? null,
    telemetryAgeMs: presence.telemetryAgeMs(siteId) ?? null,
  };
};

const MICROS_PER_MS = 1_000;
const partsOf = ({ total: _total, ...parts }: PlanCost): PlanRecord['costParts'] => parts;

export const explain = (input: ExplainInput): PlanRecord => {
  const { commit, queryIdOf } = input;
  const { plan, request, at } = commit;
  const couplings = plan.couplings
    .filter(({ first, second }) => first === at || second === at)
    .map(({ first, second, weight }) => ({
      queryId: queryIdOf(plan.problem.tasks[first === at ? second : first]!.taskId),
      weight,
    }));
  return {
    queryId: queryIdOf(request.taskId),
    model: request.model,
    sender: input.sender,
    priority: request.priority ?? 0,
    sizeBucketBytes: request.sizeBucketBytes ?? 0,
    site: commit.site,
    commit: commit.reason,
    strategy: input.strategy,
    solver: plan.solver,
    seed: plan.seed,
    cost: plan.cost.total,
    costParts: partsOf(plan.cost),
    certificate: plan.certificate?.kind ?? null,
    tokens: request.tokens ?? 0,
    bound: plan.bound,
    independentCost: plan.independentCost,
    batch: plan.problem.tasks.length,
    couplings,
    candidates: request.allowedSites.map((site) => candidateOf(site, input)),
    exclusions: input.exclusions,
    arrivedMs: input.committedMs - input.waitedMs,
    committedMs: input.committedMs,
    waitedMs: input.waitedMs,
    planMicros: input.planMicros,
    solveMicros: Math.round(plan.wallMs * MICROS_PER_MS),
    cpuMicros: plan.cpuMs === null ? null : Math.round(plan.cpuMs * MICROS_PER_MS),
  };
};
