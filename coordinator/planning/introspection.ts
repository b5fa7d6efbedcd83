/**
 * The planner looking at itself in quiet moments: the ensemble of what is open (or was just placed, where nothing is), and, when enough was served, what
 * holding requests open is worth. Nothing here delays a placement.
 */
import type { Clock } from '../../shared/clock.ts';
import { createBackground } from './background.ts';
import { CANDIDATE_DEFAULTS, type CandidateSite } from './candidates.ts';
import type { DeferralMeter } from './deferral.ts';
import type { Desk, DeskRequest, DeskTuning } from './desk.ts';
import { looking } from './look.ts';
import type { Observatory, Sight } from './observatory.ts';
import type { Predictor } from './predictor.ts';
import type { KnownPresence } from './sites-now.ts';
import { SUPERPOSITIONS_MAX } from './superposition.ts';

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
  const { clock, desk, predictor, presence, observatory, deferral, tuning, sitesFor } = options;
  const background = createBackground(clock, options.failed);
  let probes: readonly DeskRequest[] = [];
  let [lookedMs, measuredMs] = [-Infinity, -Infinity];

  function* lookAt(
    model: string,
    requests: readonly DeskRequest[],
    nowMs: number,
  ): Generator<void, Sight | null> {
    const sites = sitesFor(requests);
    if (sites.length === 0) return null;
    const { weights, queuePerSlot, coupled } = tuning();
    const waiting = new Set(desk.open().map(({ taskId }) => taskId));
    const own = requests.filter((request) => request.model === model);
    const look = yield* looking({
      requests: own,
      sites: sites.filter(({ models }) => models.includes(model)),
      predictor,
      options: { ...CANDIDATE_DEFAULTS, weights, nowMs, queuePerSlot },
      seed: options.nextSeed(),
      coupled,
    });
    return {
      look,
      requests: own,
      waiting,
      commitMsOf: (taskId) => desk.commitMsOf(taskId),
      ageMsOf: (site) => presence.telemetryAgeMs(site),
      nowMs,
    };
  }
  function* introspect(): Generator<void, void> {
    const open = desk.open().slice(0, SUPERPOSITIONS_MAX);
    const waiting = new Set(open.map(({ taskId }) => taskId));
    const requests = [...open, ...probes.filter(({ taskId }) => !waiting.has(taskId))];
    const sights: Sight[] = [];
    for (const model of new Set(requests.map((request) => request.model))) {
      const sight = yield* lookAt(model, requests, clock.monotonicMs());
      if (sight !== null) sights.push(sight);
    }
    observatory.saw(sights);
    options.looked(observatory.report().leastCoherence);
    if (!deferral.isDue() || clock.monotonicMs() - measuredMs < DEFERRAL_MS) return;
    measuredMs = clock.monotonicMs();
    const slots = presence
      .online()
      .map(
        (site) =>
          [site, presence.telemetry(site)?.models.reduce((sum, one) => sum + one.slots, 0) ?? 0] as const,
      );
    yield* deferral.measuring(new Map(slots), tuning().weights);
  }

  return {
    placed(requests) {
      if (requests.length > 0) probes = requests.slice(-PROBES_MAX);
    },
    nudge() {
      const nowMs = clock.monotonicMs();
      const everyMs = desk.open().length > 0 ? LOOK_OPEN_MS : LOOK_PLACED_MS;
      if (nowMs - lookedMs < everyMs || !background.start(introspect())) return;
      lookedMs = nowMs;
    },
    close: () => background.close(),
  };
};
