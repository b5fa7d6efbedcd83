/**
 * What it is worth to wait with a decision: the newest served requests are replayed twice by the planner's own code, committed at once and held open until
 * a slot of their planned site is free. The feature is on only while the saving is above zero with 95 % confidence (one-sided, batch
 * means). A request that was served elsewhere would have taken its measured time scaled by what both sites are predicted to take.
 */
import type { SiteId } from '../../shared/ids.ts';
import { createPredictor } from './predictor.ts';
import { deskPolicy } from './desk-policy.ts';
import type { DeskTuning } from './desk.ts';
import { type SimulatedRequest, simulating, type SimulationResult } from './simulate.ts';
import type { Weights } from './strategies.ts';

export interface ServedRequest {
  readonly arrivedMs: number;
  readonly sizeBucketBytes: number;
  readonly priority: number;
  readonly deadlineMs: number;
  /** Predicted at every candidate when it was planned; the served one included. */
  readonly predictedMs: ReadonlyMap<SiteId, number>;
  readonly site: SiteId;
  readonly serviceMs: number;
}

export interface DeferralValue {
  /** Mean time to completion saved per request. */
  readonly savedMs: number;
  /** Lower end of the one-sided 95 % interval. */
  readonly lowMs: number;
  readonly requests: number;
}

export const SERVED_KEPT = 500;
export const SERVED_MIN = 100;
const BATCHES = 10;
/** Student's t, one-sided 95 %, 9 degrees of freedom. */
const T_95_9 = 1.833;
/** A slower site than this many times the served one is not made slower still. */
const RATIO_MAX = 10;

/** One-sided 95 % interval of a mean by batch means: neighbours in time are not independent, batches nearly are. */
export const batchMeansInterval = (
  values: readonly number[],
): { readonly mean: number; readonly low: number } => {
  const size = Math.floor(values.length / BATCHES);
  const means = Array.from({ length: BATCHES }, (_, at) => {
    const batch = values.slice(at * size, at === BATCHES - 1 ? undefined : (at + 1) * size);
    return batch.reduce((sum, value) => sum + value, 0) / Math.max(1, batch.length);
  });
  const mean = means.reduce((sum, value) => sum + value, 0) / BATCHES;
  const variance = means.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (BATCHES - 1);
  return { mean, low: mean - T_95_9 * Math.sqrt(variance / BATCHES) };
};

const asSimulated = (served: ServedRequest, sites: readonly SiteId[]): SimulatedRequest => {
  const base = Math.max(1, served.predictedMs.get(served.site) ?? 1);
  const at = (site: SiteId): number => {
    const predicted = served.predictedMs.get(site);
    if (predicted === undefined) return Infinity;
    return served.serviceMs * Math.min(RATIO_MAX, Math.max(1 / RATIO_MAX, Math.max(1, predicted) / base));
  };
  return {
    atMs: served.arrivedMs,
    sizeBucketBytes: served.sizeBucketBytes,
    priority: served.priority,
    deadlineMs: served.deadlineMs,
    serviceMs: Float64Array.from(sites, at),
  };
};

const differences = (immediate: SimulationResult, deferred: SimulationResult): number[] =>
  immediate.outcomes.flatMap((outcome, at) => {
    const other = deferred.outcomes[at];
    return outcome === null || other === null || other === undefined
      ? []
      : [outcome.completionMs - other.completionMs];
  });

export interface DeferralInput {
  readonly served: readonly ServedRequest[];
  readonly slotsOf: ReadonlyMap<SiteId, number>;
  readonly weights: Weights;
  readonly seed: number;
}

/** Both replays, in steps. null when there is too little to judge. */
export function* measuringDeferral(input: DeferralInput): Generator<void, DeferralValue | null> {
  const { slotsOf, weights, seed } = input;
  if (input.served.length < SERVED_MIN || slotsOf.size === 0) return null;
  const siteIds = [...slotsOf.keys()];
  const sites = siteIds.map((siteId) => ({ siteId, slots: Math.max(1, slotsOf.get(siteId) ?? 1) }));
  const requests = input.served
    .filter(({ site }) => slotsOf.has(site))
    .toSorted((a, b) => a.arrivedMs - b.arrivedMs)
    .map((one) => asSimulated(one, siteIds));
  const replay = (deferred: boolean): Generator<void, SimulationResult> => {
    // No request is refused in either replay, so that both answer the same ones.
    const tuning: DeskTuning = { weights, deferred, queuePerSlot: requests.length, coupled: false };
    const policy = deskPolicy({ sites, requests, tuning: () => tuning, seed, predictor: createPredictor() });
    return simulating(sites, requests, policy, 'priority');
  };
  const immediate = yield* replay(false);
  const deferred = yield* replay(true);
  const saved = differences(immediate, deferred);
  if (saved.length < SERVED_MIN) return null;
  const { mean, low } = batchMeansInterval(saved);
  return { savedMs: mean, lowMs: low, requests: saved.length };
}

export interface DeferralMeter {
  served(request: ServedRequest): void;
  /** True when enough came since the last measurement. */
  isDue(): boolean;
  /** What is to be measured now: a replay of what was served last. */
  begin(slotsOf: ReadonlyMap<SiteId, number>, weights: Weights): DeferralInput;
  /** The verdict changes. */
  judged(value: DeferralValue | null): void;
  readonly isOn: boolean;
  readonly value: DeferralValue | null;
}

export const createDeferralMeter = (): DeferralMeter => {
  const served: ServedRequest[] = [];
  let [fresh, seed] = [0, 0];
  let value: DeferralValue | null = null;
  return {
    served(request) {
      served.push(request);
      if (served.length > SERVED_KEPT) served.shift();
      fresh += 1;
    },
    isDue: () => fresh >= SERVED_MIN,
    begin(slotsOf, weights) {
      fresh = 0;
      seed += 1;
      return { served: [...served], slotsOf, weights, seed };
    },
    judged: (next) => void (value = next),
    get isOn() {
      return value !== null && value.lowMs > 0;
    },
    get value() {
      return value;
    },
  };
};
