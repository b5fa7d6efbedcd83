/** Event trees of the reference files, as this program's. */
import { z } from 'zod';
import type { LossEvent, Relation } from '../../shared/privacy/loss-event.ts';
import { Real, Unsupported } from './golden-compare.ts';

export const RelationName = z.enum(['add_or_remove_one', 'replace_one', 'replace_special']);

/**
 * What a reference file divides Gaussian noise by: the largest distance between neighbours, or the norm bound of one record, which under
 * replace-one is half of that.
 */
export const sensitivityOf = (noiseMultiplierMeans: string | undefined, relation: Relation): number => {
  if (relation !== 'replace_one' || noiseMultiplierMeans === undefined) return 1;
  return noiseMultiplierMeans.includes('per-record') ? 2 : 1;
};

const Type = z.looseObject({ type: z.string() });
const Noise = z.object({ noise_multiplier: Real });
const Nested = z.object({ event: z.unknown() });

interface Context {
  readonly relation: Relation;
  readonly sensitivity: number;
}

type Reader = (input: unknown, context: Context) => LossEvent;

const readers: Readonly<Record<string, Reader | undefined>> = {
  gaussian: (input, { relation, sensitivity }) => ({
    type: 'gaussian',
    relation,
    sigma: Noise.parse(input).noise_multiplier,
    sensitivity,
  }),
  laplace: (input, { relation }) => ({
    type: 'laplace',
    relation,
    scale: Noise.parse(input).noise_multiplier,
    sensitivity: 1,
  }),
  discrete_gaussian: (input, { relation }) => ({
    type: 'discrete_gaussian',
    relation,
    ...z.object({ sigma: z.number(), sensitivity: z.number() }).parse(input),
  }),
  discrete_laplace: (input, { relation }) => {
    const read = z.object({ noise_parameter: z.number(), sensitivity: z.number() }).parse(input);
    return {
      type: 'discrete_laplace',
      relation,
      scale: 1 / read.noise_parameter,
      sensitivity: read.sensitivity,
    };
  },
  randomized_response: (input, { relation }) => {
    const read = z.object({ noise_parameter: z.number(), num_buckets: z.number() }).parse(input);
    return { type: 'randomized_response', relation, noise: read.noise_parameter, buckets: read.num_buckets };
  },
  exponential_mechanism: (input, { relation }) => ({
    type: 'exponential_mechanism',
    relation,
    ...z.object({ epsilon: z.number() }).parse(input),
  }),
  permute_and_flip: (input, { relation }) => ({
    type: 'permute_and_flip',
    relation,
    ...z.object({ epsilon: z.number() }).parse(input),
  }),
  pure: (input, { relation }) => ({
    type: 'epsilon_delta',
    relation,
    ...z.object({ epsilon: z.number() }).parse(input),
    delta: 0,
  }),
  epsilon_delta: (input, { relation }) => ({
    type: 'epsilon_delta',
    relation,
    ...z.object({ epsilon: z.number(), delta: z.number() }).parse(input),
  }),
  zcdp: (input, { relation }) => ({
    type: 'zcdp',
    relation,
    ...z.object({ rho: z.number(), xi: z.number().default(0) }).parse(input),
  }),
  tree_aggregation: (input, { relation, sensitivity }) => {
    const steps = z
      .object({ step_counts: z.union([z.number().transform((count) => [count]), z.array(z.number())]) })
      .parse(input).step_counts;
    const sigma = Noise.parse(input).noise_multiplier;
    return { type: 'tree_aggregation', relation, sigma, sensitivity, stepCounts: steps };
  },
  poisson_sampled: (input, context) => ({
    type: 'poisson_sampled',
    probability: z.object({ sampling_probability: z.number() }).parse(input).sampling_probability,
    event: readEvent(Nested.parse(input).event, context),
  }),
  sampled_without_replacement: (input, context) => {
    const read = z.object({ source_dataset_size: z.number(), sample_size: z.number() }).parse(input);
    return {
      type: 'sampled_without_replacement',
      sourceSize: read.source_dataset_size,
      sampleSize: read.sample_size,
      event: readEvent(Nested.parse(input).event, context),
    };
  },
  composed: (input, context) => ({
    type: 'composed',
    events: z
      .object({ events: z.array(z.unknown()) })
      .parse(input)
      .events.map((event) => readEvent(event, context)),
  }),
  self_composed: (input, context) => ({
    type: 'self_composed',
    count: z.object({ count: z.number() }).parse(input).count,
    event: readEvent(Nested.parse(input).event, context),
  }),
  repeat_and_select: (input, context) => ({
    type: 'repeat_and_select',
    ...z.object({ mean: z.number(), shape: Real }).parse(input),
    event: readEvent(Nested.parse(input).event, context),
  }),
};

/** @throws Unsupported for an event this program does not know. */
export function readEvent(input: unknown, context: Context): LossEvent {
  const { type } = Type.parse(input);
  const reader = readers[type];
  if (reader === undefined) throw new Unsupported(`event ${type}`);
  return reader(input, context);
}
