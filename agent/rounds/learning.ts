/**
 * Rounds of learning at a site: what its patients, or its own training, say to the sum. Each kind draws its noise before the records are read, so that how
 * long that takes says nothing about them, and clips what it adds by the encoder that the price is made for.
 */
import { breathe } from '../../shared/breathe.ts';
import { QflError } from '../../shared/errors.ts';
import { standardise } from '../../shared/learning/features.ts';
import { objectiveOf, trainLocal } from '../../shared/learning/local.ts';
import type { Example, Model } from '../../shared/learning/model.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { groupsOf, momentsVector, publicScaling } from '../../shared/learning/moments.ts';
import { scoreVector } from '../../shared/learning/scores.ts';
import { inputShapeOf, tensorsOf } from '../../shared/learning/tensors.ts';
import { discreteGaussian, noiseOf } from '../../shared/privacy/mechanism.ts';
import { rational } from '../../shared/privacy/rational.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { type Account, bookkeep, clipTo } from '../../shared/rounds/bookkeeping.ts';
import { createEncoder, type Encoder } from '../../shared/rounds/encode.ts';
import {
  GRADIENT,
  type GradientWork,
  MOMENTS,
  parseWork,
  SCORES,
  UPDATE,
  type UpdateWork,
  workPrice,
  type WorkKind,
} from '../../shared/rounds/learning-work.ts';
import { gridOf, sigmaOf, turnSeed, weightsFrom } from '../../shared/rounds/noise.ts';
import type { RoundPlan } from '../../shared/rounds/plan.ts';
import { type Steps, slowly } from '../../shared/rounds/slowly.ts';
import type { LearningData, LocalTraining, Scaling } from '../../shared/wire/learning.ts';
import type { Examples, SitePatient } from '../training/examples.ts';
import type { ExternalTrainers } from '../training/external.ts';
import type { RoundWorker } from './work.ts';

const DRAWS_PER_TURN = 256;
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

const drawNoise = async (sigmaSquared: string, words: number, random: RandomBytes): Promise<Int32Array> => {
  const draw = noiseOf(discreteGaussian(rational(1n), sigmaOf(sigmaSquared)), random);
  const noise = new Int32Array(words);
  for (let word = 0; word < words; word += 1) {
    noise[word] = Number(BigInt.asIntN(32, draw()));
    if (word % DRAWS_PER_TURN === 0) await breathe();
  }
  return noise;
};

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
    const noise = await drawNoise(work.sigmaSquared, grid.words, random);
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
const learntFrom = (patients: readonly SitePatient[], { heldOutOneIn }: Learns): readonly SitePatient[] =>
  patients.filter((patient) => !isHeldOut(patient, heldOutOneIn));
/** Made once a round: public scaling takes far longer than to standardise a patient. */
const scalingOf = ({ data, scaling }: Learns): Scaling => scaling ?? publicScaling(data);

const rightOf = (probability: number, { target }: Example): number =>
  probability >= HALF === (target === 1) ? 1 : 0;

const addGradients = function* (
  { work, patients, encoder, signal }: Task<GradientWork>,
  model: Model,
  weights: Float64Array,
): Steps<void> {
  const gradient = new Float64Array(model.size);
  const vector = new Float64Array(kindLength(GRADIENT, work));
  const scaling = scalingOf(work);
  for (const patient of learntFrom(patients, work)) {
    signal.throwIfAborted();
    const example = standardise(patient.raw, scaling);
    const { loss, probability } = model.gradient(weights, example, gradient);
    clipTo(gradient, work.clip);
    bookkeep(gradient, { loss, right: rightOf(probability, example) }, work.clip, vector);
    encoder.add(vector);
    yield;
  }
};
const kindLength = <Work extends AnyWork>(kind: WorkKind<Work>, work: Work): number =>
  kind.shape(work).length;

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

/** A built-in model, trained here for some epochs. */
const trainHere = async (
  { model: spec, data, local }: UpdateWork,
  weights: Float64Array,
  examples: readonly Example[],
): Promise<{ moved: Float64Array; account: Account }> => {
  const model = modelOf(spec, inputShapeOf(data));
  const account = await slowly(accountOf(model, weights, examples));
  if (examples.length === 0) return { moved: new Float64Array(model.size), account };
  const { epochs, batch, learningRate, optimiser, proximal, l2, seed } = local;
  const settings = { epochs, batch, rate: learningRate, optimiser, proximal, l2, seed };
  const trained = await slowly(trainLocal(objectiveOf(model, examples), weights, settings));
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
  const scaling = scalingOf(work);
  const examples = learntFrom(patients, work).map(({ raw }) => standardise(raw, scaling));
  const trainOutside = async (trainer: string): Promise<{ moved: Float64Array; account: Account }> => {
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
    spec.kind === 'external' ? await trainOutside(spec.trainer) : await trainHere(work, weights, examples);
  clipTo(moved, clip);
  const vector = new Float64Array(kindLength(UPDATE, work));
  bookkeep(moved, account, clip, vector, weightOf(local, examples.length));
  encoder.add(vector);
};

/** The workers of all kinds of learning. */
export const createLearners = (options: LearnerOptions): readonly RoundWorker[] => [
  workerOf(GRADIENT, options, async (task) => {
    const model = modelOf(task.work.model, inputShapeOf(task.work.data));
    await slowly(addGradients(task, model, weightsFrom(task.model, model.size)));
  }),
  workerOf(MOMENTS, options, async ({ work, patients, encoder }) => {
    const groups = groupsOf(work.data);
    const vector = new Float64Array(kindLength(MOMENTS, work));
    for (const [at, { raw }] of learntFrom(patients, { ...work, scaling: null }).entries()) {
      momentsVector(raw, groups, vector);
      encoder.add(vector);
      if (at % 16 === 0) await breathe();
    }
  }),
  workerOf(UPDATE, options, (task) => addUpdate(task, options.external)),
  workerOf(SCORES, options, async ({ work, model: bytes, patients, encoder }) => {
    const model = modelOf(work.model, inputShapeOf(work.data));
    const weights = weightsFrom(bytes, model.size);
    const vector = new Float64Array(kindLength(SCORES, work));
    const scaling = scalingOf(work);
    for (const [at, patient] of patients.entries()) {
      if (!isHeldOut(patient, work.heldOutOneIn)) continue;
      const example = standardise(patient.raw, scaling);
      scoreVector(example.target, model.predict(weights, example), vector);
      encoder.add(vector);
      if (at % 16 === 0) await breathe();
    }
  }),
];
