/**
 * The planner looking at itself beside its work: the ensemble of what is open (or was just placed, where nothing is), and, when enough was served, what
 * waiting is worth. One look at a time, in a thread (`threads.ts`); one that fails is told and stops nothing.
 */
import type { Clock } from '../../shared/clock.ts';
import { toQflError } from '../../shared/errors.ts';
import { CANDIDATE_DEFAULTS, type CandidateSite } from './candidates.ts';
import type { DeferralMeter } from './deferral.ts';
import type { Desk, DeskRequest, DeskTuning } from './desk.ts';
import { poseLook } from './look.ts';
import type { Observatory, Sight } from './observatory.ts';
import type { Predictor } from './predictor.ts';
import type { KnownPresence } from './sites-now.ts';
import { SUPERPOSITIONS_MAX } from './superposition.ts';
import type { PlanningThreads } from './threads.ts';

/** A look at open requests follows events; one at what was placed only keeps the figures fresh. */
const LOOK_OPEN_MS = 200;
const LOOK_PLACED_MS = 1_000;
const PROBES_MAX = 8;
/** Replaying costs the processor; its verdict changes slowly. */
const DEFERRAL_MS = 30_000;

export interface IntrospectionOptions {
  readonly clock: Clock;
  readonly desk: Desk;
  readonly predictor: Predictor;
  readonly presence: KnownPresence;
  readonly observatory: Observatory;
  readonly deferral: DeferralMeter;
  readonly tuning: () => DeskTuning;
  /** Plans drawn at one look at most. */
  readonly plansMax: () => number;
  readonly threads: PlanningThreads;
  readonly sitesFor: (requests: readonly DeskRequest[]) => readonly CandidateSite[];
  readonly nextSeed: () => number;
  readonly failed: (error: unknown) => void;
  /** Told the least coherence after every look. */
  readonly looked: (leastCoherence: number | null) => void;
}

export interface Introspection {
  /** These were just placed. */
  placed(requests: readonly DeskRequest[]): void;
  /** Something happened: looks if it is time. */
  nudge(): void;
  close(): void;
}

export const createIntrospection = (options: IntrospectionOptions): Introspection => {
  const { clock, desk, predictor, presence, observatory, deferral, tuning, sitesFor, threads } = options;
  let probes: readonly DeskRequest[] = [];
  let [lookedMs, measuredMs] = [-Infinity, -Infinity];
  let [isBusy, isClosed] = [false, false];

  const lookAtModel = async (model: string, requests: readonly DeskRequest[]): Promise<Sight | null> => {
    const nowMs = clock.monotonicMs();
    const own = requests.filter((request) => request.model === model);
    const sites = sitesFor(own).filter(({ models }) => models.includes(model));
    if (sites.length === 0) return null;
    const { weights, queuePerSlot, coupled, groups } = tuning();
    const waiting = new Set(desk.open().map(({ taskId }) => taskId));
    const commitMs = new Map(own.map(({ taskId }) => [taskId, desk.commitMsOf(taskId)]));
    const seed = options.nextSeed();
    const posed = poseLook({
      requests: own,
      sites,
      predictor,
      options: { ...CANDIDATE_DEFAULTS, weights, nowMs, queuePerSlot },
      seed,
      coupled,
      ...(groups === undefined ? {} : { groups }),
    });
    const look = await threads.look(posed, seed, options.plansMax());
    return {
      look,
      requests: own,
      waiting,
      // As they were when the look began: what was committed meanwhile was open then.
      commitMsOf: (taskId) => commitMs.get(taskId),
      ageMsOf: (site) => presence.telemetryAgeMs(site),
      nowMs,
    };
  };

  const measureDeferral = async (): Promise<void> => {
    if (!deferral.isDue() || clock.monotonicMs() - measuredMs < DEFERRAL_MS) return;
    measuredMs = clock.monotonicMs();
    const slots = presence
      .online()
      .map(
        (site) =>
          [site, presence.telemetry(site)?.models.reduce((sum, one) => sum + one.slots, 0) ?? 0] as const,
      );
    deferral.judged(await threads.deferral(deferral.begin(new Map(slots), tuning().weights)));
  };

  const introspect = async (): Promise<void> => {
    const { superpositionsMax = SUPERPOSITIONS_MAX } = tuning();
    const open = desk.open().slice(0, superpositionsMax);
    const waiting = new Set(open.map(({ taskId }) => taskId));
    const requests = [...open, ...probes.filter(({ taskId }) => !waiting.has(taskId))];
    const sights: Sight[] = [];
    for (const model of new Set(requests.map((request) => request.model))) {
      const sight = await lookAtModel(model, requests);
      if (sight !== null) sights.push(sight);
    }
    if (isClosed) return;
    observatory.saw(sights);
    options.looked(observatory.report().leastCoherence);
    await measureDeferral();
  };

  return {
    placed(requests) {
      if (requests.length > 0) probes = requests.slice(-PROBES_MAX);
    },
    nudge() {
      const nowMs = clock.monotonicMs();
      const everyMs = desk.open().length > 0 ? LOOK_OPEN_MS : LOOK_PLACED_MS;
      if (isBusy || isClosed || nowMs - lookedMs < everyMs) return;
      isBusy = true;
      lookedMs = nowMs;
      introspect()
        .catch((error: unknown) => {
          // What only measures must not stop what serves.
          if (!isClosed) options.failed(toQflError(error));
        })
        .finally(() => (isBusy = false));
    },
    close: () => void (isClosed = true),
  };
};
