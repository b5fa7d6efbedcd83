/** The planner's work in a worker thread: plans, looks, and what waiting is worth. Each job parses what it is given; answers are parsed in `threads.ts`. */
import { z } from 'zod';
import { SiteId } from '../../shared/ids.ts';
import { systemClock } from '../../shared/clock.ts';
import { measuringDeferral } from './deferral.ts';
import { lookAt } from './look.ts';
import { PackedProblem, unpackProblem } from './packed.ts';
import { solvePortfolio } from './portfolio.ts';
import { finish } from './simulate.ts';

const PlanJob = z.strictObject({ problem: PackedProblem, seed: z.int(), timeMs: z.number().nonnegative() });
const LookJob = z.strictObject({
  problem: PackedProblem,
  errors: z.instanceof(Float64Array),
  seed: z.int(),
  plansMax: z.int().positive(),
});
const Finite = z.number();
const DeferralJob = z.strictObject({
  served: z.array(
    z.strictObject({
      arrivedMs: Finite,
      sizeBucketBytes: Finite,
      priority: Finite,
      deadlineMs: Finite,
      predictedMs: z.map(SiteId, Finite),
      site: SiteId,
      serviceMs: Finite,
    }),
  ),
  slotsOf: z.map(SiteId, Finite),
  weights: z.strictObject({
    latency: Finite,
    tail: Finite,
    load: Finite,
    age: Finite,
    urgency: Finite,
    deadline: Finite,
    money: Finite,
    privacy: Finite,
  }),
  seed: z.int(),
});

export const runPlanJob = (input: unknown): unknown => {
  const { problem: packed, seed, timeMs } = PlanJob.parse(input);
  const problem = unpackProblem(packed);
  const { assignments, ...plan } = solvePortfolio(problem, { seed, timeMs });
  const indexOf = new Map(packed.siteIds.map((siteId, at) => [siteId, at]));
  return {
    ...plan,
    siteOf: Int32Array.from(assignments, ({ siteId }) => (siteId === null ? -1 : indexOf.get(siteId)!)),
  };
};

export const runLookJob = (input: unknown): unknown => {
  const { problem, errors, seed, plansMax } = LookJob.parse(input);
  const nowMs = (): number => systemClock.monotonicMs();
  return lookAt(
    { problem: unpackProblem(problem), errors: Float64Array.from(errors) },
    { seed, plansMax, nowMs },
  );
};

export const runDeferralJob = (input: unknown): unknown =>
  finish(measuringDeferral(DeferralJob.parse(input)));
