/** From a commit to a placement: takes the place at the site, keeps why, and learns from how it ended. */
import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Placement, PlacementRequest } from '../relay/placement.ts';
import type { CandidateSite } from './candidates.ts';
import type { DeferralMeter } from './deferral.ts';
import type { Commit } from './desk.ts';
import { explain } from './explain.ts';
import type { Prediction, Predictor } from './predictor.ts';
import { optionCost } from './problem.ts';
import type { PlanRecords } from './records.ts';
import type { KnownPresence, Taken } from './sites-now.ts';
import type { Strategist } from './strategist.ts';
import type { Warmth } from './warmth.ts';

export interface PlacementsOptions {
  readonly clock: Clock;
  readonly presence: KnownPresence;
  readonly predictor: Predictor;
  readonly taken: Taken;
  readonly warmth: Warmth;
  readonly records: PlanRecords;
  readonly deferral: DeferralMeter;
  readonly strategist: Strategist;
  /** The strategy in force. */
  readonly strategy: () => string;
  /** The query of a task of the plan, by its number. */
  readonly queryIdOf: (taskId: string) => string;
  /** A service ended, with the interval that was predicted for it. */
  readonly ended: (
    site: SiteId,
    outcome: { readonly serviceMs: number; readonly lowMs: number; readonly highMs: number } | undefined,
  ) => void;
}

type Predicted = ReadonlyMap<SiteId, Prediction | null>;

export const createPlacements = (options: PlacementsOptions) => {
  const { clock, presence, predictor, taken, warmth, records, deferral, strategist } = options;

  const learn = ({ request, site }: Commit, predicted: Predicted, startedMs: number): number => {
    const { sizeBucketBytes = 0, priority = 0, arrivedMs, deadlineMs, model } = request;
    const serviceMs = clock.monotonicMs() - startedMs;
    const predictedMs = new Map(
      [...predicted].map(([id, prediction]) => [id, prediction?.meanMs ?? serviceMs]),
    );
    predictor.observe(site, model, serviceMs, sizeBucketBytes);
    deferral.served({ arrivedMs, sizeBucketBytes, priority, deadlineMs, predictedMs, site, serviceMs });
    return serviceMs;
  };
  /** Behind others the time would be theirs too: then only the strategy is judged by it. */
  const ended = (commit: Commit, predicted: Predicted, startedMs: number, isUncontended: boolean) => {
    const { arrivedMs, deadlineMs } = commit.request;
    const nowMs = clock.monotonicMs();
    const means = [...predicted.values()].map((prediction) => prediction?.meanMs ?? nowMs - startedMs);
    strategist.ended(Math.min(nowMs - startedMs, ...means), nowMs - arrivedMs, nowMs > deadlineMs);
    if (!isUncontended) return undefined;
    const forecast = predicted.get(commit.site);
    const serviceMs = learn(commit, predicted, startedMs);
    return forecast === null || forecast === undefined
      ? undefined
      : { serviceMs, lowMs: 0, highMs: forecast.q95Ms };
  };

  /** Takes the place. Does nobody run there who would share the time? */
  const take = ({ request, site }: Commit, sites: readonly CandidateSite[]): boolean => {
    const here = sites.find(({ siteId, models }) => siteId === site && models.includes(request.model));
    const isUncontended = here !== undefined && Math.max(here.busySlots, taken.of(site).slots) < here.slots;
    taken.enter(site, request.tokens ?? 0);
    return isUncontended;
  };
  const giveBack = ({ request, site }: Commit): void => taken.leave(site, request.tokens ?? 0);

  const placementOf = (
    commit: Commit,
    isUncontended: boolean,
    asked: PlacementRequest,
    all: readonly CandidateSite[],
    planMicros: number,
  ): Placement => {
    const { request, site, plan, at } = commit;
    const nowMs = clock.monotonicMs();
    const sites = all.filter(({ models }) => models.includes(request.model));
    const predicted = new Map(
      request.allowedSites.map((id) => [
        id,
        predictor.predict(id, request.model, request.sizeBucketBytes ?? 0),
      ]),
    );
    const option = plan.problem.tasks[at]?.options.find(({ siteId }) => siteId === site);
    const cost =
      (option === undefined ? 0 : optionCost(option)) +
      (plan.problem.sites.find(({ siteId }) => siteId === site)?.slotCosts[0] ?? 0);
    // The gap is the whole batch's: no plan of it would save more than that.
    const gap = plan.cost.total - plan.bound;
    warmth.served(request.affinity, site, nowMs);
    warmth.copyServed(request.apart, site, nowMs);
    records.add(
      explain({
        commit,
        queryIdOf: options.queryIdOf,
        sender: asked.sender ?? null,
        exclusions: [...(asked.exclusions ?? [])],
        sites,
        presence,
        predictor,
        strategy: options.strategy(),
        committedMs: Math.trunc(clock.nowMs()),
        waitedMs: Math.round(nowMs - request.arrivedMs),
        planMicros,
      }),
    );
    let isHeld = true;
    return {
      site,
      plan: {
        site,
        solver: plan.solver,
        costMs: cost,
        boundMs: cost - gap,
        candidates: request.allowedSites.length,
        planMicros,
      },
      done(firstTokenMs, isWhole = firstTokenMs !== null) {
        if (!isHeld) return;
        isHeld = false;
        giveBack(commit);
        options.ended(site, isWhole ? ended(commit, predicted, nowMs, isUncontended) : undefined);
      },
    };
  };
  return { take, giveBack, placementOf };
};
