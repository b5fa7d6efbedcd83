/**
 * Where requests stand until they are committed to a site. Immediate: each is committed as it comes, to a free slot or a place behind one. Deferred:
 * it stays open, planned but not bound, until a slot of its planned site is free (the moment that slot would idle). Past the moment when waiting puts its
 * deadline at risk it is no longer in superposition and goes ahead of others, by its price. Only components of the graph of tasks, sites and
 * couplings in which something changed are posed as problems; the others are left as they are.
 * Pure: time, the state of the sites and the plans come as arguments; the live planner and the replay run the same code.
 */
import type { SiteId } from '../../shared/ids.ts';
import { type BatchPlan, batchPlan, batchProblem } from './batch.ts';
import {
  ableAmong,
  CANDIDATE_DEFAULTS,
  type CandidateOptions,
  type CandidateSite,
  lossesOf,
  mayServe,
  type PlanRequest,
} from './candidates.ts';
import { planningComponents } from './components.ts';
import { type CouplingTokens, couplingsOf, GROUP_LIMITS, type GroupLimits } from './couplings.ts';
import type { Forecaster } from './predictor.ts';
import { type PortfolioPlan, solvePortfolio } from './portfolio.ts';
import type { Weights } from './strategies.ts';
import { optionCost, type Problem } from './problem.ts';
import { commitMsOf, SUPERPOSITIONS_MAX } from './superposition.ts';
import { EMERGENCY_PRIORITY } from '../../shared/wire/envelope.ts';

export interface DeskRequest extends PlanRequest, CouplingTokens {
  readonly arrivedMs: number;
  readonly deadlineMs: number;
}

export interface DeskTuning {
  readonly weights: Weights;
  readonly deferred: boolean;
  /** Places behind taken slots, per slot. */
  readonly queuePerSlot: number;
  readonly coupled: boolean;
  readonly groups?: GroupLimits;
  /** Requests that are held open and planned together at most. */
  readonly superpositionsMax?: number;
  /** Requests looked at in one turn at most, the most urgent and longest waiting first; without it, all. */
  readonly turnMax?: number;
}

/** A component to be planned. Its requests and sites are out of further problems until it is settled. */
export interface Posed {
  readonly problem: Problem;
  readonly seed: number;
  readonly requests: readonly DeskRequest[];
  readonly sites: readonly CandidateSite[];
  readonly deferred: boolean;
  readonly nowMs: number;
}

export type CommitReason =
  /** Committed as it came. */
  | 'immediate'
  /** A slot became free. */
  | 'slot'
  /** A slot became free, after the moment until which waiting was without risk to the deadline. */
  | 'late';

export interface Commit {
  readonly request: DeskRequest;
  readonly site: SiteId;
  readonly reason: CommitReason;
  readonly plan: BatchPlan;
  /** Its place in `plan`. */
  readonly at: number;
}

export interface Decision {
  readonly commits: readonly Commit[];
  /** No site that may serve it has a place. */
  readonly refused: readonly DeskRequest[];
}

export interface Desk {
  add(request: DeskRequest): void;
  /** The asker went away. */
  drop(taskId: string): void;
  /** Something happened at a site that its state does not show, or anywhere: what it touches is posed again. */
  touch(site?: SiteId): void;
  /** What has to be planned now, and who can go nowhere. Without `limits` of time, `posed` may be planned in any order. */
  pose(
    nowMs: number,
    sites: readonly CandidateSite[],
    tuning: DeskTuning,
  ): { readonly posed: readonly Posed[]; readonly refused: readonly DeskRequest[] };
  /** Gives up on a problem: its requests are forgotten. */
  abandon(posed: Posed): void;
  /** Commits what a plan says, as far as it still holds: a request or a site that went away meanwhile takes nobody else with it. */
  settle(posed: Posed, plan: PortfolioPlan, sites: readonly CandidateSite[]): Decision;
  /** Both at once, planned in this thread. */
  decide(nowMs: number, sites: readonly CandidateSite[], tuning: DeskTuning): Decision;
  /** Requests that wait for a commit, in order of arrival. */
  open(): readonly DeskRequest[];
  /** t_commit of an open request. */
  commitMsOf(taskId: string): number | undefined;
}

const freeSlots = ({ slots, busySlots }: CandidateSite): number => Math.max(0, slots - busySlots);
const isEmergency = ({ priority = 0 }: PlanRequest): boolean => priority >= EMERGENCY_PRIORITY;
/** Stable: among equals the one that came first. */
const byUrgency = (one: PlanRequest, other: PlanRequest): number =>
  (other.priority ?? 0) - (one.priority ?? 0);
const placeOf = (model: string, siteId: SiteId): string => `${siteId} ${model}`;
/** All of a site's state that a plan depends on. */
const stateOf = (site: CandidateSite): string =>
  [
    site.slots,
    site.busySlots,
    site.emergencySlots,
    site.tokensMax,
    site.tokensBusy,
    site.tokenPriceMicros,
  ].join();
const widened = (site: CandidateSite): CandidateSite => ({
  ...site,
  slots: site.slots + (site.emergencySlots ?? 0),
});

/** Who takes the free slots of a site among those planned there: who has most to lose by waiting. */
const startersOf = (plan: BatchPlan, sites: readonly CandidateSite[]): ReadonlySet<number> => {
  const lossOf = (at: number): number => {
    const { waitingCost, options } = plan.problem.tasks[at]!;
    const option = options.find(({ siteId }) => siteId === plan.sites[at]);
    return waitingCost - (option === undefined ? 0 : optionCost(option));
  };
  return new Set(
    sites.flatMap((site) =>
      [...plan.sites.keys()]
        .filter((at) => plan.sites[at] === site.siteId)
        .toSorted((a, b) => lossOf(b) - lossOf(a))
        .slice(0, freeSlots(site)),
    ),
  );
};

export const createDesk = (predictor: Forecaster, seedFrom: () => number): Desk => {
  const waiting = new Map<string, DeskRequest>();
  const commitMs = new Map<string, number>();
  /** Posed and not settled. */
  const planning = new Set<string>();
  const locked = new Map<string, number>();
  /** What was touched since it was last posed. */
  const dirty = new Set<string>();
  const dirtySites = new Set<SiteId>();
  const states = new Map<string, string>();

  const forget = (taskId: string): void => {
    waiting.delete(taskId);
    commitMs.delete(taskId);
    dirty.delete(taskId);
  };
  const lock = (model: string, sites: readonly CandidateSite[], by: 1 | -1): void => {
    for (const { siteId } of sites) {
      const place = placeOf(model, siteId);
      const next = (locked.get(place) ?? 0) + by;
      if (next === 0) locked.delete(place);
      else locked.set(place, next);
    }
  };

  /** t_commit is set once, by what was known when the request came. */
  const noteCommit = (request: DeskRequest, able: readonly CandidateSite[]): void => {
    if (commitMs.has(request.taskId)) return;
    const predictions = able.map(
      (site) => predictor.predict(site.siteId, request.model, request.sizeBucketBytes ?? 0)?.q95Ms ?? 0,
    );
    // A slot that would idle is an event, not a time: `decide` is asked at every one.
    const atMs = commitMsOf({
      deadlineMs: request.deadlineMs,
      serviceQ95Ms: Math.max(0, ...predictions),
      slotIdleMs: Infinity,
    });
    commitMs.set(request.taskId, atMs);
  };
  /**
   * The requests planned together: none while no slot is free, otherwise as many as could use the slots there are, those first that lose most by waiting.
   */
  const foremost = (
    open: readonly DeskRequest[],
    sites: readonly CandidateSite[],
    options: CandidateOptions,
    superpositionsMax: number,
  ): readonly DeskRequest[] => {
    const free = sites.reduce((sum, site) => sum + freeSlots(site), 0);
    if (free === 0) return [];
    const countMax = Math.min(
      superpositionsMax,
      sites.reduce((sum, { slots }) => sum + slots, free),
    );
    if (open.length <= countMax) return open;
    const losses = lossesOf(open, sites, predictor, options);
    return [...open.keys()]
      .toSorted((a, b) => losses[b]! - losses[a]!)
      .slice(0, countMax)
      .map((at) => open[at]!);
  };

  /** One component as a problem. Emergencies go first, with the slots that are kept for them; the others follow with what is left. */
  const poseComponent = (
    component: readonly DeskRequest[],
    sites: readonly CandidateSite[],
    nowMs: number,
    tuning: DeskTuning,
  ): Posed | undefined => {
    const reserved = sites.some(({ emergencySlots = 0 }) => emergencySlots > 0);
    const urgent = reserved ? component.filter(isEmergency) : [];
    const own = urgent.length > 0 ? urgent : component;
    const here = urgent.length > 0 ? sites.map(widened) : sites;
    const options: CandidateOptions = {
      ...CANDIDATE_DEFAULTS,
      weights: tuning.weights,
      nowMs,
      queuePerSlot: tuning.queuePerSlot,
    };
    const { groups = GROUP_LIMITS, superpositionsMax = SUPERPOSITIONS_MAX, deferred, coupled } = tuning;
    const requests = deferred ? foremost(own, here, options, superpositionsMax) : own;
    for (const { taskId } of own) dirty.delete(taskId);
    // Urgent ones that must wait for a slot do not keep the others from slots that they may not take anyway.
    if (requests.length === 0)
      return own === component
        ? undefined
        : poseComponent(
            component.filter((request) => !isEmergency(request)),
            sites,
            nowMs,
            tuning,
          );
    const seed = seedFrom();
    const problem = batchProblem({ requests, sites: here, predictor, options, seed, coupled, groups });
    return { problem, seed, requests, sites: here, deferred, nowMs };
  };

  /** Components of the open requests of one model in which something changed. */
  const touchedComponents = (
    model: string,
    open: readonly DeskRequest[],
    able: readonly (readonly CandidateSite[])[],
    changed: ReadonlySet<SiteId>,
    { coupled, groups }: DeskTuning,
  ): readonly (readonly number[])[] => {
    const couplings = coupled ? couplingsOf(open, { affinity: -1, apart: 1 }, groups) : [];
    const sitesOf = able.map((sites) => sites.map(({ siteId }) => siteId));
    return planningComponents(sitesOf, couplings).filter((component) => {
      const sites = new Set(component.flatMap((at) => sitesOf[at]!));
      if ([...sites].some((siteId) => locked.has(placeOf(model, siteId)))) return false;
      return (
        component.some((at) => dirty.has(open[at]!.taskId)) ||
        [...sites].some((siteId) => changed.has(siteId))
      );
    });
  };

  /** Sites whose state is not what it was when they were last looked at, and those that are gone. */
  const changedSites = (
    model: string,
    open: readonly DeskRequest[],
    sites: readonly CandidateSite[],
  ): ReadonlySet<SiteId> => {
    const changed = new Set(dirtySites);
    const present = new Set<SiteId>();
    for (const site of sites) {
      present.add(site.siteId);
      const place = placeOf(model, site.siteId);
      // What is being planned is looked at again when that is settled.
      if (locked.has(place) || states.get(place) === stateOf(site)) continue;
      changed.add(site.siteId);
      states.set(place, stateOf(site));
    }
    for (const request of open)
      for (const siteId of request.allowedSites)
        if (!present.has(siteId) && states.delete(placeOf(model, siteId))) dirty.add(request.taskId);
    return changed;
  };

  const poseModel = (
    model: string,
    open: readonly DeskRequest[],
    sites: readonly CandidateSite[],
    nowMs: number,
    tuning: DeskTuning,
  ): { posed: Posed[]; refused: DeskRequest[] } => {
    // All that could serve is being planned with already.
    if (sites.length > 0 && sites.every(({ siteId }) => locked.has(placeOf(model, siteId))))
      return { posed: [], refused: [] };
    const ableFor = ableAmong(sites);
    for (const request of tuning.deferred ? open : [])
      if (!commitMs.has(request.taskId)) noteCommit(request, ableFor(request));
    if (tuning.deferred && sites.every((site) => freeSlots(widened(site)) === 0)) {
      const stuck = open.filter((request) => !sites.some((site) => mayServe(request, site)));
      for (const { taskId } of stuck) forget(taskId);
      changedSites(model, open, sites);
      return { posed: [], refused: stuck };
    }
    const able = open.map(ableFor);
    const refused = open.filter((_, at) => able[at]!.length === 0);
    for (const { taskId } of refused) forget(taskId);
    const left = [...open.keys()].filter((at) => able[at]!.length > 0);
    const requests = left.map((at) => open[at]!);
    const ableOf = left.map((at) => able[at]!);
    for (const { taskId } of requests) if (nowMs >= (commitMs.get(taskId) ?? Infinity)) dirty.add(taskId);
    const changed = changedSites(model, requests, sites);
    const posed = touchedComponents(model, requests, ableOf, changed, tuning).flatMap((component) => {
      const own = new Set(component.flatMap((at) => ableOf[at]!.map(({ siteId }) => siteId)));
      const made = poseComponent(
        component.map((at) => requests[at]!),
        sites.filter(({ siteId }) => own.has(siteId)),
        nowMs,
        tuning,
      );
      if (made === undefined) return [];
      for (const { taskId } of made.requests) planning.add(taskId);
      lock(model, made.sites, 1);
      return [made];
    });
    return { posed, refused };
  };

  /**
   * At most `turnMax` of the open requests of a model, the most urgent first: those that can go somewhere now, and those that never can. Whoever waits for a
   * site without room must not keep others from a site that has some; who is left out comes in the next turn.
   */
  const turnOf = (
    model: string,
    open: readonly DeskRequest[],
    sites: readonly CandidateSite[],
    { turnMax = Infinity, deferred }: DeskTuning,
  ): readonly DeskRequest[] => {
    if (open.length <= turnMax) return open;
    const offering = new Set(sites.map(({ siteId }) => siteId));
    const ready = new Set(
      sites
        .filter((site) => !locked.has(placeOf(model, site.siteId)))
        .filter((site) => !deferred || freeSlots(widened(site)) > 0)
        .map(({ siteId }) => siteId),
    );
    const mayGo = ({ allowedSites, excludedSites }: DeskRequest, among: ReadonlySet<SiteId>): boolean =>
      allowedSites.some((siteId) => among.has(siteId) && !excludedSites.includes(siteId));
    const able = open
      .filter((request) => mayGo(request, ready) || !mayGo(request, offering))
      .toSorted(byUrgency);
    for (const { taskId } of able.slice(turnMax)) dirty.add(taskId);
    return able.slice(0, turnMax);
  };

  const pose: Desk['pose'] = (nowMs, sites, tuning) => {
    const byModel = new Map<string, DeskRequest[]>();
    for (const request of waiting.values()) {
      if (planning.has(request.taskId)) continue;
      const group = byModel.get(request.model);
      if (group === undefined) byModel.set(request.model, [request]);
      else group.push(request);
    }
    const made = [...byModel].map(([model, requests]) => {
      const here = sites.filter(({ models }) => models.includes(model));
      return poseModel(model, turnOf(model, requests, here, tuning), here, nowMs, tuning);
    });
    for (const siteId of dirtySites)
      if (![...locked.keys()].some((place) => place.startsWith(`${siteId} `))) dirtySites.delete(siteId);
    return { posed: made.flatMap(({ posed }) => posed), refused: made.flatMap(({ refused }) => refused) };
  };

  const settle: Desk['settle'] = (posed, made, sites) => {
    const { requests, deferred, nowMs, problem } = posed;
    const model = requests[0]?.model ?? '';
    lock(model, posed.sites, -1);
    for (const { taskId } of requests) planning.delete(taskId);
    const plan = batchPlan(problem, made);
    const present = new Set(sites.filter((site) => site.models.includes(model)).map(({ siteId }) => siteId));
    const starters = deferred ? startersOf(plan, posed.sites) : undefined;
    const commits: Commit[] = [];
    const refused: DeskRequest[] = [];
    requests.forEach((request, at) => {
      if (waiting.get(request.taskId) !== request) return;
      const site = plan.sites[at] ?? null;
      if (site !== null && !present.has(site)) {
        // Lost while it was planned: with what is left it is planned again at once.
        dirty.add(request.taskId);
      } else if (site === null) {
        if (!deferred) refused.push(request);
      } else if (starters?.has(at) !== false) {
        const atMs = commitMs.get(request.taskId);
        const reason =
          atMs === undefined || request.arrivedMs === nowMs ? 'immediate' : nowMs < atMs ? 'slot' : 'late';
        commits.push({ request, site, reason, plan, at });
      }
    });
    for (const { request, site } of commits) {
      forget(request.taskId);
      // Taken now; free again before anyone looks, it would seem never to have changed.
      states.delete(placeOf(model, site));
    }
    for (const { taskId } of refused) forget(taskId);
    return { commits, refused };
  };

  return {
    add(request) {
      waiting.set(request.taskId, request);
      dirty.add(request.taskId);
    },
    drop: forget,
    touch(site) {
      if (site === undefined) for (const taskId of waiting.keys()) dirty.add(taskId);
      else dirtySites.add(site);
    },
    pose,
    abandon({ requests, sites }) {
      lock(requests[0]?.model ?? '', sites, -1);
      for (const { taskId } of requests) {
        planning.delete(taskId);
        forget(taskId);
      }
    },
    settle,
    decide(nowMs, sites, tuning) {
      const commits: Commit[] = [];
      const refused: DeskRequest[] = [];
      let now = sites;
      // Once more after emergencies, for those that come after them.
      for (let turn = 0; turn < 2; turn += 1) {
        const asked = pose(nowMs, now, tuning);
        refused.push(...asked.refused);
        const decisions = asked.posed.map((one) =>
          settle(one, solvePortfolio(one.problem, { seed: one.seed, timeMs: 0 }), now),
        );
        if (decisions.length === 0) break;
        for (const decision of decisions) {
          commits.push(...decision.commits);
          refused.push(...decision.refused);
        }
        if (waiting.size === 0 || !sites.some(({ emergencySlots = 0 }) => emergencySlots > 0)) break;
        const taken = (siteId: SiteId): number => commits.filter(({ site }) => site === siteId).length;
        now = sites.map((site) => ({ ...site, busySlots: site.busySlots + taken(site.siteId) }));
      }
      return { commits, refused };
    },
    open: () => [...waiting.values()],
    commitMsOf: (taskId) => commitMs.get(taskId),
  };
};
