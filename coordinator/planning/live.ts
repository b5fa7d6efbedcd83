/**
 * The planner on live requests: what arrives within one turn of the event loop is planned together. A request is committed at once unless holding it open
 * has a measured value (`deferral.ts`) and its planned site has no free slot. A place at a site is taken in the turn of the plan and given
 * back in the turn of a refusal, so planning, reserving and rolling back are one step each; the site itself has the last word in its first
 * answer to the query (`relay/dispatch.ts`), since a reservation of its own would cost every chat another trip and could be lost.
 */
import type { Clock } from '../../shared/clock.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { CoordinatorMeters } from '../metrics.ts';
import type { Placement, PlacementRequest, Planner } from '../relay/placement.ts';
import type { CandidateSite } from './candidates.ts';
import { createDeferralMeter, type DeferralMeter } from './deferral.ts';
import { touchedTasks, triggerOf } from './decoherence.ts';
import { type Commit, createDesk, type DeskRequest, type DeskTuning } from './desk.ts';
import { explain } from './explain.ts';
import { INTERFERENCE_RESOLUTION } from './interference.ts';
import { createIntrospection } from './introspection.ts';
import { createObservatory, type Observatory } from './observatory.ts';
import { createPredictor, type Prediction, type Predictor } from './predictor.ts';
import { createPlanRecords, type PlanRecords } from './records.ts';
import { createTaken, type KnownPresence, sitesOffering } from './sites-now.ts';
import { createStrategist, type Strategist } from './strategist.ts';
import { STRATEGY_WEIGHTS } from './strategies.ts';
import type { Tuning, TuningInForce } from './tuning.ts';
import { createWarmth } from './warmth.ts';

/** Places behind a taken slot; the site's own queue has the last word. */
const QUEUE_PER_SLOT = 4;
export const WAITING_MAX = 1_000;
/** Open requests are planned again this often without an event: telemetry brings news without saying so. */
const REPLAN_MS = 100;
/** A query without an expiry is worth waiting for this long. */
const LIFE_DEFAULT_MS = 120_000;
const SEED_MAX = 2 ** 31;

export interface LivePlannerOptions {
  readonly presence: KnownPresence;
  readonly clock: Clock;
  readonly meters: Pick<CoordinatorMeters, 'planned'>;
  /** Asked for every plan, so that it can change while running. */
  readonly tuning: () => Tuning;
  /** First of the seeds, which are logged with every plan. */
  readonly seed?: number;
  /** What the planner measures about itself failed; it goes on serving. */
  readonly failed?: (error: unknown) => void;
}

interface Pending {
  readonly request: PlacementRequest;
  readonly resolve: (placement: Placement | undefined) => void;
}

export interface LivePlanner extends Planner {
  readonly predictor: Predictor;
  readonly records: PlanRecords;
  readonly observatory: Observatory;
  readonly deferral: DeferralMeter;
  readonly strategist: Strategist;
  /** A site came, left, or changed what it offers: what it touches is planned again. */
  sitesChanged(): void;
  tuning(): TuningInForce;
  readonly waiting: number;
  readonly planned: number;
  close(): void;
}

export const createLivePlanner = (options: LivePlannerOptions): LivePlanner => {
  const { presence, clock, meters, failed = () => undefined } = options;
  const predictor = createPredictor();
  let seed = options.seed ?? 1;
  const nextSeed = (): number => (seed = (seed + 1) % SEED_MAX);
  const desk = createDesk(predictor, nextSeed);
  const taken = createTaken();
  const warmth = createWarmth();
  const records = createPlanRecords();
  const observatory = createObservatory(INTERFERENCE_RESOLUTION);
  const deferral = createDeferralMeter();
  const strategist = createStrategist();
  const pending = new Map<string, Pending>();
  let known: ReadonlySet<SiteId> = new Set();
  let [counter, planned] = [0, 0];
  let scheduled: NodeJS.Immediate | undefined;
  let replan: NodeJS.Timeout | undefined;
  /** When something happened that the standing plan did not know. */
  let triggeredMs: number | undefined;

  const tuningNow = (): TuningInForce => {
    const tuning = options.tuning();
    return { ...tuning, inForce: strategist.current(tuning.strategy) };
  };
  const deskTuning = (): DeskTuning => {
    const { inForce, queueFactor, superposition = true, entanglement = true } = tuningNow();
    return {
      weights: STRATEGY_WEIGHTS[inForce],
      deferred: superposition && deferral.isOn,
      queuePerSlot: QUEUE_PER_SLOT * queueFactor,
      coupled: entanglement,
    };
  };
  const modelsOpen = (requests: readonly DeskRequest[]): string[] => [
    ...new Set(requests.map(({ model }) => model)),
  ];
  const sitesFor = (requests: readonly DeskRequest[]): CandidateSite[] => {
    const allowed = new Set(requests.flatMap(({ allowedSites }) => allowedSites));
    return modelsOpen(requests)
      .flatMap((model) => sitesOffering(presence, model, taken))
      .filter(({ siteId }) => allowed.has(siteId));
  };

  /** Ends a placement: gives the place back and learns, if the answer was whole. */
  const ended = (
    commit: Commit,
    predicted: ReadonlyMap<SiteId, Prediction | null>,
    startedMs: number,
    isUncontended: boolean,
  ): void => {
    const { request, site } = commit;
    const { model, sizeBucketBytes = 0, priority = 0, arrivedMs, deadlineMs } = request;
    const nowMs = clock.monotonicMs();
    const serviceMs = nowMs - startedMs;
    const means = new Map([...predicted].map(([id, prediction]) => [id, prediction?.meanMs ?? serviceMs]));
    strategist.ended(Math.min(serviceMs, ...means.values()), nowMs - arrivedMs, nowMs > deadlineMs);
    // Behind others the time would be theirs too.
    if (!isUncontended) return;
    const forecast = predicted.get(site);
    if (forecast !== null && forecast !== undefined)
      noticed({ coherence: null, outcome: { serviceMs, lowMs: 0, highMs: forecast.q95Ms } });
    predictor.observe(site, model, serviceMs, sizeBucketBytes);
    deferral.served({
      arrivedMs,
      sizeBucketBytes,
      priority,
      deadlineMs,
      predictedMs: means,
      site,
      serviceMs,
    });
  };
  const noticed = (input: Parameters<typeof triggerOf>[0]): void => {
    const { mitigation = true, coherenceThreshold } = tuningNow();
    const trigger = triggerOf({
      ...input,
      ...(coherenceThreshold === undefined ? {} : { threshold: coherenceThreshold }),
    });
    if (trigger === null) return;
    observatory.triggered(trigger);
    // What is running cannot be moved; a new plan can only help what is still open.
    if (!mitigation || pending.size === 0) return;
    triggeredMs ??= clock.monotonicMs();
    schedule();
  };

  const placementOf = (
    commit: Commit,
    waiter: Pending,
    all: readonly CandidateSite[],
    micros: number,
  ): Placement => {
    const { request, site, plan, at } = commit;
    const nowMs = clock.monotonicMs();
    const sites = all.filter(({ models }) => models.includes(request.model));
    const here = sites.find(({ siteId }) => siteId === site);
    const isUncontended = here !== undefined && Math.max(here.busySlots, taken.of(site)) < here.slots;
    const predicted = new Map(
      request.allowedSites.map((id) => [
        id,
        predictor.predict(id, request.model, request.sizeBucketBytes ?? 0),
      ]),
    );
    const option = plan.problem.tasks[at]?.options.find(({ siteId }) => siteId === site);
    const cost =
      (option === undefined ? 0 : option.cost.latency + option.cost.preference) +
      (plan.problem.sites.find(({ siteId }) => siteId === site)?.slotCosts[0] ?? 0);
    // The gap is the whole batch's: no placement in it can be further from the best than that.
    const gap = plan.interference.planCost - plan.interference.bound;
    taken.enter(site);
    warmth.served(request.affinity, site, nowMs);
    records.add(
      explain({
        commit,
        queryIdOf: (taskId) => pending.get(taskId)?.request.queryId ?? taskId,
        sender: waiter.request.sender ?? null,
        exclusions: [...(waiter.request.exclusions ?? [])],
        sites,
        presence,
        predictor,
        strategy: tuningNow().inForce,
        committedMs: Math.trunc(clock.nowMs()),
        waitedMs: Math.round(nowMs - request.arrivedMs),
        planMicros: micros,
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
        planMicros: micros,
      },
      done(firstTokenMs, isWhole = firstTokenMs !== null) {
        if (!isHeld) return;
        isHeld = false;
        taken.leave(site);
        if (isWhole) ended(commit, predicted, nowMs, isUncontended);
        if (pending.size > 0) schedule();
        introspection.nudge();
      },
    };
  };

  const settle = (taskId: string, placement: Placement | undefined): void => {
    const waiter = pending.get(taskId);
    pending.delete(taskId);
    waiter?.resolve(placement);
  };
  const expire = (nowMs: number): void => {
    for (const { taskId, deadlineMs } of desk.open())
      if (nowMs >= deadlineMs) {
        desk.drop(taskId);
        settle(taskId, undefined);
      }
  };
  const planAll = (): void => {
    scheduled = undefined;
    const nowMs = clock.monotonicMs();
    expire(nowMs);
    const open = desk.open();
    if (open.length === 0) return;
    const sites = sitesFor(open);
    const { commits, refused } = desk.decide(nowMs, sites, deskTuning());
    const tookMs = clock.monotonicMs() - nowMs;
    if (triggeredMs !== undefined) {
      observatory.replanned(clock.monotonicMs() - triggeredMs);
      triggeredMs = undefined;
    }
    for (const plan of new Set(commits.map((commit) => commit.plan))) observatory.planned(plan);
    const micros = Math.round(tookMs * 1_000);
    const placements = commits.map((commit): [string, Placement] => [
      commit.request.taskId,
      placementOf(commit, pending.get(commit.request.taskId)!, sites, micros),
    ]);
    introspection.placed(commits.map(({ request }) => request));
    planned += commits.length;
    for (const [taskId, placement] of placements) {
      meters.planned(tookMs / 1_000);
      settle(taskId, placement);
    }
    for (const { taskId } of refused) settle(taskId, undefined);
    if (pending.size > 0 && replan === undefined) {
      replan = setTimeout(() => {
        replan = undefined;
        schedule();
      }, REPLAN_MS);
      replan.unref();
    }
    introspection.nudge();
  };
  const schedule = (): void => {
    scheduled ??= setImmediate(planAll);
  };

  const introspection = createIntrospection({
    clock,
    desk,
    predictor,
    presence,
    observatory,
    deferral,
    tuning: deskTuning,
    sitesFor,
    nextSeed,
    failed,
    looked: (coherence) => noticed({ coherence }),
  });

  const place = (request: PlacementRequest): Promise<Placement | undefined> =>
    new Promise((resolve) => {
      const { signal } = request;
      if (pending.size >= WAITING_MAX || signal?.aborted === true) return resolve(undefined);
      const nowMs = clock.monotonicMs();
      const wallMs = clock.nowMs();
      counter += 1;
      const taskId = String(counter);
      const onAbort = (): void => {
        desk.drop(taskId);
        settle(taskId, undefined);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const settled = (placement: Placement | undefined): void => {
        signal?.removeEventListener('abort', onAbort);
        resolve(placement);
      };
      pending.set(taskId, { request, resolve: settled });
      desk.add({
        taskId,
        model: request.model,
        allowedSites: request.candidates,
        excludedSites: (request.exclusions ?? []).map(({ site }) => site),
        affinitySite: warmth.siteOf(request.affinity, nowMs),
        affinity: request.affinity,
        apart: request.apart,
        sizeBucketBytes: request.sizeBucketBytes,
        priority: request.priority,
        arrivedMs: nowMs,
        deadlineMs: nowMs + (request.expiresMs === undefined ? LIFE_DEFAULT_MS : request.expiresMs - wallMs),
      });
      schedule();
    });

  return {
    place,
    predictor,
    records,
    observatory,
    deferral,
    strategist,
    tuning: tuningNow,
    sitesChanged() {
      const now = new Set(presence.online());
      const lost = [...known].filter((site) => !now.has(site));
      known = now;
      const mayServe = desk.open().map(({ allowedSites }) => allowedSites);
      if (lost.some((site) => touchedTasks(mayServe, [], site).length > 0))
        noticed({ coherence: null, siteLost: true });
      else if (mayServe.length > 0) schedule();
    },
    get waiting() {
      return pending.size;
    },
    get planned() {
      return planned;
    },
    close() {
      introspection.close();
      clearTimeout(replan);
      clearImmediate(scheduled);
      for (const taskId of pending.keys()) {
        desk.drop(taskId);
        settle(taskId, undefined);
      }
    },
  };
};
