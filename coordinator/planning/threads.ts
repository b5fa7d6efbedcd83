/**
 * Where the planner's arithmetic runs. Plans have a thread of their own, so that none waits behind a look; looks and replays share another. A thread that
 * dies, or does not answer in time, costs a plan its quality and nothing else: whoever asked gets the stand-in (`portfolio.ts`), and the
 * pool puts another thread in its place. Few tasks are planned where they are asked: a trip to a thread would take longer.
 */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { toQflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { createWorkerPool, spawnThread, type WorkerLike } from '../workers/pool.ts';
import { type DeferralInput, type DeferralValue, measuringDeferral } from './deferral.ts';
import { type Look, lookAt, type LookProblem } from './look.ts';
import { buffersOf, packProblem } from './packed.ts';
import { type PortfolioPlan, solvePortfolio, standInPlan } from './portfolio.ts';
import { type Problem, RESOURCES, needOf, roomOf } from './problem.ts';
import { finish } from './simulate.ts';

export interface PlanningThreads {
  /** Always a plan that fits. @throws QflError `invalid_request` for a malformed problem, `cancelled` when closing */
  plan(problem: Problem, seed: number): Promise<PortfolioPlan>;
  look(look: LookProblem, seed: number, plansMax: number): Promise<Look>;
  deferral(input: DeferralInput): Promise<DeferralValue | null>;
  /** Threads that died, and plans that a stand-in took the place of. */
  readonly stats: { readonly lost: number; readonly standIns: number };
  close(): Promise<void>;
}

/** Searched for, beside the flow: a share of what the answers take, so that nobody notices it in the time to a first token. */
const SEARCH_SHARE = 0.02;
const SEARCH_MAX_MS = 25;
/** A plan that takes longer is given up: the queries behind it wait. */
const PLAN_MAX_MS = 2_000;
const STUDY_MAX_MS = 60_000;
const WAITING_MAX = 64;
/** Cells of tasks × sites that the flow plans within 2 ms on the event loop. */
export const INLINE_CELLS_MAX = 600;

const Amount = z.number();
const SitePrices = z.record(z.string(), Amount);
const CertificateReply = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('prices'), sitePrices: SitePrices }),
  z.strictObject({
    kind: z.literal('shares'),
    sitePrices: SitePrices,
    scale: Amount,
    shares: z.instanceof(Int32Array),
    prices: z.instanceof(Float64Array),
  }),
  z.strictObject({
    kind: z.literal('multipliers'),
    sitePrices: SitePrices,
    resource: z.enum(RESOURCES),
    scale: Amount,
    multipliers: z.instanceof(Float64Array),
  }),
]);
const PlanReply = z.strictObject({
  solver: z.string(),
  seed: z.int(),
  siteOf: z.instanceof(Int32Array),
  cost: z.strictObject({
    latency: Amount,
    preference: Amount,
    load: Amount,
    money: Amount,
    privacy: Amount,
    coupling: Amount,
    waiting: Amount,
    total: Amount,
  }),
  bound: Amount,
  gap: Amount.nullable(),
  certificate: CertificateReply.nullable(),
  createdMs: Amount,
  wallMs: Amount,
  cpuMs: Amount.nullable(),
  independentCost: Amount,
});
const Indices = z.array(z.int());
const LookReply = z.strictObject({
  siteIds: z.array(SiteId),
  marginals: z.array(z.instanceof(Float64Array)),
  components: z.array(
    z.strictObject({
      tasks: Indices,
      assignments: z.array(Indices),
      energies: z.array(Amount),
      weights: z.array(Amount),
    }),
  ),
  couplings: z.array(z.strictObject({ first: z.int(), second: z.int(), weight: Amount })),
  taus: z.array(Amount),
  best: z.instanceof(Int32Array),
  pairs: z.array(
    z.strictObject({
      first: z.int(),
      second: z.int(),
      weight: Amount,
      measure: z.enum(['nmi', 'kappa']),
      strength: Amount.nullable(),
      entangled: z.boolean(),
    }),
  ),
  plans: z.int(),
});
const DeferralReply = z.strictObject({ savedMs: Amount, lowMs: Amount, requests: z.int() }).nullable();

/** Could all who may go to a site go there at once without overdrawing it? Then tokens and budget cannot bind. */
const isAmple = ({ tasks, sites }: Problem): boolean => {
  const needs = new Map<SiteId, number[]>(sites.map(({ siteId }) => [siteId, RESOURCES.map(() => 0)]));
  for (const { options } of tasks)
    for (const option of options) {
      const sums = needs.get(option.siteId);
      RESOURCES.forEach((resource, at) => sums !== undefined && (sums[at]! += needOf(option, resource)));
    }
  return sites.every((site) =>
    RESOURCES.every((resource, at) => needs.get(site.siteId)![at]! <= roomOf(site, resource)),
  );
};

const searchMsOf = ({ tasks }: Problem): number => {
  const latencies = tasks.flatMap(({ options }) => options.map(({ cost }) => cost.latency));
  const mean = latencies.reduce((sum, latency) => sum + latency, 0) / Math.max(1, latencies.length);
  return Math.min(SEARCH_MAX_MS, SEARCH_SHARE * mean);
};

/** Is it planned in less time than a thread is asked? */
export const isSmall = (problem: Problem): boolean =>
  (problem.couplings ?? []).length === 0 &&
  problem.tasks.length * (problem.sites.length + 1) <= INLINE_CELLS_MAX &&
  isAmple(problem);

export const createPlanningThreads = (
  clock: Clock,
  {
    failed = () => undefined,
    spawn = spawnThread,
  }: { readonly failed?: (error: unknown) => void; readonly spawn?: () => WorkerLike } = {},
): PlanningThreads => {
  const one = { sizeMin: 1, sizeMax: 1, upAt: 0.8, downAt: 0.3, calmMs: 60_000 };
  const pool = () => createWorkerPool({ bounds: one, waitingMax: WAITING_MAX, clock, spawn });
  const [plans, studies] = [pool(), pool()];
  let [standIns, isClosed] = [0, false];
  const standIn = (problem: Problem, seed: number, thrown: unknown): PortfolioPlan => {
    const { code } = toQflError(thrown);
    if (isClosed || code === 'invalid_request') throw thrown;
    standIns += 1;
    failed(thrown);
    return standInPlan(problem, { seed, clock });
  };
  return {
    async plan(problem, seed) {
      const packed = packProblem(problem);
      try {
        const { siteOf, ...plan } = PlanReply.parse(
          await plans.run(
            'plan',
            { problem: packed, seed, timeMs: searchMsOf(problem) },
            { signal: AbortSignal.timeout(PLAN_MAX_MS), transfer: buffersOf(packed) },
          ),
        );
        return {
          ...plan,
          assignments: problem.tasks.map(({ taskId }, at) => ({
            taskId,
            siteId: problem.sites[siteOf[at]!]?.siteId ?? null,
          })),
        };
      } catch (error) {
        return standIn(problem, seed, error);
      }
    },
    async look({ problem, errors }, seed, plansMax) {
      const packed = packProblem(problem);
      return LookReply.parse(
        await studies.run(
          'look',
          { problem: packed, errors, seed, plansMax },
          { signal: AbortSignal.timeout(STUDY_MAX_MS), transfer: [...buffersOf(packed), errors.buffer] },
        ),
      );
    },
    deferral: async (input) =>
      DeferralReply.parse(
        await studies.run('deferral', input, { signal: AbortSignal.timeout(STUDY_MAX_MS) }),
      ),
    get stats() {
      return { lost: plans.stats.lost + studies.stats.lost, standIns };
    },
    async close() {
      isClosed = true;
      await Promise.all([plans.close(), studies.close()]);
    },
  };
};

/** The same work in the thread that asks: for replays, and where nobody is kept waiting. */
export const inThisThread = (clock: Clock): PlanningThreads => ({
  plan: async (problem, seed) => Promise.resolve(solvePortfolio(problem, { seed, timeMs: 0, clock })),
  look: async (look, seed, plansMax) =>
    Promise.resolve(lookAt(look, { seed, plansMax, nowMs: () => performance.now() })),
  deferral: async (input) => Promise.resolve(finish(measuringDeferral(input))),
  stats: { lost: 0, standIns: 0 },
  close: () => Promise.resolve(),
});
