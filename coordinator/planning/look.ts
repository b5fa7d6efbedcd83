/**
 * One look at what is open: the ensemble of plans that telemetry cannot tell apart, and what follows from it for every task and pair. The problem and its
 * errors are put together where the predictor is; drawing plans is arithmetic on them and runs in a worker thread (`threads.ts`).
 */
import type { SiteId } from '../../shared/ids.ts';
import { solveLinear } from '../solvers/coupled/bound.ts';
import { type BatchInput, batchProblem } from './batch.ts';
import { forecastsOf } from './candidates.ts';
import type { Coupling } from './couplings.ts';
import { type ComponentEnsemble, drawPlans, marginalsOf, type SiteOf, weighPlans } from './ensemble.ts';
import { chanceAgreement, type PairStrength, pairStrength } from './entanglement.ts';
import { planGroups } from './groups.ts';
import { toInstance } from './instance.ts';
import type { Problem } from './problem.ts';

/** Plans drawn at one look at least, however long they take: enough for weights of a few per cent. */
export const ENSEMBLE_PLANS_MIN = 32;
/** `coherence_pool_size`: plans drawn at most. */
export const ENSEMBLE_PLANS = 1_000;
/** A look that has its least number of plans ends after this. */
export const LOOK_MS = 40;

export interface LookProblem {
  readonly problem: Problem;
  /** Standard error of every task's cost at every site, task-major, the waiting place last and exact. */
  readonly errors: Float64Array<ArrayBuffer>;
}

export interface LookOptions {
  readonly seed: number;
  readonly plansMax?: number;
  readonly timeMs?: number;
  readonly nowMs: () => number;
}

export interface Look {
  readonly siteIds: readonly SiteId[];
  /** p_j over sites and, last, waiting. */
  readonly marginals: readonly Float64Array[];
  readonly components: readonly ComponentEnsemble[];
  readonly couplings: readonly Coupling[];
  /** τ of each component. */
  readonly taus: readonly number[];
  /** The plan of the costs as they are: site index of each task. */
  readonly best: SiteOf;
  readonly pairs: readonly (Coupling & PairStrength)[];
  /** Drawn. */
  readonly plans: number;
}

export const poseLook = (input: BatchInput): LookProblem => {
  const { requests, sites, predictor, options } = input;
  const problem = batchProblem(input);
  const byId = new Map(sites.map((site) => [site.siteId, site]));
  const width = problem.sites.length + 1;
  const errors = new Float64Array(requests.length * width);
  const forecasts = forecastsOf(requests, sites, predictor, options);
  requests.forEach((request, task) =>
    problem.sites.forEach(({ siteId }, at) => {
      errors[task * width + at] = options.weights.latency * forecasts.of(request, byId.get(siteId)!).errorMs;
    }),
  );
  return { problem, errors };
};

const pairOf = (component: ComponentEnsemble, { first, second }: Coupling) => {
  const [one, other] = [component.tasks.indexOf(first), component.tasks.indexOf(second)];
  return {
    first: component.assignments.map((assignment) => assignment[one]!),
    second: component.assignments.map((assignment) => assignment[other]!),
    weights: component.weights,
  };
};

export const lookAt = ({ problem, errors }: LookProblem, options: LookOptions): Look => {
  const { seed, plansMax = ENSEMBLE_PLANS, timeMs = LOOK_MS, nowMs } = options;
  const { couplings = [] } = problem;
  const { instance, siteIds } = toInstance(problem);
  const endMs = nowMs() + timeMs;
  const { prices } = solveLinear(instance.tasks, instance.slotCosts, instance.costs);
  const drawn: SiteOf[] = [];
  const drawing = drawPlans(instance, {
    count: plansMax,
    seed,
    siteNoise: errors.subarray(0, instance.sites),
    // Groups are chosen exactly; annealing moves would cost more than a look is worth.
    solve: (costs) => planGroups({ ...instance, costs }, seed, 0).siteOf,
  });
  for (const plan of drawing) {
    drawn.push(plan);
    if (drawn.length >= ENSEMBLE_PLANS_MIN && nowMs() >= endMs) break;
  }
  const best = drawn[0]!;
  const tauOf = (tasks: readonly number[]): number =>
    Math.sqrt(tasks.reduce((sum, task) => sum + errors[task * instance.sites + best[task]!]! ** 2, 0));
  const components = weighPlans({ instance, sitePrices: prices }, drawn, tauOf);
  const marginals = marginalsOf(components, instance.tasks, instance.sites);
  const chance = chanceAgreement(marginals);
  const pairs = couplings.map((coupling) => {
    const component = components.find(({ tasks }) => tasks.includes(coupling.first))!;
    return { ...coupling, ...pairStrength(pairOf(component, coupling), { chance, seed }) };
  });
  return {
    siteIds,
    marginals,
    components,
    couplings,
    taus: components.map(({ tasks }) => tauOf(tasks)),
    best,
    pairs,
    plans: drawn.length,
  };
};
