/** One look at what is open: the ensemble of plans that telemetry cannot tell apart, and what follows from it for every task and pair. */
import type { SiteId } from '../../shared/ids.ts';
import { solveLinear } from '../solvers/coupled/bound.ts';
import { buildProblem, type CandidateOptions, type CandidateSite, forecastsOf } from './candidates.ts';
import { type Coupling, couplingsOf } from './couplings.ts';
import { couplingWeights } from './batch.ts';
import type { DeskRequest } from './desk.ts';
import { type ComponentEnsemble, drawPlans, marginalsOf, type SiteOf, weighPlans } from './ensemble.ts';
import { chanceAgreement, type PairStrength, pairStrength } from './entanglement.ts';
import { planGroups } from './groups.ts';
import { toInstance } from './instance.ts';
import type { Predictor } from './predictor.ts';

/** Plans drawn at one look: enough for weights of a few per cent. */
export const ENSEMBLE_PLANS = 32;

export interface LookInput {
  /** Of one model. */
  readonly requests: readonly DeskRequest[];
  readonly sites: readonly CandidateSite[];
  readonly predictor: Predictor;
  readonly options: CandidateOptions;
  readonly seed: number;
  readonly plans?: number;
  readonly coupled?: boolean;
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
}

/** Standard error of the cost of the request at every site, the waiting place included as exact. */
const noiseOf = (
  request: DeskRequest,
  { sites, predictor, options }: LookInput,
  siteIds: readonly SiteId[],
): Float64Array => {
  const forecasts = forecastsOf([request], sites, predictor, options);
  const byId = new Map(sites.map((site) => [site.siteId, site]));
  return Float64Array.from([...siteIds, null], (siteId) => {
    const site = siteId === null ? undefined : byId.get(siteId);
    return site === undefined ? 0 : options.weights.latency * forecasts.of(request, site).errorMs;
  });
};

const pairOf = (component: ComponentEnsemble, { first, second }: Coupling) => {
  const [one, other] = [component.tasks.indexOf(first), component.tasks.indexOf(second)];
  return {
    first: component.assignments.map((assignment) => assignment[one]!),
    second: component.assignments.map((assignment) => assignment[other]!),
    weights: component.weights,
  };
};

/** Yields between plans, so that a caller can share its thread. */
export function* looking(input: LookInput): Generator<void, Look> {
  const { requests, sites, predictor, options, seed, plans = ENSEMBLE_PLANS, coupled = true } = input;
  const problem = buildProblem(requests, sites, predictor, options);
  const couplings = coupled ? couplingsOf(requests, couplingWeights(problem, options.affinityShare)) : [];
  const { instance, siteIds } = toInstance(problem, couplings);
  const { prices } = solveLinear(instance.tasks, instance.slotCosts, instance.costs);
  const noises = requests.map((request) => noiseOf(request, input, siteIds));
  const drawn: SiteOf[] = [];
  const drawing = drawPlans(instance, {
    count: plans,
    seed,
    siteNoise: noises[0] ?? [],
    // Groups are chosen exactly; annealing moves would cost more than a look is worth.
    solve: (costs) => planGroups({ ...instance, costs }, seed, 0).siteOf,
  });
  for (const plan of drawing) {
    drawn.push(plan);
    yield;
  }
  const best = drawn[0]!;
  const tauOf = (tasks: readonly number[]): number =>
    Math.sqrt(tasks.reduce((sum, task) => sum + noises[task]![best[task]!]! ** 2, 0));
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
  };
}
