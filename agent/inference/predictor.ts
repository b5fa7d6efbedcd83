/** A model that is loaded: what it says of examples, with its weights as they are and rounded to float32. */
import { QflError } from '../../shared/errors.ts';
import type { Example, InputShape, Model } from '../../shared/learning/model.ts';
import { inputShapeOf } from '../../shared/learning/tensors.ts';
import { readFlat } from '../../shared/tensor/safetensors.ts';
import type { LearningData, ModelSpec } from '../../shared/wire/learning.ts';
import type { ModelRecord } from '../../shared/wire/model.ts';
import type { Prediction } from '../../shared/wire/pulled-model.ts';
import type { LoadedModel } from '../models/pulled.ts';
import { isCoherent } from './coherence.ts';

/** `modelOf` of shared/learning/models.ts, or a test's. */
export type ModelMaker = (spec: ModelSpec, shape: InputShape) => Model;

/** @throws QflError `invalid_request` for a model whose record does not say what it looks at */
export const dataOf = ({ name, version, lineage }: ModelRecord): LearningData => {
  if (lineage.data !== null) return lineage.data;
  throw new QflError('invalid_request', {
    detail: `the record of ${name} ${version} does not say what the model looks at`,
    next: 'Use its weights where they came from: qfl model pull',
  });
};

const checked = (probability: number): number => {
  if (probability >= 0 && probability <= 1) return probability;
  throw new QflError('internal', { detail: 'the model gave no probability' });
};

export type Predictor = (example: Example) => Prediction;

/** @param fitted weights to use in place of the file's @throws QflError `invalid_request` for weights that are not of this model, and for models that are not built in */
export const createPredictor = (
  { record, file }: LoadedModel,
  make: ModelMaker,
  fitted?: Float64Array,
): Predictor => {
  const model = make(record.lineage.model, inputShapeOf(dataOf(record)));
  const weights = fitted ?? readFlat(model.tensors, file);
  const rounded = weights.map(Math.fround);
  return (example) => {
    const probability = checked(model.predict(weights, example));
    return { probability, coherent: isCoherent(probability, model.predict(rounded, example)) };
  };
};
