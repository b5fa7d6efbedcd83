/** What a model's flat vector holds, for models that are built in and for those that a site's own command trains. */
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

/** @throws QflError `invalid_request` when the data has not what the model looks at */
export const tensorsOf = (spec: ModelSpec, data: LearningData): Tensors => {
  if (spec.kind !== 'external') return modelOf(spec, inputShapeOf(data));
  const { size, tensors } = layoutOf(spec.tensors.map(({ name, shape }) => [name, shape] as const));
  return { size, tensors, initial: () => new Float64Array(size) };
};
