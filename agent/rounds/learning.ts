/**
 * Rounds of learning at a site: what its patients, or its own training, say to the sum. Each kind draws its noise before the records are read, so that how
 * long that takes says nothing about them, and clips what it adds by the encoder that the price is made for.
 */
import { QflError } from '../../shared/errors.ts';
import { standardise } from '../../shared/learning/features.ts';
import { objectiveOf, trainLocal } from '../../shared/learning/local.ts';
import type { Example, Model } from '../../shared/learning/model.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { groupsOf, momentsVector, publicScaling } from '../../shared/learning/moments.ts';
import { scoreVector } from '../../shared/learning/scores.ts';
import { inputShapeOf, tensorsOf } from '../../shared/learning/tensors.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { type Account, bookkeep, clipTo } from '../../shared/rounds/bookkeeping.ts';
import { createEncoder, type Encoder } from '../../shared/rounds/encode.ts';
import {
  GRADIENT,
  type GradientWork,
  MOMENTS,
  type MomentsWork,
  parseWork,
  SCORES,
  type ScoresWork,
  UPDATE,
  type UpdateWork,
  workPrice,
  type WorkKind,
} from '../../shared/rounds/learning-work.ts';
import { gridOf, turnSeed, weightsFrom } from '../../shared/rounds/noise.ts';
import type { RoundPlan } from '../../shared/rounds/plan.ts';
import { type Steps, slowly } from '../../shared/rounds/slowly.ts';
import type { LearningData, LocalTraining, Scaling } from '../../shared/wire/learning.ts';
import { type Examples, type SitePatient, standardising } from '../training/examples.ts';
import type { ExternalTrainers } from '../training/external.ts';
import { drawShare } from './noise-share.ts';
import type { RoundWorker } from './work.ts';

const HALF = 0.5;

export interface LearnerOptions {
  readonly examples: Examples;
  readonly random: RandomBytes;
  /** The data blocks that a round reads; undefined where the site keeps none. */
  readonly blocks: (plan: RoundPlan) => readonly string[] | undefined;
  /** Commands of this site that train models of their own. */
  readonly external?: Pick<ExternalTrainers, 'train'> | undefined;
}

interface Task<Work> {
  readonly work: Work;
  readonly model: Uint8Array;
  readonly patients: readonly SitePatient[];
  readonly encoder: Encoder;
  readonly signal: AbortSignal;
}

type AnyWork = { readonly sigmaSquared: string; readonly data: LearningData };

const workerOf = <Work extends AnyWork>(
  kind: WorkKind<Work>,
  { examples, random, blocks }: LearnerOptions,
  add: (task: Task<Work>) => Promise<void>,
): RoundWorker => ({
  kind: kind.kind,
  priceOf: (plan) => workPrice(kind, parseWork(kind, plan), plan),
  async compute(plan, model, signal) {
    const work = parseWork(kind, plan);
    const grid = gridOf(kind.shape(work));
    const noise = new Int32Array(grid.words);
    await drawShare(work.sigmaSquared, random, noise);
    const encoder = createEncoder(grid, turnSeed(plan.round), random);
    const today = new Date(plan.madeMs).toISOString().slice(0, 10);
    const patients = await examples.read({ data: work.data, today, blocks: blocks(plan) }, signal);
    await add({ work, model, patients, encoder, signal });
    const { sum } = encoder;
    for (let word = 0; word < sum.length; word += 1) sum[word] = (sum[word]! + noise[word]!) | 0;
    return sum;
  },
});

interface Learns {
  readonly data: LearningData;
  readonly scaling: Scaling | null;
  readonly heldOutOneIn: number;
}

const isHeldOut = ({ place }: SitePatient, oneIn: number): boolean => oneIn > 0 && place < 1 / oneIn;
const learntFrom = (
  patients: readonly SitePatient[],
  { heldOutOneIn }: Pick<Learns, 'heldOutOneIn'>,
): readonly SitePatient[] => patients.filter((patient) => !isHeldOut(patient, heldOutOneIn));
/** Made once a round: public scaling takes far longer than to standardise a patient. */
const scalingOf = ({ data, scaling }: Learns): Scaling => scaling ?? publicScaling(data);

const rightOf = (probability: number, { target }: Example): number =>
  probability >= HALF === (target === 1) ? 1 : 0;

const kindLength = <Work extends AnyWork>(kind: WorkKind<Work>, work: Work): number =>
  kind.shape(work).length;

const addGradients = function* ({ work, model: bytes, patients, encoder }: Task<GradientWork>): Steps<void> {
  const model = modelOf(work.model, inputShapeOf(work.data));
  const weights = weightsFrom(bytes, model.size);
  const gradient = new Float64Array(model.size);
  const vector = new Float64Array(kindLength(GRADIENT, work));
  const scaling = scalingOf(work);
  for (const { raw } of learntFrom(patients, work)) {
    const example = standardise(raw, scaling);
    const { loss, probability } = model.gradient(weights, example, gradient);
    clipTo(gradient, work.clip);
    bookkeep(gradient, { loss, right: rightOf(probability, example) }, work.clip, vector);
    encoder.add(vector);
    yield;
  }
};

const addMoments = function* ({ work, patients, encoder }: Task<MomentsWork>): Steps<void> {
  const groups = groupsOf(work.data);
  const vector = new Float64Array(kindLength(MOMENTS, work));
  for (const { raw } of learntFrom(patients, work)) {
    momentsVector(raw, groups, vector);
    encoder.add(vector);
    yield;
  }
};

const addScores = function* ({ work, model: bytes, patients, encoder }: Task<ScoresWork>): Steps<void> {
  const model = modelOf(work.model, inputShapeOf(work.data));
  const weights = weightsFrom(bytes, model.size);
  const vector = new Float64Array(kindLength(SCORES, work));
  const scaling = scalingOf(work);
  for (const patient of patients) {
    if (!isHeldOut(patient, work.heldOutOneIn)) continue;
    const example = standardise(patient.raw, scaling);
    scoreVector(example.target, model.predict(weights, example), vector);
    encoder.add(vector);
    yield;
  }
};

const accountOf = function* (
  model: Model,
  weights: Float64Array,
  examples: readonly Example[],
): Steps<Account> {
  const scratch = new Float64Array(model.size);
  let [loss, right] = [0, 0];
  for (const example of examples) {
    const found = model.gradient(weights, example, scratch);
    loss += found.loss;
    right += rightOf(found.probability, example);
    yield;
  }
  const count = Math.max(1, examples.length);
  return { loss: loss / count, right: right / count };
};

interface Update {
  /** How far the weights moved. */
  readonly moved: Float64Array;
  readonly account: Account;
}

/** A built-in model, trained here for some epochs. */
const trainHere = function* (
  { model: spec, data, local }: UpdateWork,
  weights: Float64Array,
  examples: readonly Example[],
): Steps<Update> {
  const model = modelOf(spec, inputShapeOf(data));
  const account = yield* accountOf(model, weights, examples);
  if (examples.length === 0) return { moved: new Float64Array(model.size), account };
  const { epochs, batch, learningRate, optimiser, proximal, l2, seed } = local;
  const settings = { epochs, batch, rate: learningRate, optimiser, proximal, l2, seed };
  const trained = yield* trainLocal(objectiveOf(model, examples), weights, settings);
  return { moved: trained.weights.map((value, at) => value - weights[at]!), account };
};

/** Sites count alike, or by their patients up to a public bound. */
const weightOf = ({ patientsMax }: LocalTraining, patients: number): number =>
  patientsMax === 0 ? Math.min(1, patients) : Math.min(1, patients / patientsMax);

const addUpdate = async (
  { work, model: bytes, patients, encoder, signal }: Task<UpdateWork>,
  external: LearnerOptions['external'],
): Promise<void> => {
  const { model: spec, data, clip, local } = work;
  const { size, tensors } = tensorsOf(spec, data);
  const weights = weightsFrom(bytes, size);
  const examples = await slowly(standardising(learntFrom(patients, work), scalingOf(work)), signal);
  const trainOutside = async (trainer: string): Promise<Update> => {
    if (external === undefined)
      throw new QflError('not_found', {
        detail: `this site has no trainer ${trainer}`,
        next: 'The site names its command under training.external in its configuration.',
      });
    const moved = await external.train(trainer, {
      parts: tensors,
      weights,
      examples,
      shape: inputShapeOf(data),
      settings: { ...local },
      signal,
    });
    return { moved, account: { loss: 0, right: 0 } };
  };
  const { moved, account } =
    spec.kind === 'external'
      ? await trainOutside(spec.trainer)
      : await slowly(trainHere(work, weights, examples), signal);
  clipTo(moved, clip);
  const vector = new Float64Array(kindLength(UPDATE, work));
  bookkeep(moved, account, clip, vector, weightOf(local, examples.length));
  encoder.add(vector);
};

/** The workers of all kinds of learning. */
export const createLearners = (options: LearnerOptions): readonly RoundWorker[] => [
  workerOf(GRADIENT, options, (task) => slowly(addGradients(task), task.signal)),
  workerOf(MOMENTS, options, (task) => slowly(addMoments(task), task.signal)),
  workerOf(UPDATE, options, (task) => addUpdate(task, options.external)),
  workerOf(SCORES, options, (task) => slowly(addScores(task), task.signal)),
];
