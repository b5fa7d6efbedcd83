/** What a model's flat vector holds, for models that are built in and for those that a site's own command trains. */
import { QflError } from '../errors.ts';
import type { LearningData, ModelSpec } from '../wire/learning.ts';
import type { InputShape, TensorPart } from './model.ts';
import { layoutOf } from './layout.ts';
import { modelOf } from './models.ts';

export interface Tensors {
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  /** Weights to begin from where none are given. */
  initial(seed: number): Float64Array<ArrayBuffer>;
}

export const inputShapeOf = ({ features, series }: LearningData): InputShape => ({
  features: features.length,
  channels: series?.channels.length ?? 0,
});

/** Numbers of a model: with what a training keeps of each, a gigabyte. */
const NUMBERS_MAX = 32 * 1_048_576;

/** @throws QflError `invalid_request` when the data has not what the model looks at, or it is too large */
export const tensorsOf = (spec: ModelSpec, data: LearningData): Tensors => {
  if (spec.kind !== 'external') return modelOf(spec, inputShapeOf(data));
  const count = spec.tensors.reduce(
    (sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1),
    0,
  );
  if (!(count <= NUMBERS_MAX))
    throw new QflError('invalid_request', {
      detail: `a model of ${count} numbers, and ${NUMBERS_MAX} are allowed`,
      next: 'Train adapters (LoRA) instead of whole weights.',
    });
  const { size, tensors } = layoutOf(spec.tensors.map(({ name, shape }) => [name, shape] as const));
  return { size, tensors, initial: () => new Float64Array(size) };
};
