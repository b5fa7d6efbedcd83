/** A planning problem as typed arrays: what crosses to a worker thread is moved, not copied object by object. */
import { z } from 'zod';
import { SiteId } from '../../shared/ids.ts';
import type { PlanningTask, Problem, TaskOption } from './problem.ts';

const Doubles = z.instanceof(Float64Array);
const Integers = z.instanceof(Int32Array);

export const PackedProblem = z.strictObject({
  siteIds: z.array(SiteId),
  /** Options of task t lie from `firstOption[t]` to `firstOption[t + 1]`. */
  firstOption: Integers,
  /** Index into `siteIds`. */
  optionSite: Integers,
  latency: Doubles,
  preference: Doubles,
  money: Doubles,
  privacy: Doubles,
  tokens: Doubles,
  microEpsilon: Doubles,
  waiting: Doubles,
  firstSlot: Integers,
  slotCosts: Doubles,
  /** Infinity where it does not bind. */
  tokensMax: Doubles,
  microEpsilonMax: Doubles,
  couplingFirst: Integers,
  couplingSecond: Integers,
  couplingWeight: Doubles,
});
export type PackedProblem = z.infer<typeof PackedProblem>;

const startsOf = (lengths: readonly number[]): Int32Array<ArrayBuffer> => {
  const starts = new Int32Array(lengths.length + 1);
  lengths.forEach((length, at) => (starts[at + 1] = starts[at]! + length));
  return starts;
};

export const packProblem = ({ tasks, sites, couplings = [] }: Problem) => {
  const indexOf = new Map(sites.map(({ siteId }, at) => [siteId, at]));
  const options = tasks.flatMap((task) => task.options);
  const doubles = (of: (option: TaskOption) => number) => Float64Array.from(options, of);
  return {
    siteIds: sites.map(({ siteId }) => siteId),
    firstOption: startsOf(tasks.map((task) => task.options.length)),
    optionSite: Int32Array.from(options, ({ siteId }) => indexOf.get(siteId) ?? -1),
    latency: doubles(({ cost }) => cost.latency),
    preference: doubles(({ cost }) => cost.preference),
    money: doubles(({ cost }) => cost.money ?? 0),
    privacy: doubles(({ cost }) => cost.privacy ?? 0),
    tokens: doubles(({ tokens = 0 }) => tokens),
    microEpsilon: doubles(({ microEpsilon = 0 }) => microEpsilon),
    waiting: Float64Array.from(tasks, ({ waitingCost }) => waitingCost),
    firstSlot: startsOf(sites.map(({ slotCosts }) => slotCosts.length)),
    slotCosts: Float64Array.from(sites.flatMap(({ slotCosts }) => slotCosts)),
    tokensMax: Float64Array.from(sites, ({ tokensMax = Infinity }) => tokensMax),
    microEpsilonMax: Float64Array.from(sites, ({ microEpsilonMax = Infinity }) => microEpsilonMax),
    couplingFirst: Int32Array.from(couplings, ({ first }) => first),
    couplingSecond: Int32Array.from(couplings, ({ second }) => second),
    couplingWeight: Float64Array.from(couplings, ({ weight }) => weight),
  } satisfies PackedProblem;
};

/** Buffers to hand over with it. */
export const buffersOf = (packed: ReturnType<typeof packProblem>): readonly ArrayBuffer[] =>
  Object.values(packed).flatMap((part) => (Array.isArray(part) ? [] : [part.buffer]));

/** Tasks are named by their index: names do not matter to a plan. */
export const unpackProblem = (packed: PackedProblem): Problem => {
  const { siteIds, firstOption, firstSlot } = packed;
  const optionAt = (at: number): TaskOption => ({
    siteId: siteIds[packed.optionSite[at]!]!,
    cost: {
      latency: packed.latency[at]!,
      preference: packed.preference[at]!,
      money: packed.money[at]!,
      privacy: packed.privacy[at]!,
    },
    tokens: packed.tokens[at]!,
    microEpsilon: packed.microEpsilon[at]!,
  });
  const boundOf = (room: number): number | undefined => (room === Infinity ? undefined : room);
  return {
    sites: siteIds.map((siteId, at) => ({
      siteId,
      slotCosts: Array.from(packed.slotCosts.subarray(firstSlot[at], firstSlot[at + 1])),
      tokensMax: boundOf(packed.tokensMax[at]!),
      microEpsilonMax: boundOf(packed.microEpsilonMax[at]!),
    })),
    tasks: Array.from(packed.waiting, (waitingCost, task): PlanningTask => ({
      taskId: String(task),
      waitingCost,
      options: Array.from({ length: firstOption[task + 1]! - firstOption[task]! }, (_, at) =>
        optionAt(firstOption[task]! + at),
      ),
    })),
    couplings: Array.from(packed.couplingWeight, (weight, at) => ({
      first: packed.couplingFirst[at]!,
      second: packed.couplingSecond[at]!,
      weight,
    })),
  };
};
