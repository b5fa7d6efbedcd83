/** Plans and the planner's own state, as the coordinator's HTTP face shows them. Figures are measured; null is "not measured yet" or "does not apply now". */
import { z } from 'zod';
import { SiteId } from '../ids.ts';

const Measured = z.number().nullable();

/** One site that the query was sealed for, and what the plan thought of it. */
export const PlanCandidate = z.strictObject({
  site: SiteId,
  verdict: z.enum(['chosen', 'possible', 'not_online_or_stale', 'does_not_offer_the_model', 'no_place']),
  /** Weighted milliseconds of the plan's objective. */
  latencyCost: Measured,
  preferenceCost: Measured,
  moneyCost: Measured,
  privacyCost: Measured,
  /** Price of a place there: what taking it costs everybody else (dual). */
  placePrice: Measured,
  predictedMeanMs: Measured,
  predictedQ95Ms: Measured,
  busySlots: z.int().nullable(),
  slots: z.int().nullable(),
  /** Tokens in use there and the most it holds; null where they do not bind. */
  busyTokens: z.int().nullable(),
  tokensMax: z.int().nullable(),
  telemetryAgeMs: Measured,
});
export type PlanCandidate = z.infer<typeof PlanCandidate>;

export const PlanRecord = z.strictObject({
  queryId: z.string().max(64),
  model: z.string().max(128),
  sender: SiteId.nullable(),
  priority: z.int(),
  sizeBucketBytes: z.int(),
  site: SiteId,
  /** `immediate`: committed as it came. `slot`: held open until a slot was free. `late`: held open past the moment that was without risk. */
  commit: z.enum(['immediate', 'slot', 'late']),
  strategy: z.string().max(40),
  solver: z.string().max(40),
  seed: z.int(),
  /** Of the whole batch, in weighted milliseconds, and its parts by cause. */
  cost: z.number(),
  costParts: z.strictObject({
    latency: z.number(),
    preference: z.number(),
    load: z.number(),
    money: z.number(),
    privacy: z.number(),
    coupling: z.number(),
    waiting: z.number(),
  }),
  /** What proves the bound. */
  certificate: z.enum(['prices', 'shares', 'multipliers']).nullable(),
  /** Tokens of prompt and answer, as estimated from the size class. */
  tokens: z.int().nonnegative(),
  bound: z.number(),
  independentCost: z.number(),
  batch: z.int().positive(),
  /** Requests of the same batch that this one was tied to, and what sharing a site adds to the cost. */
  couplings: z.array(z.strictObject({ queryId: z.string().max(64), weight: z.number() })).max(16),
  candidates: z.array(PlanCandidate).max(64),
  /** Sites that refused or were lost before this plan. */
  exclusions: z.array(z.strictObject({ site: SiteId, code: z.string().max(40) })).max(64),
  arrivedMs: z.number(),
  committedMs: z.number(),
  waitedMs: z.number(),
  planMicros: z.number(),
  /** The solver's own time, and its thread's processor time where the system tells it. */
  solveMicros: z.number(),
  cpuMicros: z.number().nullable(),
});
export type PlanRecord = z.infer<typeof PlanRecord>;

export const PlanList = z.strictObject({ plans: z.array(PlanRecord), kept: z.int(), keptMax: z.int() });

const Deferral = z.strictObject({
  isOn: z.boolean(),
  why: z.string(),
  /** Mean time to completion saved per request in the replay, and the lower end of its one-sided 95 % interval. */
  savedMs: Measured,
  lowMs: Measured,
  requestsReplayed: z.int().nullable(),
});

export const QuantumStatus = z.strictObject({
  what: z.string(),
  superposition: z.strictObject({
    enabled: z.boolean(),
    tasksActive: z.int(),
    waiting: z.int(),
    tasksMax: z.int(),
    /** Drawn at the last look, and at most. */
    ensemblePlans: z.int().nullable(),
    ensemblePlansMax: z.int(),
    meanEffectiveSites: Measured,
    deferral: Deferral,
  }),
  entanglement: z.strictObject({
    enabled: z.boolean(),
    strengthAverage: Measured,
    groups: z.int(),
    groupsMax: z.int(),
    tasksPerGroupMax: z.int(),
    pairsEntangled: z.int(),
  }),
  interference: z.strictObject({
    enabled: z.boolean(),
    gain: Measured,
    optimizationEfficiency: Measured,
    churn: z.int(),
    heldByHysteresis: z.int(),
    resolution: z.number(),
  }),
  planner: z.strictObject({
    strategy: z.string(),
    strategyInForce: z.string(),
    planned: z.int(),
    planningP95Seconds: Measured,
    /** Threads that died, and plans that a simple one stood in for. */
    threadsLost: z.int(),
    standIns: z.int(),
  }),
});
export type QuantumStatus = z.infer<typeof QuantumStatus>;

export const CoherenceStatus = z.strictObject({
  what: z.string(),
  threshold: z.number(),
  /** Mean over open tasks; null while none is open. */
  utilization: Measured,
  least: Measured,
  openTasks: z.int(),
  t2Ms: Measured,
  fidelityObservations: z.int(),
  telemetryAgesMs: z.array(z.strictObject({ site: SiteId, ageMs: Measured })),
  mitigation: z.strictObject({
    enabled: z.boolean(),
    triggers: z.strictObject({ coherence: z.int(), outcome: z.int(), site_lost: z.int() }),
    replanP95Ms: Measured,
  }),
});
export type CoherenceStatus = z.infer<typeof CoherenceStatus>;

const ForecasterStatus = z.strictObject({ pinballLossMs: Measured, coverage95: Measured });

export const OptimizationStatus = z.strictObject({
  what: z.string(),
  gain: Measured,
  efficiency: Measured,
  /** Sums over the plans still counted, in weighted milliseconds. */
  saved: z.number(),
  independent: z.number(),
  provable: z.number(),
  plansCounted: z.int(),
  solvers: z.record(z.string(), z.int()),
  predictor: z.strictObject({
    observations: z.int(),
    used: z.enum(['quantiles', 'moving_average']),
    forecasters: z.strictObject({ quantiles: ForecasterStatus, moving_average: ForecasterStatus }),
  }),
  adaptive: z.strictObject({
    epochs: z.int(),
    regret: z.number(),
    arms: z.array(z.strictObject({ arm: z.string(), epochs: z.int(), meanReward: Measured })),
  }),
});
export type OptimizationStatus = z.infer<typeof OptimizationStatus>;
