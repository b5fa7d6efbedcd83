import { QflError } from '../errors.ts';
import type { ModelSpec } from '../wire/learning.ts';
import { cfcCell } from './liquid/cfc.ts';
import { ltcCell } from './liquid/ltc.ts';
import { liquidModel, type SequenceModel } from './liquid/model.ts';
import { logisticModel } from './logistic.ts';
import type { InputShape, Model } from './model.ts';
import { perceptronModel } from './perceptron.ts';

export type LiquidSpec = Extract<ModelSpec, { kind: 'liquid' }>;

/** @throws QflError `invalid_request` when there is no channel to follow. */
export const liquidOf = (spec: LiquidSpec, shape: InputShape): SequenceModel => {
  if (shape.channels === 0)
    throw new QflError('invalid_request', {
      detail: 'a liquid model follows measurements in the course of time, and the data names none',
      next: 'Name the channels of a series, or choose a logistic or perceptron model.',
    });
  const makeCell = spec.cell === 'cfc' ? cfcCell : ltcCell;
  return liquidModel(shape, (width) => makeCell({ ...spec, width }));
};

/**
 * The model that a specification names, for data of this shape. A model keeps scratch space: use one for each thread.
 * @throws QflError `invalid_request` when the data has not what the model looks at.
 */
export const modelOf = (spec: ModelSpec, shape: InputShape): Model => {
  if (spec.kind === 'liquid') return liquidOf(spec, shape);
  if (spec.kind === 'external')
    throw new QflError('invalid_request', {
      detail: `only the command of the trainer ${spec.trainer} knows this model`,
      next: 'Pull its weights and use them where they came from; or train a model that is built in.',
    });
  if (shape.features === 0)
    throw new QflError('invalid_request', {
      detail: `a ${spec.kind} model looks at features, and the data names none`,
      next: 'Name at least one feature.',
    });
  return spec.kind === 'logistic' ? logisticModel(shape) : perceptronModel(spec.hidden, shape);
};
