/**
 * Where requests stand until they are committed to a site. Immediate: each is committed as it comes, to a free slot or a place behind one. Deferred:
 * it stays open, planned but not bound, until a slot of its planned site is free (the moment that slot would idle). Past the moment when waiting puts its
 * deadline at risk it is no longer in superposition and goes ahead of others, by its price.
 * Pure: time and the state of the sites come as arguments; the live planner and the replay run the same code.
 */
import type { SiteId } from '../../shared/ids.ts';
import { type BatchPlan, planBatch } from './batch.ts';
import {
  CANDIDATE_DEFAULTS,
  type CandidateOptions,
  type CandidateSite,
  lossesOf,
  mayServe,
  type PlanRequest,
} from './candidates.ts';
import type { CouplingTokens } from './couplings.ts';
import type { Predictor } from './predictor.ts';
import type { Weights } from './strategies.ts';
import { optionCost } from './problem.ts';
import { commitMsOf, SUPERPOSITIONS_MAX } from './superposition.ts';

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
  decide(nowMs: number, sites: readonly CandidateSite[], tuning: DeskTuning): Decision;
  /** Requests that wait for a commit, in order of arrival. */
  open(): readonly DeskRequest[];
  /** t_commit of an open request. */
  commitMsOf(taskId: string): number | undefined;
}

const freeSlots = ({ slots, busySlots }: CandidateSite): number => Math.max(0, slots - busySlots);

export const createDesk = (predictor: Predictor, seedFrom: () => number): Desk => {
  const waiting = new Map<string, DeskRequest>();
  const commitMs = new Map<string, number>();
  const forget = ({ taskId }: DeskRequest): void => {
    waiting.delete(taskId);
    commitMs.delete(taskId);
  };

  /** t_commit is set once, by what was known when the request came. */
  const noteCommit = (request: DeskRequest, sites: readonly CandidateSite[]): void => {
    if (commitMs.has(request.taskId)) return;
    const able = sites.filter((site) => mayServe(request, site));
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
  ): readonly DeskRequest[] => {
    const free = sites.reduce((sum, site) => sum + freeSlots(site), 0);
    if (free === 0) return [];
    const countMax = Math.min(
      SUPERPOSITIONS_MAX,
      sites.reduce((sum, { slots }) => sum + slots, free),
    );
    if (open.length <= countMax) return open;
    const losses = lossesOf(open, sites, predictor, options);
    return [...open.keys()]
      .toSorted((a, b) => losses[b]! - losses[a]!)
      .slice(0, countMax)
      .map((at) => open[at]!);
  };
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

  const decideModel = (
    open: readonly DeskRequest[],
    sites: readonly CandidateSite[],
    nowMs: number,
    tuning: DeskTuning,
  ): Decision => {
    const options: CandidateOptions = {
      ...CANDIDATE_DEFAULTS,
      weights: tuning.weights,
      nowMs,
      queuePerSlot: tuning.queuePerSlot,
    };
    const stuck = open.filter((request) => !sites.some((site) => mayServe(request, site)));
    for (const request of stuck) forget(request);
    const able = stuck.length === 0 ? open : open.filter(({ taskId }) => waiting.has(taskId));
    if (tuning.deferred) for (const request of able) noteCommit(request, sites);
    const requests = tuning.deferred ? foremost(able, sites, options) : able;
    if (requests.length === 0) return { commits: [], refused: stuck };
    const plan = planBatch({
      requests,
      sites,
      predictor,
      options,
      seed: seedFrom(),
      coupled: tuning.coupled,
    });
    const starters = tuning.deferred ? startersOf(plan, sites) : undefined;
    const commits = requests.flatMap((request, at): Commit[] => {
      const site = plan.sites[at] ?? null;
      if (site === null || starters?.has(at) === false) return [];
      const atMs = commitMs.get(request.taskId);
      const reason =
        atMs === undefined || request.arrivedMs === nowMs ? 'immediate' : nowMs < atMs ? 'slot' : 'late';
      return [{ request, site, reason, plan, at }];
    });
    for (const { request } of commits) forget(request);
    const refused = tuning.deferred ? [] : requests.filter(({ taskId }) => waiting.has(taskId));
    for (const request of refused) forget(request);
    return { commits, refused: [...stuck, ...refused] };
  };

  return {
    add: (request) => void waiting.set(request.taskId, request),
    drop(taskId) {
      waiting.delete(taskId);
      commitMs.delete(taskId);
    },
    decide(nowMs, sites, tuning) {
      const byModel = new Map<string, DeskRequest[]>();
      for (const request of waiting.values()) {
        const group = byModel.get(request.model);
        if (group === undefined) byModel.set(request.model, [request]);
        else group.push(request);
      }
      const decisions = [...byModel].map(([model, requests]) =>
        decideModel(
          requests,
          sites.filter(({ models }) => models.includes(model)),
          nowMs,
          tuning,
        ),
      );
      return {
        commits: decisions.flatMap(({ commits }) => commits),
        refused: decisions.flatMap(({ refused }) => refused),
      };
    },
    open: () => [...waiting.values()],
    commitMsOf: (taskId) => commitMs.get(taskId),
  };
};
