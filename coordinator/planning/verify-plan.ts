/**
 * Checks any plan against nothing but the problem, whichever solver made it: is every task where it may be, within slots, tokens and budget, what
 * does it cost by cause, and what does its certificate prove? Shares no code with any solver.
 */
import type { SiteId } from '../../shared/ids.ts';
import type { Certificate, PlanCost } from './plan.ts';
import { needOf, optionCost, type Problem, RESOURCES, roomOf } from './problem.ts';
import { lowerBound } from './verify-certificate.ts';
import { boundOf, type CoupledProblem } from './verify-coupled.ts';
import { exactSums } from './verify-exact.ts';
import { mostWithin } from './verify-gap.ts';

export interface PlanCheck {
  readonly faults: readonly string[];
  /** Meaningful without faults. */
  readonly cost: PlanCost;
  /** What the certificate proves; null without one. */
  readonly bound: number | null;
}

type Placed = readonly (SiteId | null)[];

const usesOf = (problem: Problem, placed: Placed, faults: string[]): void => {
  const optionsAt = new Map(
    problem.sites.map(({ siteId }) => [siteId, [] as Problem['tasks'][number]['options'][number][]]),
  );
  problem.tasks.forEach(({ options }, at) => {
    const option = options.find(({ siteId }) => siteId === placed[at]);
    if (option !== undefined) optionsAt.get(option.siteId)?.push(option);
  });
  for (const site of problem.sites) {
    const here = optionsAt.get(site.siteId) ?? [];
    if (here.length > site.slotCosts.length)
      faults.push(`${site.siteId} has ${here.length} tasks in ${site.slotCosts.length} slots`);
    for (const resource of RESOURCES) {
      const used = here.reduce((sum, option) => sum + needOf(option, resource), 0);
      const room = roomOf(site, resource);
      if (used > room) faults.push(`${site.siteId} takes ${used} of ${room} ${resource}`);
    }
  }
};

export const costOf = (problem: Problem, placed: Placed): PlanCost => {
  const { tasks, sites, couplings = [] } = problem;
  const cost = { latency: 0, preference: 0, load: 0, money: 0, privacy: 0, coupling: 0, waiting: 0 };
  const load = new Map<SiteId, number>();
  tasks.forEach(({ options, waitingCost }, at) => {
    const option = options.find(({ siteId }) => siteId === placed[at]);
    if (option === undefined) {
      cost.waiting += waitingCost;
      return;
    }
    const { latency, preference, money = 0, privacy = 0 } = option.cost;
    cost.latency += latency;
    cost.preference += preference;
    cost.money += money;
    cost.privacy += privacy;
    load.set(option.siteId, (load.get(option.siteId) ?? 0) + 1);
  });
  for (const { siteId, slotCosts } of sites)
    for (const slot of slotCosts.slice(0, load.get(siteId) ?? 0)) cost.load += slot;
  // Two that wait share the waiting place as they would share a site: the order in which they are served may still bring them together.
  for (const { first, second, weight } of couplings)
    if ((placed[first] ?? null) === (placed[second] ?? null)) cost.coupling += weight;
  const total = Object.values(cost).reduce((sum, part) => sum + part, 0);
  return { ...cost, total };
};

/** For every coupling that rewards, the most it can save: what prices alone prove of a coupled problem. */
const rewards = ({ couplings = [] }: Problem): number =>
  couplings.reduce((sum, { weight }) => sum + Math.min(0, weight), 0);

/**
 * Weak duality with slots priced and the tasks' own constraint relaxed: for any prices p and multipliers λ no plan costs less than
 *   Σ_j λ_j − Σ_sites max{Σ (λ_j − c_js − p_s) : it fits the site's room} − Σ_j max(0, λ_j − waiting_j) + Σ_slots min(0, slot − p).
 */
const knapsackBound = (
  { tasks, sites, couplings }: Problem,
  { resource, sitePrices, multipliers, scale }: Extract<Certificate, { kind: 'multipliers' }>,
  faults: string[],
): number => {
  const sums = exactSums();
  const { add } = sums;
  const multiplier = (at: number): number => multipliers[at] ?? Number.NaN;
  let scaled = 0;
  const offers = new Map(sites.map(({ siteId }) => [siteId, [] as { value: number; weight: number }[]]));
  tasks.forEach(({ options, waitingCost }, at) => {
    scaled = add(scaled, multiplier(at));
    scaled = add(scaled, -Math.max(0, add(multiplier(at), -scale * waitingCost)));
    for (const option of options) {
      const price = scale * (optionCost(option) + (sitePrices[option.siteId] ?? 0));
      offers
        .get(option.siteId)
        ?.push({ value: add(multiplier(at), -price), weight: needOf(option, resource) });
    }
  });
  for (const site of sites) {
    const price = sitePrices[site.siteId] ?? 0;
    const here = offers.get(site.siteId) ?? [];
    // Whatever of these fits: no sum of some of them is larger than that of all.
    here.reduce((sum, { value }) => add(sum, Math.max(0, value)), 0);
    scaled = add(scaled, -mostWithin(here, roomOf(site, resource)));
    for (const slot of site.slotCosts) scaled = add(scaled, scale * Math.min(0, slot - price));
  }
  if (!sums.isExact) faults.push('the multipliers are not integers, or they are too large to add exactly');
  return Math.ceil(scaled / scale) + rewards({ tasks, sites, couplings: couplings ?? [] });
};

/** With waiting as one more site, the last, that has room for everyone. */
const coupledProblemOf = ({ tasks, sites, couplings = [] }: Problem): CoupledProblem => {
  const width = sites.length + 1;
  const costs = tasks.flatMap(({ options, waitingCost }) => {
    const costAt = new Map(options.map((option) => [option.siteId, optionCost(option)]));
    return [...sites.map(({ siteId }) => costAt.get(siteId) ?? Infinity), waitingCost];
  });
  const slotCosts = [...sites.map((site) => site.slotCosts), tasks.map(() => 0)];
  return { tasks: tasks.length, sites: width, costs, slotCosts, couplings };
};

const provenBy = (problem: Problem, certificate: Certificate, faults: string[]): number => {
  if (!Object.values(certificate.sitePrices).every(Number.isSafeInteger))
    faults.push('the prices are not integers');
  if (certificate.kind === 'prices')
    return (
      lowerBound(
        problem,
        new Map(problem.sites.map(({ siteId }) => [siteId, certificate.sitePrices[siteId] ?? 0])),
      ) + rewards(problem)
    );
  if (certificate.kind === 'multipliers') return knapsackBound(problem, certificate, faults);
  return boundOf(coupledProblemOf(problem), certificate, faults);
};

export interface Proof {
  readonly bound: number;
  readonly faults: readonly string[];
}

/** What a certificate proves of the problem, whatever the plan. Never throws. */
export const proofOf = (problem: Problem, certificate: Certificate): Proof => {
  const faults: string[] = [];
  const bound = provenBy(problem, certificate, faults);
  if (!Number.isSafeInteger(bound)) faults.push('the bound is no integer');
  return { bound, faults };
};

/** Never throws: what is wrong is in `faults`. */
export const verifyPlan = (problem: Problem, placed: Placed, certificate: Certificate | null): PlanCheck => {
  const faults: string[] = [];
  if (placed.length !== problem.tasks.length) faults.push('not one place per task');
  problem.tasks.forEach(({ taskId, options }, at) => {
    const site = placed[at] ?? null;
    if (site !== null && !options.some(({ siteId }) => siteId === site))
      faults.push(`${taskId} is at a site that is not allowed`);
  });
  usesOf(problem, placed, faults);
  const cost = costOf(problem, placed);
  const proof = certificate === null ? null : proofOf(problem, certificate);
  const bound = proof?.bound ?? null;
  faults.push(...(proof?.faults ?? []));
  if (bound !== null && bound > cost.total) faults.push('the bound is above the cost');
  return { faults, cost, bound };
};
