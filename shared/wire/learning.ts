/** What a model learns from, and what it is: said once by whoever begins a training, the same at every site. */
import { z } from 'zod';

export const Code = z.string().regex(/^[\w.-]{1,40}$/);
const Unit = z.string().max(40);
/** Public bounds of a measured value: what lies beyond counts as the bound. */
const Bounds = { low: z.number(), high: z.number() };

/** What of a patient's measurements of one kind makes one number. `known`: 1 where there is any, else 0. */
export const Take = z.enum(['first', 'last', 'mean', 'min', 'max', 'count', 'known']);
export type Take = z.infer<typeof Take>;

/** What a model looks at of each patient. */
export const Feature = z.discriminatedUnion('kind', [
  /** Age in years at the end of the records, divided by `scale`. */
  z.strictObject({ kind: z.literal('age'), scale: z.number().positive().default(100) }),
  z.strictObject({ kind: z.literal('sex'), is: z.enum(['female', 'male']) }),
  /** Has the patient this condition? */
  z.strictObject({ kind: z.literal('condition'), code: Code }),
  z.strictObject({
    kind: z.literal('observation'),
    code: Code,
    /** As the records name it; any where left out. */
    unit: Unit.optional(),
    take: Take.default('last'),
    ...Bounds,
    /** Where values usually lie and how far from it, as textbooks say of such patients: the scaling where no round asks the patients. */
    usual: z.strictObject({ value: z.number(), spread: z.number().positive() }).optional(),
  }),
  /** Is a measured value this one? A category as a number: chest pain of kind 4. */
  z.strictObject({ kind: z.literal('is'), code: Code, value: z.number() }),
]);
export type Feature = z.infer<typeof Feature>;

/** What is told from the features. */
export const Target = z.union([
  /** The patient has this condition. */
  Code,
  /** The last measured value lies above a bound. */
  z.strictObject({ code: Code, unit: Unit.optional(), above: z.number() }),
]);
export type Target = z.infer<typeof Target>;

/** Measurements in the course of time, for models that follow it. */
export const Series = z.strictObject({
  channels: z
    .array(z.strictObject({ code: Code, unit: Unit.optional(), ...Bounds }))
    .min(1)
    .max(256),
  /** From a patient's first measurement on; what comes later is not looked at. */
  hours: z.number().positive().max(87_600),
  /** Measurements within one such piece of time make one step, as their mean. Pieces without any make none. */
  stepHours: z.number().positive(),
  stepsMax: z.int().min(1).max(1_024),
});
export type Series = z.infer<typeof Series>;

export const LearningData = z.strictObject({
  target: Target,
  features: z.array(Feature).max(1_024).default([]),
  series: Series.optional(),
});
export type LearningData = z.infer<typeof LearningData>;

/** Mean and standard deviation of each feature, then of each channel, over the whole federation. */
export const Scaling = z.strictObject({ mean: z.array(z.number()), sd: z.array(z.number().positive()) });
export type Scaling = z.infer<typeof Scaling>;

export const ModelSpec = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('logistic') }),
  z.strictObject({
    kind: z.literal('perceptron'),
    /** Units of each hidden layer (tanh). */
    hidden: z.array(z.int().min(1).max(512)).min(1).max(4).default([16]),
  }),
  z.strictObject({
    kind: z.literal('liquid'),
    /** `cfc`: closed form, gated; `ltc`: fused semi-implicit step. */
    cell: z.enum(['cfc', 'ltc']).default('cfc'),
    units: z.int().min(1).max(256).default(32),
    /** Share of recurrent connections that are never there. */
    sparsity: z.number().min(0).lt(1).default(0.4),
    /** Of the variational circuit in the gate; 0: none. */
    qubits: z.int().min(0).max(8).default(0),
    /** Fixes the wiring, the same at every site. */
    wiringSeed: z.int().nonnegative().default(1),
  }),
  /** Trained by a command of the site's own, under this name in its configuration. */
  z.strictObject({
    kind: z.literal('external'),
    trainer: z.string().regex(/^[\w.-]{1,64}$/),
    tensors: z
      .array(z.strictObject({ name: z.string().min(1).max(200), shape: z.array(z.int().positive()).max(8) }))
      .min(1)
      .max(4_096),
  }),
]);
export type ModelSpec = z.infer<typeof ModelSpec>;

/** How a site trains on its own between two sums. */
export const LocalTraining = z.strictObject({
  epochs: z.int().min(1).max(1_000).default(1),
  batch: z.int().min(1).max(65_536).default(32),
  learningRate: z.number().positive().max(100).default(0.01),
  /** `descent`: plain steps along the gradient; one over all patients at once is what a round of `fedsgd` does, with sites as the unit. */
  optimiser: z.enum(['adam', 'descent']).default('adam'),
  /** FedProx (Li et al. 2020): pull towards the common weights, mu/2·|w − w0|². */
  proximal: z.number().nonnegative().max(1_000).default(0),
  l2: z.number().nonnegative().max(1_000).default(0),
  seed: z.int().nonnegative().default(1),
  /** A site of so many patients or more counts as one, a smaller one as its share of it; 0: all sites count alike. */
  patientsMax: z.int().nonnegative().max(10_000_000).default(0),
});
export type LocalTraining = z.infer<typeof LocalTraining>;

/** What a prediction may cost on the device that is to make it: operations are counted, and joules for each are declared. An estimate. */
export const EnergyBudget = z.strictObject({
  microjoulesPerPrediction: z.number().positive(),
  /** 4.6: a 32-bit product (3.7) and sum (0.9) at 45 nm (Horowitz 2014, "Computing's energy problem"). */
  picojoulesPerMultiplyAdd: z.number().positive().default(4.6),
  /** Of an exponential or a tangent; as some twenty multiply-adds where nothing is known. */
  picojoulesPerFunction: z.number().positive().default(92),
});
export type EnergyBudget = z.infer<typeof EnergyBudget>;
