/**
 * Interference gain: what planning together saves over everyone for himself. J_independent: every task takes its own best site in arrival order, the
 * next best where that is full, scored on the whole objective. gain = (J_independent − J_plan)/|J_independent|; efficiency = the share
 * of the provable distance (J_independent − J_plan)/(J_independent − bound). Only a circuit has physical interference.
 */
import type { Knapsack } from './instance.ts';
import { coupledCost, type CoupledInstance } from '../solvers/coupled/instance.ts';

export interface InterferenceReport {
  readonly independentCost: number;
  readonly planCost: number;
  readonly bound: number;
}

/** Best own site in arrival order, the next best where slots, tokens or budget are used up; couplings are not looked at. */
export const independentPlan = (
  { tasks, sites, costs, slotCosts }: CoupledInstance,
  knapsacks: readonly Knapsack[] = [],
): Int32Array => {
  const load = new Int32Array(sites);
  const used = knapsacks.map(() => new Float64Array(sites));
  return Int32Array.from({ length: tasks }, (_, task) => {
    let [best, least] = [sites - 1, Infinity];
    for (let site = 0; site < sites; site += 1) {
      const at = task * sites + site;
      const fits = knapsacks.every(
        ({ needs, rooms }, kind) => used[kind]![site]! + needs[at]! <= rooms[site]!,
      );
      if (fits && costs[at]! < least && load[site]! < slotCosts[site]!.length)
        [best, least] = [site, costs[at]!];
    }
    load[best]! += 1;
    knapsacks.forEach(({ needs }, kind) => (used[kind]![best]! += needs[task * sites + best]!));
    return best;
  });
};

export const independentCost = (instance: CoupledInstance, knapsacks?: readonly Knapsack[]): number =>
  coupledCost(instance, independentPlan(instance, knapsacks));

/** Sums over plans, so that a plan counts as much as it costs. */
export interface InterferenceTotals {
  readonly saved: number;
  readonly independent: number;
  readonly provable: number;
}

export const interferenceTotals = (reports: Iterable<InterferenceReport>): InterferenceTotals => {
  let [saved, independent, provable] = [0, 0, 0];
  for (const report of reports) {
    saved += report.independentCost - report.planCost;
    independent += Math.abs(report.independentCost);
    provable += report.independentCost - report.bound;
  }
  return { saved, independent, provable };
};

/** null while there is nothing to compare with. */
export const interferenceGain = ({ saved, independent }: InterferenceTotals): number | null =>
  independent === 0 ? null : saved / independent;

/** Share of the provable saving that was taken; null when none was to be had. */
export const optimizationEfficiency = ({ saved, provable }: InterferenceTotals): number | null =>
  provable <= 0 ? null : saved / provable;

export const INTERFERENCE_RESOLUTION = 0.1;

/** Hysteresis: a standing assignment is changed only for a gain above `resolution` τ. */
export const changesAssignment = (gain: number, tau: number, resolution = INTERFERENCE_RESOLUTION): boolean =>
  gain > resolution * tau;
