/**
 * A training computed in one place: the shipped stages, clipping, noise scale and steps of the server, but sums of doubles without masks. It chooses methods on
 * training folds in seconds; no figure of a benchmark comes of it.
 */
import {
  nextStage,
  NOTHING_YET,
  planStage,
  type Stage,
  takeMoments,
  takeStep,
  type TrainingState,
} from '../../coordinator/rounds/training-plan.ts';
import { assert } from '../../shared/errors.ts';
import { RoundId } from '../../shared/ids.ts';
import { type RawExample, standardise } from '../../shared/learning/features.ts';
import { objectiveOf, trainLocal } from '../../shared/learning/local.ts';
import type { Example, Model } from '../../shared/learning/model.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { groupsOf, momentsVector, publicScaling } from '../../shared/learning/moments.ts';
import { serverStateOf } from '../../shared/learning/server-step.ts';
import { inputShapeOf } from '../../shared/learning/tensors.ts';
import { bookkeep, clipTo } from '../../shared/rounds/bookkeeping.ts';
import { atOnce } from '../../shared/rounds/slowly.ts';
import { type Seeded, seeded } from '../../shared/seeded.ts';
import type { Scaling } from '../../shared/wire/learning.ts';
import { isOfSites, type TrainingRequest, type TrainingStep } from '../../shared/wire/training.ts';

/** Standard normal; for simulations only. */
export const normalOf =
  (random: Seeded): (() => number) =>
  () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random.uniform()));
    return radius * Math.cos(2 * Math.PI * random.uniform());
  };

export interface Learnt {
  readonly weights: Float64Array;
  readonly scaling: Scaling;
}

/** Standard deviation of the noise on each coordinate of the sum of all sites. */
const noiseSdOf = ({ work, grid }: Stage, sites: number): number =>
  grid.step * Math.sqrt(sites * Number(work.settings['sigmaSquared']));

const momentsSum = (sites: readonly (readonly RawExample[])[], request: TrainingRequest, stage: Stage) => {
  const groups = groupsOf(request.data);
  const [sum, vector] = [new Float64Array(stage.length), new Float64Array(stage.length)];
  for (const raw of sites.flat()) {
    momentsVector(raw, groups, vector);
    clipTo(vector, stage.grid.clip);
    for (let at = 0; at < sum.length; at += 1) sum[at]! += vector[at]!;
  }
  return sum;
};

const gradientSum = (
  sites: readonly (readonly Example[])[],
  { clip }: TrainingRequest,
  model: Model,
  weights: Float64Array,
): Float64Array => {
  const gradient = new Float64Array(model.size);
  const vector = new Float64Array(model.size + 3);
  const sum = new Float64Array(model.size + 3);
  for (const site of sites)
    for (const example of site) {
      const { loss } = model.gradient(weights, example, gradient);
      clipTo(gradient, clip);
      bookkeep(gradient, { loss, right: 0 }, clip, vector);
      for (let at = 0; at < sum.length; at += 1) sum[at]! += vector[at]!;
    }
  return sum;
};

const updateSum = (
  sites: readonly (readonly Example[])[],
  { clip, local }: TrainingRequest,
  model: Model,
  weights: Float64Array,
): Float64Array => {
  const { epochs, batch, learningRate: rate, optimiser, proximal, l2, seed, patientsMax } = local;
  const vector = new Float64Array(model.size + 3);
  const sum = new Float64Array(model.size + 3);
  for (const site of sites) {
    const settings = { epochs, batch, rate, optimiser, proximal, l2, seed };
    const trained = atOnce(trainLocal(objectiveOf(model, site), weights, settings));
    const moved = trained.weights.map((value, at) => value - weights[at]!);
    clipTo(moved, clip);
    const weight = patientsMax === 0 ? 1 : Math.min(1, site.length / patientsMax);
    bookkeep(moved, { loss: 0, right: 0 }, clip, vector, weight);
    for (let at = 0; at < sum.length; at += 1) sum[at]! += vector[at]!;
  }
  return sum;
};

/** Only the number of steps counts here. */
const NO_FIGURES: TrainingStep = {
  round: RoundId.parse('0'.repeat(32)),
  patients: 0,
  loss: null,
  accuracy: null,
  survivors: 0,
};

const isLast = ({ rounds, averageLast }: TrainingRequest, step: number): boolean =>
  step > rounds - averageLast;

/** @param request with the sites named, one for each of `sites`, and nothing evaluated */
export const simulateTraining = (
  request: TrainingRequest,
  sites: readonly (readonly RawExample[])[],
  seed: number,
): Learnt => {
  assert(request.sites?.length === sites.length && request.evaluate === null, 'a training that is all steps');
  const model = modelOf(request.model, inputShapeOf(request.data));
  const normal = normalOf(seeded(seed));
  let server = serverStateOf(model.initial(request.seed));
  let state: TrainingState = NOTHING_YET;
  let scaling = publicScaling(request.data);
  let examples: Example[][] | undefined;
  const average = new Float64Array(model.size);
  let step = 0;
  for (let name = nextStage(request, state); name !== undefined; name = nextStage(request, state)) {
    const stage = planStage(request, state, name);
    const noisy = (sum: Float64Array): Float64Array => {
      const sd = noiseSdOf(stage, sites.length);
      return sum.map((value) => value + sd * normal());
    };
    if (name === 'moments') {
      scaling = takeMoments(request, noisy(momentsSum(sites, request, stage)));
      state = { ...state, scaling };
      continue;
    }
    examples ??= sites.map((site) => site.map((raw) => standardise(raw, scaling)));
    const sumOf = isOfSites(request.strategy) ? updateSum : gradientSum;
    const stepped = takeStep(request, noisy(sumOf(examples, request, model, server.weights)), server);
    ({ server } = stepped);
    step += 1;
    state = { ...state, steps: Array.from({ length: step }, () => NO_FIGURES) };
    if (isLast(request, step))
      for (let at = 0; at < average.length; at += 1)
        average[at]! += server.weights[at]! / request.averageLast;
  }
  return { weights: average, scaling };
};
