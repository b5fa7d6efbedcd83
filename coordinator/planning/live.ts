/**
 * The planner on live requests: what arrives within one turn of the event loop is planned together, each component of tasks and sites by itself; a
 * small one at once, others in a thread (`threads.ts`) while the event loop goes on. A request is committed at once unless holding it open
 * has a measured value (`deferral.ts`) and its planned site has no free slot. A place at a site is taken in the turn of the plan and given
 * back in the turn of a refusal, so planning, reserving and rolling back are one step each; the site itself has the last word in its first
 * answer to the query (`relay/dispatch.ts`), since a reservation of its own would cost every chat another trip and could be lost.
 */
import type { Clock } from '../../shared/clock.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { CoordinatorMeters } from '../metrics.ts';
import type { Placement, PlacementRequest, Planner } from '../relay/placement.ts';
import type { CandidateSite } from './candidates.ts';
import { touchedTasks } from './components.ts';
import { createDeferralMeter, type DeferralMeter } from './deferral.ts';
import { triggerOf } from './decoherence.ts';
import { createDesk, type DeskRequest, type DeskTuning, type Posed } from './desk.ts';
import { INTERFERENCE_RESOLUTION } from './interference.ts';
import { createIntrospection } from './introspection.ts';
import { createObservatory, type Observatory } from './observatory.ts';
import { ENSEMBLE_PLANS } from './look.ts';
import { createPlacements } from './placements.ts';
import { type PortfolioPlan, solvePortfolio } from './portfolio.ts';
import { createPredictor, type Predictor } from './predictor.ts';
import { createPlanRecords, type PlanRecords } from './records.ts';
import { createTaken, type KnownPresence, sitesOffering } from './sites-now.ts';
import { createStrategist, type Strategist } from './strategist.ts';
import { STRATEGY_WEIGHTS } from './strategies.ts';
import { inThisThread, isSmall, type PlanningThreads } from './threads.ts';
import type { Tuning, TuningInForce } from './tuning.ts';
import { createTurns } from './turns.ts';
import { createWarmth } from './warmth.ts';

/** Places behind a taken slot; the site's own queue has the last word. */
const QUEUE_PER_SLOT = 4;
export const WAITING_MAX = 1_000;
/** Open requests are planned again this often without an event: telemetry brings news without saying so. */
const REPLAN_MS = 100;
/** A query without an expiry is worth waiting for this long. */
const LIFE_DEFAULT_MS = 120_000;
const SEED_MAX = 2 ** 31;
/** Requests put together as problems in one turn of the event loop: a few milliseconds. */
const TURN_REQUESTS_MAX = 100;
/** Tokens of a prompt by its size class, and of an answer that nobody has seen yet. */
const BYTES_PER_TOKEN = 4;
const ANSWER_TOKENS = 512;
const tokensOf = (sizeBucketBytes: number): number =>
  Math.ceil(sizeBucketBytes / BYTES_PER_TOKEN) + ANSWER_TOKENS;

export interface LivePlannerOptions {
  readonly presence: KnownPresence;
  readonly clock: Clock;
  readonly meters: Pick<CoordinatorMeters, 'planned'>;
  /** Asked for every plan, so that it can change while running. */
  readonly tuning: () => Tuning;
  /** First of the seeds, which are logged with every plan. */
  readonly seed?: number;
  /** Where larger problems are solved; without it, in this thread. */
  readonly threads?: PlanningThreads;
  /** Plans that were kept before. */
  readonly records?: PlanRecords;
  /** What the planner measures about itself failed; it goes on serving. */
  readonly failed?: (error: unknown) => void;
}

interface Pending {
  readonly request: PlacementRequest;
  /** An error instead: the planner could not do its work. */
  readonly resolve: (placement: Placement | undefined | QflError) => void;
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
  readonly threads: PlanningThreads['stats'];
  readonly waiting: number;
  readonly planned: number;
  close(): void;
}

const full = (): QflError =>
  new QflError('overloaded', {
    detail: `${WAITING_MAX} queries wait for a place already`,
    next: 'Try again in a moment.',
  });

export const createLivePlanner = (options: LivePlannerOptions): LivePlanner => {
  const { presence, clock, meters, failed = () => undefined } = options;
  const threads = options.threads ?? inThisThread(clock);
  const predictor = createPredictor();
  let seed = options.seed ?? 1;
  const nextSeed = (): number => (seed = (seed + 1) % SEED_MAX);
  const desk = createDesk(predictor, nextSeed);
  const taken = createTaken();
  const warmth = createWarmth();
  const records = options.records ?? createPlanRecords();
  const observatory = createObservatory(
    () => options.tuning().interferenceResolution ?? INTERFERENCE_RESOLUTION,
  );
  const deferral = createDeferralMeter();
  const strategist = createStrategist();
  const pending = new Map<string, Pending>();
  const turns = createTurns(() => performance.now());
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
    const {
      inForce,
      queueFactor,
      superposition = true,
      entanglement = true,
      groups,
      superpositionsMax,
    } = tuningNow();
    return {
      weights: STRATEGY_WEIGHTS[inForce],
      deferred: superposition && deferral.isOn,
      queuePerSlot: QUEUE_PER_SLOT * queueFactor,
      coupled: entanglement,
      turnMax: TURN_REQUESTS_MAX,
      ...(groups === undefined ? {} : { groups }),
      ...(superpositionsMax === undefined ? {} : { superpositionsMax }),
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

  const noticed = (input: Parameters<typeof triggerOf>[0], site?: SiteId): void => {
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
    desk.touch(site);
    schedule();
  };
  const placements = createPlacements({
    clock,
    presence,
    predictor,
    taken,
    warmth,
    records,
    deferral,
    strategist,
    strategy: () => tuningNow().inForce,
    queryIdOf: (taskId) => pending.get(taskId)?.request.queryId ?? taskId,
    ended(site, outcome) {
      if (outcome !== undefined) noticed({ coherence: null, outcome }, site);
      if (pending.size > 0) schedule();
      introspection.nudge();
    },
  });

  const settle = (taskId: string, placement: Placement | undefined | QflError): void => {
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
  /** What a plan commits, a piece each: explaining a thousand commits takes longer than the event loop may wait. */
  const carry = (posed: Posed, plan: PortfolioPlan, begunMs: number): void => {
    const sites = sitesFor(posed.requests);
    const { commits, refused } = desk.settle(posed, plan, sites);
    const tookMs = clock.monotonicMs() - begunMs;
    if (triggeredMs !== undefined) {
      observatory.replanned(clock.monotonicMs() - triggeredMs);
      triggeredMs = undefined;
    }
    if (commits.length > 0) observatory.planned(plan);
    introspection.placed(commits.map(({ request }) => request));
    planned += commits.length;
    const micros = Math.round(tookMs * 1_000);
    // All places are taken before anything else is planned; what is told of each comes a piece at a time.
    const places = commits.map((commit) => ({ commit, isUncontended: placements.take(commit, sites) }));
    turns.take(
      places.map(({ commit, isUncontended }) => () => {
        const { taskId } = commit.request;
        const waiter = pending.get(taskId);
        // The asker went away in between.
        if (waiter === undefined) return placements.giveBack(commit);
        meters.planned(tookMs / 1_000);
        settle(taskId, placements.placementOf(commit, isUncontended, waiter.request, sites, micros));
      }),
    );
    for (const { taskId } of refused) settle(taskId, undefined);
    // Emergencies were planned alone, or a site was lost meanwhile: the others come now.
    if (pending.size > 0) schedule();
  };
  const giveUp = (posed: Posed, thrown: unknown): void => {
    desk.abandon(posed);
    failed(thrown);
    for (const { taskId } of posed.requests) settle(taskId, toQflError(thrown));
  };
  const work = (posed: Posed, begunMs: number): void => {
    const { problem } = posed;
    if (isSmall(problem)) {
      let plan: PortfolioPlan;
      try {
        plan = solvePortfolio(problem, { seed: posed.seed, timeMs: 0, clock });
      } catch (error) {
        return giveUp(posed, error);
      }
      // Outside: whoever carries a plan has let go of what was posed, which must not be let go of twice.
      return carry(posed, plan, begunMs);
    }
    return void threads.plan(problem, posed.seed).then(
      (plan) => turns.take([() => carry(posed, plan, begunMs)]),
      (error: unknown) => giveUp(posed, error),
    );
  };
  const planAll = (): void => {
    scheduled = undefined;
    const nowMs = clock.monotonicMs();
    expire(nowMs);
    const open = desk.open();
    if (open.length === 0) return;
    const begunMs = performance.now();
    const { posed, refused } = desk.pose(nowMs, sitesFor(open), deskTuning());
    for (const { taskId } of refused) settle(taskId, undefined);
    turns.take(
      posed.map((one) => () => work(one, nowMs)),
      performance.now() - begunMs,
    );
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
    plansMax: () => options.tuning().ensemblePlansMax ?? ENSEMBLE_PLANS,
    threads,
    sitesFor,
    nextSeed,
    failed,
    looked: (coherence) => noticed({ coherence }),
  });

  const place = (request: PlacementRequest): Promise<Placement | undefined> =>
    new Promise((resolve, reject) => {
      const { signal } = request;
      if (signal?.aborted === true) return resolve(undefined);
      if (pending.size >= WAITING_MAX) return reject(full());
      const nowMs = clock.monotonicMs();
      const wallMs = clock.nowMs();
      counter += 1;
      const taskId = String(counter);
      const onAbort = (): void => {
        desk.drop(taskId);
        settle(taskId, undefined);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const settled = (placement: Placement | undefined | QflError): void => {
        signal?.removeEventListener('abort', onAbort);
        if (placement instanceof QflError) reject(placement);
        else resolve(placement);
      };
      pending.set(taskId, { request, resolve: settled });
      desk.add({
        taskId,
        model: request.model,
        allowedSites: request.candidates,
        excludedSites: (request.exclusions ?? []).map(({ site }) => site),
        affinitySite: warmth.siteOf(request.affinity, nowMs),
        apartSites: warmth.copySites(request.apart, nowMs),
        affinity: request.affinity,
        apart: request.apart,
        sizeBucketBytes: request.sizeBucketBytes,
        priority: request.priority,
        sender: request.sender,
        tokens: tokensOf(request.sizeBucketBytes),
        microEpsilon: request.microEpsilon ?? 0,
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
    get threads() {
      return threads.stats;
    },
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
      turns.close();
      clearTimeout(replan);
      clearImmediate(scheduled);
      for (const taskId of pending.keys()) {
        desk.drop(taskId);
        settle(taskId, undefined);
      }
    },
  };
};
