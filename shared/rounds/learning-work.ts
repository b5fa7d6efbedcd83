/** What a round of learning says to its sites: one kind of work for each, with the shape of the vectors that come of it. */
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { groupsOf } from '../learning/moments.ts';
import { tensorsOf } from '../learning/tensors.ts';
import { LearningData, LocalTraining, ModelSpec, Scaling } from '../wire/learning.ts';
import { bookkeptShape } from './bookkeeping.ts';
import { gridOf, type Party, priceOf, SIGMA_SQUARED, type SumShape } from './noise.ts';
import type { RoundPlan, RoundPrivacy } from './plan.ts';

/** Of a patient in so many, at random but the same in each round, nothing is learnt: a model is measured on those. 0: nobody is held out. */
const HeldOut = z.int().min(0).max(1_000);
/** Variance of each site's share of the noise, in steps of the grid. */
const SigmaSquared = z.string().regex(SIGMA_SQUARED);
const common = { data: LearningData, heldOutOneIn: HeldOut, sigmaSquared: SigmaSquared } as const;
const withModel = { ...common, model: ModelSpec, scaling: Scaling.nullable() } as const;
const Clip = z.number().positive();

const GradientWork = z.strictObject({ ...withModel, clip: Clip });
export type GradientWork = z.infer<typeof GradientWork>;
const MomentsWork = z.strictObject(common);
export type MomentsWork = z.infer<typeof MomentsWork>;
const UpdateWork = z.strictObject({ ...withModel, clip: Clip, local: LocalTraining });
export type UpdateWork = z.infer<typeof UpdateWork>;
const ScoresWork = z.strictObject({ ...withModel, bins: z.int().min(2).max(1_000) });
export type ScoresWork = z.infer<typeof ScoresWork>;

/** Settings before the noise is known. */
export type Unnoised<Work> = Omit<Work, 'sigmaSquared'>;

export interface WorkKind<Work extends { readonly sigmaSquared: string }> {
  readonly kind: string;
  readonly schema: z.ZodType<Work>;
  shape(work: Unnoised<Work>): SumShape;
}

/** Each patient's clipped gradient at the current weights. */
export const GRADIENT: WorkKind<GradientWork> = {
  kind: 'gradient',
  schema: GradientWork,
  shape: ({ data, model, clip }) => bookkeptShape(tensorsOf(model, data).size, clip, 'patient'),
};
/** How far a site's own training moves the weights: clipped as a whole, so the unit is the site. */
export const UPDATE: WorkKind<UpdateWork> = {
  kind: 'update',
  schema: UpdateWork,
  shape: ({ data, model, clip }) => bookkeptShape(tensorsOf(model, data).size, clip, 'site'),
};
/** Of what is standardised: is it known, its value, the square of it; none of them above one. */
export const MOMENTS: WorkKind<MomentsWork> = {
  kind: 'moments',
  schema: MomentsWork,
  shape({ data }) {
    const length = 3 * groupsOf(data).length;
    return { length, clip: Math.sqrt(length), unit: 'patient' };
  },
};
/** Of the patients held out: how many of each outcome get which score. One 1 each. */
export const SCORES: WorkKind<ScoresWork> = {
  kind: 'scores',
  schema: ScoresWork,
  shape: ({ bins }) => ({ length: 2 * bins, clip: 1, unit: 'patient' }),
};

/** @throws QflError `invalid_request` for settings that are none of this kind, or make another number of words than the plan sums */
export const parseWork = <Work extends { readonly sigmaSquared: string }>(
  kind: WorkKind<Work>,
  plan: RoundPlan,
): Work => {
  const parsed = kind.schema.safeParse(plan.work.settings);
  if (!parsed.success)
    throw new QflError('invalid_request', {
      detail: `no work of kind ${kind.kind}: ${z.prettifyError(parsed.error)}`,
    });
  const { words } = gridOf(kind.shape(parsed.data));
  if (words === plan.words) return parsed.data;
  throw new QflError('invalid_request', {
    detail: `the plan sums ${plan.words} words, and its work makes ${words}`,
  });
};

export const workPrice = <Work extends { readonly sigmaSquared: string }>(
  kind: WorkKind<Work>,
  work: Work,
  party: Party,
): RoundPrivacy => priceOf(kind.shape(work), work.sigmaSquared, party);
