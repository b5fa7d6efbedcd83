/** The largest model of a kind that a budget of energy allows: what a training is asked with, before anything of it is planned. */
import { QflError } from '../errors.ts';
import type { EnergyBudget, LearningData, ModelSpec } from '../wire/learning.ts';
import { type Calibration, largestWithin } from './energy.ts';
import { inputShapeOf } from './tensors.ts';

const PICO = 1e-12;
const MICRO = 1e-6;

export const calibrationOf = ({
  picojoulesPerMultiplyAdd,
  picojoulesPerFunction,
}: EnergyBudget): Calibration => ({
  joulesPerMultiplyAdd: picojoulesPerMultiplyAdd * PICO,
  joulesPerFunction: picojoulesPerFunction * PICO,
  source: `estimate: operations counted, ${picojoulesPerMultiplyAdd} pJ for a multiply-add and ${picojoulesPerFunction} pJ for a function declared`,
});

/**
 * The model with as many units as the budget allows, and no more than it was asked with; of a perceptron all hidden layers alike.
 * @throws QflError `invalid_request` where the smallest one is too large, or nobody knows what the model costs
 */
export const modelWithin = (model: ModelSpec, data: LearningData, budget: EnergyBudget): ModelSpec => {
  const question = {
    shape: inputShapeOf(data),
    steps: data.series?.stepsMax ?? 1,
    calibration: calibrationOf(budget),
    budgetJoules: budget.microjoulesPerPrediction * MICRO,
  };
  switch (model.kind) {
    case 'logistic':
      return largestWithin({ ...question, specOf: () => model, unitsMax: 1 }).spec;
    case 'perceptron':
      return largestWithin({
        ...question,
        specOf: (units) => ({ ...model, hidden: model.hidden.map((asked) => Math.min(asked, units)) }),
        unitsMax: Math.max(...model.hidden),
      }).spec;
    case 'liquid':
      return largestWithin({ ...question, specOf: (units) => ({ ...model, units }), unitsMax: model.units })
        .spec;
    case 'external':
      break;
  }
  throw new QflError('invalid_request', {
    detail: `only the command of the trainer ${model.trainer} knows what its model costs`,
    next: 'Leave the energy budget out.',
  });
};
