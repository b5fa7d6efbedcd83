/**
 * A training as stages, each one round: means and spreads first, then the steps, then the scores of patients who were held out. Pure: what comes next, what
 * its round says, and what is made of its sum, from the request and what there is so far.
 */
import { QflError } from '../../shared/errors.ts';
import type { RoundId, SiteId } from '../../shared/ids.ts';
import { standardisedBounds } from '../../shared/learning/features.ts';
import { modelWithin } from '../../shared/learning/energy-budget.ts';
import { scalingFrom } from '../../shared/learning/moments.ts';
import { figuresOfScores } from '../../shared/learning/scores.ts';
import {
  DEFAULT_SERVER,
  type ServerOptions,
  type ServerRule,
  type ServerState,
  serverStep,
} from '../../shared/learning/server-step.ts';
import { rhoBudget } from '../../shared/privacy/conversion.ts';
import { readBookkept } from '../../shared/rounds/bookkeeping.ts';
import {
  GRADIENT,
  MOMENTS,
  SCORES,
  type Unnoised,
  UPDATE,
  workPrice,
  type WorkKind,
} from '../../shared/rounds/learning-work.ts';
import { gridOf, type Party, sigmaSquaredFor } from '../../shared/rounds/noise.ts';
import { MASKED_RULE, type RoundPrivacy, type RoundWork } from '../../shared/rounds/plan.ts';
import type { Grid } from '../../shared/rounds/encode.ts';
import { minCohortOf, thresholdOf } from '../../shared/rounds/tolerance.ts';
import type { Scaling } from '../../shared/wire/learning.ts';
import {
  type Evaluation,
  isOfSites,
  type Strategy,
  type TrainingRequest,
  type TrainingStep,
} from '../../shared/wire/training.ts';

const SITES_MIN = 3;
/** Sites' weights that are summed at least: below it an average is mostly noise. */
const WEIGHTS_MIN = 0.1;

export interface TrainingState {
  readonly scaling: Scaling | null;
  readonly scalingRound: RoundId | null;
  readonly steps: readonly TrainingStep[];
  readonly evaluation: Evaluation | null;
  /** The evaluation's round is over, with figures or without. */
  readonly isScored: boolean;
  /** Steps whose share of the budget was charged by rounds that gave no sum. */
  readonly failed: number;
  /** Sites that others refused to go on with. */
  readonly without: readonly SiteId[];
}
export const NOTHING_YET: TrainingState = {
  scaling: null,
  scalingRound: null,
  steps: [],
  evaluation: null,
  isScored: false,
  failed: 0,
  without: [],
};

/** The request with the sites that take part: those it names, or all that are there. @throws QflError `site_unavailable`, `invalid_request` */
export const withSites = (
  request: TrainingRequest,
  sitesNow: readonly SiteId[],
  without: readonly SiteId[] = [],
): TrainingRequest => {
  const sites = [...new Set(request.sites ?? sitesNow)].filter((site) => !without.includes(site)).toSorted();
  if (sites.length < SITES_MIN)
    throw new QflError('site_unavailable', {
      detail: `a sealed round needs ${SITES_MIN} sites, and ${sites.length} with records ${sites.length === 1 ? 'is' : 'are'} there`,
      next: 'Wait until more are connected (qfl site list), or name them with --site.',
    });
  if (request.masked && request.rule !== 'sum')
    throw new QflError('invalid_request', {
      detail: MASKED_RULE,
      next: 'Leave the rule out; or give up hiding single hospitals with --unmasked, which each hospital has to allow (rounds.unmasked).',
    });
  if ((request.minCohort ?? 0) > sites.length)
    throw new QflError('invalid_request', {
      detail: `no sum of ${request.minCohort} sites comes of ${sites.length}`,
    });
  return { ...request, sites };
};

/** The request with a model that its energy budget allows. @throws QflError `invalid_request` */
export const withinEnergy = (request: TrainingRequest): TrainingRequest =>
  request.energy === undefined
    ? request
    : { ...request, model: modelWithin(request.model, request.data, request.energy) };

/** Who takes part, and under what rules. */
export const partyOf = ({ sites = [], minCohort, masked, rule }: TrainingRequest) => ({
  sites,
  masked,
  rule,
  threshold: thresholdOf(sites.length),
  minCohort: minCohort ?? minCohortOf(sites.length),
});

/** Shares of the budget: of the moments and of the evaluation; the steps have the rest. */
const sharesOf = ({ data, standardise, evaluate }: TrainingRequest) => {
  const isAsked =
    standardise === undefined && standardisedBounds(data).some((bounds) => bounds !== undefined);
  return {
    moments: standardise?.share ?? (isAsked ? 0.1 : 0),
    evaluation: evaluate?.share ?? 0,
  };
};

export type StageName = 'moments' | 'step' | 'scores';

/** The next round's; undefined when the training is done. */
export const nextStage = (
  request: TrainingRequest,
  { scaling, steps, failed, isScored }: TrainingState,
): StageName | undefined => {
  const isUsedUp = steps.length + failed >= request.rounds;
  if (!isUsedUp) return sharesOf(request).moments > 0 && scaling === null ? 'moments' : 'step';
  return request.evaluate !== null && !isScored && steps.length > 0 ? 'scores' : undefined;
};

/**
 * After a stage's round was charged and gave no sum. Its share of the budget is gone: as many steps are left out as cost that much, so that the whole
 * training stays within what it was asked with. An evaluation is not tried twice.
 */
export const afterFailure = (
  request: TrainingRequest,
  state: TrainingState,
  stage: StageName,
): TrainingState => {
  if (stage === 'scores') return { ...state, isScored: true };
  return { ...state, failed: state.failed + Math.ceil(rhoOf(request, stage) / rhoOf(request, 'step')) };
};

/** rho of a stage's round: all of them together are within the budget. */
export const rhoOf = (request: TrainingRequest, stage: StageName): number => {
  const whole = rhoBudget(request.epsilon, request.delta);
  const { moments, evaluation } = sharesOf(request);
  if (moments + evaluation >= 1)
    throw new QflError('invalid_request', {
      detail: 'standardising and evaluating leave nothing of the budget to learn with',
      next: 'Make their shares smaller: 0.1 each is usual.',
    });
  if (stage === 'moments') return whole * moments;
  return stage === 'scores' ? whole * evaluation : (whole * (1 - moments - evaluation)) / request.rounds;
};

/** A stage's round: what it says to the sites, and how its sum is read. */
export interface Stage {
  readonly name: StageName;
  readonly work: RoundWork;
  readonly privacy: RoundPrivacy;
  readonly grid: Grid;
  readonly length: number;
  /** Standard deviation of a share of the noise, in steps of the grid. */
  readonly sigma: number;
  /** The sites begin from the weights. */
  readonly needsWeights: boolean;
}

const stageOf = <Work extends { readonly sigmaSquared: string }>(
  name: StageName,
  kind: WorkKind<Work>,
  unnoised: Unnoised<Work>,
  complete: (sigmaSquared: string) => Work,
  rho: number,
  party: Party,
): Stage => {
  const shape = kind.shape(unnoised);
  const work = complete(sigmaSquaredFor(rho, shape, party));
  return {
    name,
    work: { kind: kind.kind, settings: { ...work } },
    privacy: workPrice(kind, work, party),
    grid: gridOf(shape),
    length: shape.length,
    sigma: Math.sqrt(Number(work.sigmaSquared)),
    needsWeights: name !== 'moments',
  };
};

export const planStage = (request: TrainingRequest, state: TrainingState, name: StageName): Stage => {
  const { data, model, clip, evaluate, local, strategy } = request;
  const { scaling } = state;
  const party = partyOf(request);
  const rho = rhoOf(request, name);
  const common = { data, heldOutOneIn: evaluate?.oneIn ?? 0 };
  const learns = { ...common, model, scaling };
  if (name === 'moments')
    return stageOf(name, MOMENTS, common, (sigmaSquared) => ({ ...common, sigmaSquared }), rho, party);
  if (name === 'scores') {
    const work = { ...learns, bins: evaluate?.bins ?? 2 };
    return stageOf(name, SCORES, work, (sigmaSquared) => ({ ...work, sigmaSquared }), rho, party);
  }
  if (isOfSites(strategy)) {
    const work = { ...learns, clip, local };
    return stageOf(name, UPDATE, work, (sigmaSquared) => ({ ...work, sigmaSquared }), rho, party);
  }
  const work = { ...learns, clip };
  return stageOf(name, GRADIENT, work, (sigmaSquared) => ({ ...work, sigmaSquared }), rho, party);
};

/** Refuses what cannot be carried out before anything waits for it. @throws QflError `invalid_request` */
export const checkTraining = (request: TrainingRequest): void => {
  for (const name of ['moments', 'step', 'scores'] as const)
    if (name !== 'moments' || sharesOf(request).moments > 0)
      if (name !== 'scores' || request.evaluate !== null) planStage(request, NOTHING_YET, name);
};

const RULES: Readonly<Record<Strategy, ServerRule>> = {
  fedsgd: 'sgd',
  fedadam: 'adam',
  fedyogi: 'yogi',
  fedavg: 'sgd',
  fedprox: 'sgd',
};

const serverOptions = ({
  strategy,
  learningRate,
  momentum,
  weightDecay,
}: TrainingRequest): ServerOptions => ({
  ...DEFAULT_SERVER,
  rule: RULES[strategy],
  learningRate,
  momentum,
  weightDecay,
});

export interface Stepped {
  readonly server: ServerState;
  readonly figures: Pick<TrainingStep, 'patients' | 'loss' | 'accuracy'>;
}

/** What a step's decoded sum makes of the weights. */
export const takeStep = (request: TrainingRequest, sum: Float64Array, server: ServerState): Stepped => {
  const ofSites = isOfSites(request.strategy);
  const found = readBookkept(sum, request.clip, ofSites ? WEIGHTS_MIN : 1);
  // An update points where the weights should go, a gradient where they should not.
  const sign = ofSites ? -1 : 1;
  const mean = found.learnt.map((value) => (sign * value) / found.divisor);
  const isKnown = request.model.kind !== 'external';
  return {
    server: serverStep(server, mean, serverOptions(request)),
    figures: {
      patients: found.count,
      loss: isKnown ? found.loss : null,
      accuracy: isKnown ? found.accuracy : null,
    },
  };
};

/** What the decoded sum of a stage that is no step says. */
export const takeMoments = ({ data }: TrainingRequest, sum: Float64Array): Scaling => scalingFrom(sum, data);
export const takeScores = (
  sum: Float64Array,
  { sigma, grid }: Stage,
  survivors: number,
): Omit<Evaluation, 'round'> => {
  // Of each survivor a share is in the sum; turning changes the noise of no coordinate.
  const { bins, ...figures } = figuresOfScores(sum, sigma * Math.sqrt(survivors) * grid.step);
  return { ...figures, bins: bins.map((bin) => ({ ...bin })) };
};
