/**
 * Checks a coupled plan against nothing but the problem: does it keep the rules, what does it cost, and what do shares and prices prove? With every
 * coupling shared out (`w·[both at s] ≥ w·(θ·x_a + (1 − θ)·x_b)` for w < 0, `≥ w·θ·(x_a + x_b − 1)` for w > 0, θ in [0, 1]) the rest is a linear
 * assignment, bounded for any prices by weak duality. Integers throughout; shares no code with the solver.
 */
import { exactSums } from './verify-exact.ts';

export interface CoupledProblem {
  readonly tasks: number;
  readonly sites: number;
  /** Task-major; Infinity where a task may not go. */
  readonly costs: ArrayLike<number>;
  readonly slotCosts: readonly (readonly number[])[];
  readonly couplings: readonly { readonly first: number; readonly second: number; readonly weight: number }[];
}

export interface CoupledCertificate {
  readonly scale: number;
  /** Coupling-major, one per site, integers from 0 to scale. */
  readonly shares: ArrayLike<number>;
  /** Integers, in costs times scale. */
  readonly prices: ArrayLike<number>;
}

export interface CoupledCheck {
  readonly faults: readonly string[];
  readonly cost: number;
  readonly bound: number;
}

export const boundOf = (
  problem: CoupledProblem,
  { scale, shares, prices }: CoupledCertificate,
  faults: string[],
): number => {
  const { tasks, sites, costs, slotCosts, couplings } = problem;
  const linear = Array.from({ length: tasks * sites }, (_, at) => scale * (costs[at] ?? Infinity));
  const sums = exactSums();
  const { add } = sums;
  let bound = 0;
  couplings.forEach(({ first, second, weight }, at) => {
    for (let site = 0; site < sites; site += 1) {
      const share = shares[at * sites + site] ?? -1;
      if (!Number.isInteger(share) || share < 0 || share > scale)
        faults.push(`a share of coupling ${at} is out of range`);
      const other = weight < 0 ? scale - share : share;
      linear[first * sites + site] = add(linear[first * sites + site] ?? 0, weight * share);
      linear[second * sites + site] = add(linear[second * sites + site] ?? 0, weight * other);
      if (weight > 0) bound = add(bound, -weight * share);
    }
  });
  for (let task = 0; task < tasks; task += 1) {
    let least = Infinity;
    for (let site = 0; site < sites; site += 1)
      least = Math.min(least, add(linear[task * sites + site] ?? Infinity, prices[site] ?? 0));
    bound = add(bound, least);
  }
  slotCosts.forEach((slots, site) => {
    for (const slot of slots) bound = add(bound, Math.min(0, add(scale * slot, -(prices[site] ?? 0))));
  });
  if (!sums.isExact)
    faults.push('the certificate is not made of integers, or they are too large to add exactly');
  return Math.ceil(bound / scale);
};

export const verifyCoupled = (
  problem: CoupledProblem,
  siteOf: ArrayLike<number>,
  certificate: CoupledCertificate,
): CoupledCheck => {
  const { tasks, sites, costs, slotCosts, couplings } = problem;
  const faults: string[] = [];
  const load = Array.from({ length: sites }, () => 0);
  let cost = 0;
  for (let task = 0; task < tasks; task += 1) {
    const site = siteOf[task] ?? -1;
    const own = Number.isInteger(site) && site >= 0 && site < sites ? costs[task * sites + site] : undefined;
    if (own === undefined || own === Infinity) {
      faults.push(`task ${task} is where it may not be`);
      continue;
    }
    const used = load[site] ?? 0;
    const slot = slotCosts[site]?.[used];
    if (slot === undefined) faults.push(`site ${site} has more tasks than slots`);
    load[site] = used + 1;
    cost += own + (slot ?? 0);
  }
  for (const { first, second, weight } of couplings) if (siteOf[first] === siteOf[second]) cost += weight;
  const bound = boundOf(problem, certificate, faults);
  if (!Number.isSafeInteger(bound)) faults.push('the certificate is not made of integers');
  if (bound > cost) faults.push('the bound is above the cost');
  return { faults, cost, bound };
};
