/**
 * The planner on live requests: what arrives within one turn of the event loop is planned together, exactly, on what is known of the sites
 * now. Slots are counted here from dispatch to end, because telemetry is seconds old.
 */
import type { Clock } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { CoordinatorMeters } from '../metrics.ts';
import type { Placement, PlacementRequest, Planner } from '../relay/placement.ts';
import type { Presence } from '../sites/presence.ts';
import { flowSolver } from '../solvers/flow.ts';
import {
  buildProblem,
  CANDIDATE_DEFAULTS,
  type CandidateSite,
  STRATEGY_WEIGHTS,
  type Strategy,
} from './candidates.ts';
import { makePlan } from './plan.ts';
import { createPredictor, type Predictor } from './predictor.ts';
import type { Problem } from './problem.ts';

/** Above every sum of real costs: a request waits only when no allowed site has a free slot. */
const WAITING_COST = 2 ** 30;

export interface LivePlannerOptions {
  readonly presence: Pick<Presence, 'telemetry' | 'online'>;
  readonly clock: Clock;
  readonly meters: Pick<CoordinatorMeters, 'planned'>;
  /** Asked for every plan, so that it can change while running. */
  readonly tuning: () => { readonly strategy: Strategy; readonly queueFactor: number };
}

interface Pending {
  readonly request: PlacementRequest;
  readonly resolve: (placement: Placement | undefined) => void;
}

/** Queries under way at a site that went through here. */
const createBusy = () => {
  const counts = new Map<SiteId, number>();
  const change = (site: SiteId, by: number): void => void counts.set(site, (counts.get(site) ?? 0) + by);
  return {
    of: (site: SiteId) => counts.get(site) ?? 0,
    enter: (site: SiteId) => change(site, 1),
    leave: (site: SiteId) => change(site, -1),
  };
};

/** Sites that offer the model; the back end's own queue counts, whoever filled it. */
const sitesFor = (
  presence: LivePlannerOptions['presence'],
  model: string,
  busyOf: (site: SiteId) => number,
): CandidateSite[] =>
  presence.online().flatMap((siteId): CandidateSite[] => {
    const telemetry = presence.telemetry(siteId);
    const offer = telemetry?.draining === true ? undefined : telemetry?.models.find(({ id }) => id === model);
    return offer === undefined
      ? []
      : [
          {
            siteId,
            models: [model],
            slots: offer.slots,
            busySlots: Math.max(busyOf(siteId), offer.inFlight + offer.waiting),
          },
        ];
  });

/** Its own share of a plan's cost, as the plan priced it. */
const shareOf = (problem: Problem, at: number, site: SiteId): number => {
  const option = problem.tasks[at]?.options.find(({ siteId }) => siteId === site);
  const slot = problem.sites.find(({ siteId }) => siteId === site)?.slotCosts[0];
  return (option === undefined ? 0 : option.cost.latency + option.cost.preference) + (slot ?? 0);
};

export const createLivePlanner = (
  options: LivePlannerOptions,
): Planner & { readonly predictor: Predictor } => {
  const { presence, clock, meters, tuning } = options;
  const predictor = createPredictor();
  const busy = createBusy();
  let pending: Pending[] = [];

  const placementOf = (
    request: PlacementRequest,
    site: SiteId,
    plan: Omit<Placement['plan'], 'site'>,
  ): Placement => {
    let open = true;
    busy.enter(site);
    return {
      site,
      plan: { site, ...plan },
      done(firstTokenMs) {
        if (!open) return;
        open = false;
        busy.leave(site);
        if (firstTokenMs !== null) predictor.observe(site, request.model, firstTokenMs);
      },
    };
  };
  /** One exact plan for all requests of a model; slots of a site are the model's own. */
  const planModel = (model: string, batch: readonly Pending[]): void => {
    const startedMs = clock.monotonicMs();
    const { strategy, queueFactor } = tuning();
    const requests = batch.map(({ request }, at) => ({
      taskId: String(at),
      model,
      allowedSites: request.candidates,
      excludedSites: [],
      waitingCost: WAITING_COST,
    }));
    const problem = buildProblem(requests, sitesFor(presence, model, busy.of), predictor, {
      ...CANDIDATE_DEFAULTS,
      weights: STRATEGY_WEIGHTS[strategy],
      queueFactor,
    });
    const plan = makePlan(problem, flowSolver, clock);
    assert(plan.bound !== null, 'the exact solver proves its plans');
    const micros = Math.round((clock.monotonicMs() - startedMs) * 1_000);
    // The gap is the whole batch's: no placement in it can be further from the best than that.
    const gap = plan.cost.total - plan.bound;
    batch.forEach(({ request, resolve }, at) => {
      const site = plan.assignments[at]?.siteId ?? null;
      meters.planned(micros / 1e6 / batch.length);
      if (site === null) return resolve(undefined);
      const cost = shareOf(problem, at, site);
      resolve(
        placementOf(request, site, {
          solver: plan.solver,
          costMs: cost,
          boundMs: cost - gap,
          candidates: request.candidates.length,
          planMicros: micros,
        }),
      );
    });
  };
  const planAll = (): void => {
    const batch = pending;
    pending = [];
    const byModel = new Map<string, Pending[]>();
    for (const one of batch) byModel.set(one.request.model, [...(byModel.get(one.request.model) ?? []), one]);
    for (const [model, group] of byModel) planModel(model, group);
  };

  return {
    predictor,
    place: (request) =>
      new Promise((resolve) => {
        pending.push({ request, resolve });
        if (pending.length === 1) setImmediate(planAll);
      }),
  };
};
