/**
 * Depth-first search for a plan better than the best known, with the Lagrangian bound at every node and pairs ruled out by their reduced
 * costs (Posta, Ferland, Michelon 2012). A finished search proves the best plan known optimal, or that there is none.
 */
import type { GapInstance } from './instance.ts';
import { forcedProfits } from './knapsack.ts';
import { type Allowed, ascend, MULTIPLIER_SCALE, type Relaxation, type Relaxed } from './lagrangian.ts';
import type { GapSearch } from './search.ts';

export interface BranchOptions {
  readonly search: GapSearch;
  readonly nodesMax: number;
  readonly deadlineMs: number;
  readonly nowMs: () => number;
}

export interface Branched {
  /** The whole tree was searched. */
  readonly finished: boolean;
  readonly tookMs: number;
}

const NODE_ITERATIONS = 30;

/** Agents a job may still go to. */
const agentsOf = ({ agents, jobs }: GapInstance, allowed: Allowed, job: number): number[] => {
  const open: number[] = [];
  for (let agent = 0; agent < agents; agent += 1) if (allowed[agent * jobs + job] === 1) open.push(agent);
  return open;
};

const onlyAt = ({ agents, jobs }: GapInstance, allowed: Allowed, job: number, agent: number): void => {
  for (let other = 0; other < agents; other += 1) if (other !== agent) allowed[other * jobs + job] = 0;
};

/** Rules out every pair that no better plan can use, at these multipliers. @returns false when a job has nowhere left to go */
const fixByReducedCost = (
  instance: GapInstance,
  allowed: Allowed,
  multipliers: Float64Array,
  { bound, chosen }: Relaxed,
  best: number,
): boolean => {
  const { agents, jobs, costs, weights, capacities } = instance;
  // A better plan costs at most best − 1; with integer costs everything above that is out.
  const limit = (best - 1) * MULTIPLIER_SCALE;
  const profits = new Float64Array(jobs);
  for (let agent = 0; agent < agents; agent += 1) {
    const offset = agent * jobs;
    for (let job = 0; job < jobs; job += 1)
      profits[job] =
        allowed[offset + job] === 0 ? 0 : multipliers[job]! - MULTIPLIER_SCALE * costs[offset + job]!;
    const { taken, left } = forcedProfits(profits, weights, offset, capacities[agent]!);
    let now = 0;
    for (let job = 0; job < jobs; job += 1) if (chosen[offset + job] === 1) now += profits[job]!;
    for (let job = 0; job < jobs; job += 1) {
      if (allowed[offset + job] === 0) continue;
      if (bound + now - taken[job]! > limit) allowed[offset + job] = 0;
      else if (bound + now - left[job]! > limit) onlyAt(instance, allowed, job, agent);
    }
  }
  for (let job = 0; job < jobs; job += 1) if (agentsOf(instance, allowed, job).length === 0) return false;
  return true;
};

/** The job about which the relaxation and a plan disagree most, fewest ways out first. */
const branchingJob = (instance: GapInstance, allowed: Allowed, { takers }: Relaxed): number => {
  let chosen = -1;
  let least = Infinity;
  for (let job = 0; job < instance.jobs; job += 1) {
    if (takers[job] === 1) continue;
    const ways = agentsOf(instance, allowed, job).length - (takers[job]! > 1 ? 0.5 : 0);
    if (ways > 1 && ways < least) {
      least = ways;
      chosen = job;
    }
  }
  if (chosen >= 0) return chosen;
  for (let job = 0; job < instance.jobs; job += 1)
    if (agentsOf(instance, allowed, job).length > 1) return job;
  return -1;
};

/** Plans that the relaxation or its multipliers suggest are offered to `search`, which keeps the best. */
export const branch = (
  instance: GapInstance,
  relax: Relaxation,
  start: Float64Array,
  { search, nodesMax, deadlineMs, nowMs }: BranchOptions,
): Branched => {
  const { agents, jobs, weights, capacities, costs } = instance;
  const begunMs = nowMs();
  let nodes = 0;
  let cut = false;

  const visit = (allowed: Allowed, from: Float64Array, depth: number): void => {
    nodes += 1;
    if (nodes > nodesMax || nowMs() > deadlineMs) {
      cut = true;
      return;
    }
    const proves = ({ bound }: { readonly bound: number }): boolean =>
      bound > (search.bestCost - 1) * MULTIPLIER_SCALE;
    const ascended = ascend(relax, from, {
      iterationsMax: depth === 0 ? NODE_ITERATIONS * 4 : NODE_ITERATIONS,
      target: () => search.bestCost,
      allowed,
    });
    if (proves(ascended)) return;
    if (ascended.relaxed.takers.every((count) => count === 1)) {
      search.startFrom(ascended.relaxed.chosen, ascended.multipliers);
      if (proves(ascended)) return;
    }
    if (
      search.bestCost < Infinity &&
      !fixByReducedCost(instance, allowed, ascended.multipliers, ascended.relaxed, search.bestCost)
    )
      return;
    const job = branchingJob(instance, allowed, ascended.relaxed);
    if (job < 0) {
      // Every job has one way left: this is a plan, which is offered, or does not fit.
      const chosen = new Uint8Array(agents * jobs);
      for (let one = 0; one < jobs; one += 1)
        chosen[(agentsOf(instance, allowed, one)[0] ?? 0) * jobs + one] = 1;
      search.startFrom(chosen, ascended.multipliers);
      return;
    }
    const { chosen } = ascended.relaxed;
    const ways = agentsOf(instance, allowed, job).toSorted(
      (left, right) =>
        chosen[right * jobs + job]! - chosen[left * jobs + job]! ||
        costs[left * jobs + job]! - costs[right * jobs + job]!,
    );
    for (const agent of ways) {
      const child = Uint8Array.from(allowed);
      onlyAt(instance, child, job, agent);
      visit(child, ascended.multipliers, depth + 1);
      if (cut) return;
    }
  };

  const allowed = new Uint8Array(agents * jobs);
  for (let agent = 0; agent < agents; agent += 1)
    for (let job = 0; job < jobs; job += 1)
      allowed[agent * jobs + job] = weights[agent * jobs + job]! <= capacities[agent]! ? 1 : 0;
  if (
    Array.from({ length: jobs }, (_, job) => agentsOf(instance, allowed, job).length).every(
      (ways) => ways > 0,
    )
  )
    visit(allowed, start, 0);
  return { finished: !cut, tookMs: nowMs() - begunMs };
};
