/** A training: sealed rounds one after another, and what comes of them. */
import { z } from 'zod';
import { DepartmentId, RoundId, SiteId } from '../ids.ts';
import { ROBUST_RULES } from '../rounds/robust.ts';
import { EnergyBudget, LearningData, LocalTraining, ModelSpec, Scaling } from './learning.ts';
import { ModelName } from './model.ts';

/** Whose unit is the patient: each round sums the patients' clipped gradients. */
const PATIENT_STRATEGIES = ['fedsgd', 'fedadam', 'fedyogi'] as const;
/** Whose unit is the site: each round sums how far the sites' own trainings move the weights. */
const SITE_STRATEGIES = ['fedavg', 'fedprox'] as const;
export const Strategy = z.enum([...PATIENT_STRATEGIES, ...SITE_STRATEGIES]);
export type Strategy = z.infer<typeof Strategy>;
export const isOfSites = (strategy: Strategy): boolean => SITE_STRATEGIES.some((one) => one === strategy);

const Share = z.number().gt(0).lt(0.9);
const EPSILON_MAX = 100;
/** As much as ledgers count: the noise is next to nothing then, and a site whose unit is the site may still charge it. */
const SITE_EPSILON_MAX = 1e6;

export const TrainingRequest = z
  .strictObject({
    /** Under which its model is kept; after its target where left out. */
    name: ModelName.optional(),
    data: LearningData,
    model: ModelSpec.default({ kind: 'logistic' }),
    /** The model then has as many units as this allows, and no more than it names. */
    energy: EnergyBudget.optional(),
    strategy: Strategy.default('fedsgd'),
    rounds: z.int().min(1).max(1_000).default(10),
    /** Of the coordinator's step. */
    learningRate: z.number().positive().max(100).default(1),
    momentum: z.number().min(0).lt(1).default(0),
    weightDecay: z.number().min(0).max(1).default(0),
    /** The model is the mean of the weights after so many of the last steps. */
    averageLast: z.int().min(1).max(1_000).default(1),
    /** Seed of the weights that a perceptron or a liquid network begins from. */
    seed: z.int().nonnegative().default(1),
    /** Length that a patient's gradient, or a site's update, is clipped to. */
    clip: z.number().positive().max(1_000_000).default(1),
    local: LocalTraining.default(LocalTraining.parse({})),
    /** Privacy of the whole training for each unit, with this delta: its share of it goes to each of its rounds. */
    epsilon: z.number().positive().max(SITE_EPSILON_MAX),
    delta: z.number().gt(0).lt(1).default(1e-6),
    /** A round of its own for means and spreads, of this share of the budget. Left out: where there is anything to standardise. */
    standardise: z
      .strictObject({ share: Share.default(0.1) })
      .nullable()
      .optional(),
    /** A round at the end over patients who were held out; null: none. */
    evaluate: z
      .strictObject({
        share: Share.default(0.1),
        /** One patient in so many is held out. */
        oneIn: z.int().min(2).max(1_000).default(5),
        bins: z.int().min(2).max(1_000).default(10),
      })
      .nullable()
      .default({ share: 0.1, oneIn: 5, bins: 10 }),
    /** All that are there when left out. */
    sites: z.array(SiteId).min(3).max(1_000).optional(),
    minCohort: z.int().min(2).max(1_000).optional(),
    /** False: the coordinator sees single vectors; each hospital has to allow that. */
    masked: z.boolean().default(true),
    rule: z.enum(['sum', ...ROBUST_RULES]).default('sum'),
    department: DepartmentId.default(DepartmentId.parse('research')),
    /** A step of a round ends when nothing came for so long. */
    silenceMs: z.int().min(1_000).max(86_400_000).default(60_000),
  })
  .refine(({ strategy, epsilon }) => isOfSites(strategy) || epsilon <= EPSILON_MAX, {
    message: `epsilon is at most ${EPSILON_MAX} where the unit is the patient`,
    path: ['epsilon'],
  })
  .refine(({ strategy, model }) => isOfSites(strategy) || model.kind !== 'external', {
    message: 'a command of the site trains as a whole: its strategy is fedavg, and its unit the site',
    path: ['strategy'],
  })
  .refine(({ model, evaluate }) => model.kind !== 'external' || evaluate === null, {
    message: 'only the command knows what its model says of a patient: evaluate is null',
    path: ['evaluate'],
  });
export type TrainingRequest = z.infer<typeof TrainingRequest>;

export const TrainingStep = z.strictObject({
  round: RoundId,
  /** Patients (of site units: weights of sites) in the sum, with noise. */
  patients: z.number(),
  /** Mean loss and share of right predictions before the step, with noise; null where only a site's own command knows them. */
  loss: z.number().nullable(),
  accuracy: z.number().nullable(),
  survivors: z.int(),
});
export type TrainingStep = z.infer<typeof TrainingStep>;

/** Over the patients held out, with noise. */
export const Evaluation = z.strictObject({
  round: RoundId,
  auc: z.number().nullable(),
  accuracy: z.number().nullable(),
  patients: z.number(),
  positives: z.number(),
  /** Standard deviations that the noise gives each. */
  noise: z.strictObject({
    auc: z.number().nullable(),
    accuracy: z.number().nullable(),
    patients: z.number(),
    positives: z.number(),
  }),
  bins: z.array(z.strictObject({ negatives: z.number(), positives: z.number() })),
});
export type Evaluation = z.infer<typeof Evaluation>;

/** Weights longer than this are told by the model registry only. */
export const WEIGHTS_SHOWN_MAX = 1_024;

export const TrainingResult = z.strictObject({
  weights: z.array(z.number()).max(WEIGHTS_SHOWN_MAX).nullable(),
  scaling: Scaling.nullable(),
  /** The round of the means and spreads. */
  scalingRound: RoundId.nullable(),
  steps: z.array(TrainingStep),
  evaluation: Evaluation.nullable(),
  epsilon: z.number(),
  delta: z.number(),
  unit: z.enum(['patient', 'site']),
  /** Rounds that ended without a sum: charged, so each took the place of a step. */
  failedRounds: z.int(),
  /** Hospitals that the others refused to go on with. */
  without: z.array(SiteId),
  /** The version in the model registry; null where none is kept. */
  version: z.strictObject({ name: z.string(), version: z.int(), digest: z.string() }).nullable(),
});
export type TrainingResult = z.infer<typeof TrainingResult>;
