/**
 * The ensemble of plans that telemetry cannot tell apart (`shared/design/planning.md` §5). Plans are drawn by solving with costs that are wrong by as
 * much as predictions were; within each connected component of the coupling graph distinct assignments are weighted
 *   w_r = exp(−(E_r − E_min) / τ) / Z,     p_j(i) = Σ_r w_r [x_r(j) = i],     ψ_j(i) = √p_j(i).
 * These are amplitudes of a classical ensemble: a way to say how open a decision is. No physical state is meant.
 */
import { seeded } from '../../shared/seeded.ts';
import type { CoupledInstance } from '../solvers/coupled/instance.ts';
import { componentsOf, type Coupling } from './couplings.ts';

/** Site index of each task. */
export type SiteOf = ArrayLike<number>;

export interface SampleOptions {
  /** How many plans to draw. */
  readonly count: number;
  readonly seed: number;
  /** Standard deviation of what a task's cost at each site may be wrong by, in cost units; one error a site, shared by all tasks there. */
  readonly siteNoise: ArrayLike<number>;
  /** The best plan under given costs (task-major). */
  readonly solve: (costs: Float64Array) => SiteOf;
}

/** Standard normal by Box and Muller. */
export const normalFrom = (random: { uniform(): number }): number =>
  Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());

/** One plan after another, so that a caller can stop between them. The first is the plan of the costs as they are. */
export function* drawPlans(
  { tasks, sites, costs }: CoupledInstance,
  { count, seed, siteNoise, solve }: SampleOptions,
): Generator<SiteOf> {
  const random = seeded(seed);
  for (let plan = 0; plan < count; plan += 1) {
    const moved = Float64Array.from(costs);
    for (let site = 0; site < sites; site += 1) {
      const shift = plan === 0 ? 0 : Math.round((siteNoise[site] ?? 0) * normalFrom(random));
      for (let task = 0; task < tasks; task += 1) moved[task * sites + site]! += shift;
    }
    yield solve(moved);
  }
}

/** The part of an ensemble that belongs to one component: distinct assignments of its tasks and their weights, which sum to 1. */
export interface ComponentEnsemble {
  readonly tasks: readonly number[];
  /** Site of each task of the component, in its order. */
  readonly assignments: readonly (readonly number[])[];
  readonly energies: readonly number[];
  readonly weights: readonly number[];
}

export interface EnergyModel {
  readonly instance: CoupledInstance;
  /** Price of a place at each site: what taking it costs everybody else. */
  readonly sitePrices: ArrayLike<number>;
}

/** w_r = exp(−(E_r − E_min)/τ)/Z. τ must be positive. */
export const boltzmannWeights = (energies: readonly number[], tau: number): number[] => {
  const least = Math.min(...energies);
  const raw = energies.map((energy) => Math.exp(-(energy - least) / tau));
  const total = raw.reduce((sum, weight) => sum + weight, 0);
  return raw.map((weight) => weight / total);
};

/** Energy of a component: its tasks' own costs with the prices of their places, and its couplings. */
const energyOf = (
  { instance, sitePrices }: EnergyModel,
  tasks: readonly number[],
  couplings: readonly Coupling[],
  assignment: readonly number[],
): number => {
  let energy = 0;
  tasks.forEach((task, at) => {
    const site = assignment[at]!;
    energy += instance.costs[task * instance.sites + site]! + (sitePrices[site] ?? 0);
  });
  const siteOf = new Map(tasks.map((task, at) => [task, assignment[at]]));
  for (const { first, second, weight } of couplings)
    if (siteOf.get(first) === siteOf.get(second)) energy += weight;
  return energy;
};

const couplingsIn = ({ first, second, weights }: CoupledInstance): Coupling[] =>
  Array.from(weights, (weight, at) => ({ first: first[at]!, second: second[at]!, weight }));

/** Weighs drawn plans per component. `tauOf` gives the temperature of a component from its tasks. */
export const weighPlans = (
  model: EnergyModel,
  plans: readonly SiteOf[],
  tauOf: (tasks: readonly number[]) => number,
): readonly ComponentEnsemble[] => {
  const all = couplingsIn(model.instance);
  return componentsOf(model.instance.tasks, all).map((tasks) => {
    const own = tasks.length === 1 ? [] : all.filter(({ first }) => tasks.includes(first));
    const distinct = new Map<string, number[]>();
    for (const plan of plans) {
      const assignment = tasks.map((task) => plan[task]!);
      distinct.set(assignment.join(), assignment);
    }
    const assignments = [...distinct.values()];
    const energies = assignments.map((assignment) => energyOf(model, tasks, own, assignment));
    return { tasks, assignments, energies, weights: boltzmannWeights(energies, Math.max(1, tauOf(tasks))) };
  });
};

/** p_j for every task: one array of `sites` probabilities each. */
export const marginalsOf = (
  components: readonly ComponentEnsemble[],
  tasks: number,
  sites: number,
): readonly Float64Array[] => {
  const marginals = Array.from({ length: tasks }, () => new Float64Array(sites));
  for (const component of components)
    component.assignments.forEach((assignment, row) =>
      component.tasks.forEach((task, at) => {
        marginals[task]![assignment[at]!]! += component.weights[row]!;
      }),
    );
  return marginals;
};

/** ψ = √p: an amplitude of a classical ensemble. */
export const amplitudesOf = (p: ArrayLike<number>): Float64Array => Float64Array.from(p, Math.sqrt);

/** 1/Σp²: between how many sites the decision is open; 1 is decided. */
export const effectiveSites = (p: ArrayLike<number>): number => {
  let squares = 0;
  for (let site = 0; site < p.length; site += 1) squares += p[site]! ** 2;
  return squares === 0 ? 0 : 1 / squares;
};
