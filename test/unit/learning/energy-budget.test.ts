/** A budget of energy is met by a smaller model, and by no smaller one than needed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { energyOf } from '../../../shared/learning/energy.ts';
import { calibrationOf, modelWithin } from '../../../shared/learning/energy-budget.ts';
import { inputShapeOf } from '../../../shared/learning/tensors.ts';
import { EnergyBudget, LearningData, ModelSpec } from '../../../shared/wire/learning.ts';

const DATA = LearningData.parse({
  target: 'death',
  features: [{ kind: 'age' }],
  series: {
    channels: Array.from({ length: 8 }, (_, at) => ({ code: `c${at}`, low: 0, high: 1 })),
    hours: 48,
    stepHours: 2,
    stepsMax: 24,
  },
});
const budgetOf = (microjoulesPerPrediction: number) => EnergyBudget.parse({ microjoulesPerPrediction });
const microjoulesOf = (model: ModelSpec, data: LearningData, budget: EnergyBudget): number =>
  energyOf(model, inputShapeOf(data), 24, calibrationOf(budget)).joules * 1e6;
const liquid = (units: number) => ModelSpec.parse({ kind: 'liquid', units });
const unitsOf = (model: ModelSpec): number => (model.kind === 'liquid' ? model.units : Number.NaN);

describe('a model within a budget of energy', () => {
  it('has as many units as fit, and one more would not', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        fc.double({ min: 0.05, max: 20, noNaN: true }),
        (asked, micro) => {
          const budget = budgetOf(micro);
          if (microjoulesOf(liquid(1), DATA, budget) > micro) return;
          const model = modelWithin(liquid(asked), DATA, budget);
          expect(microjoulesOf(model, DATA, budget)).toBeLessThanOrEqual(micro);
          expect(unitsOf(model)).toBeLessThanOrEqual(asked);
          if (unitsOf(model) < asked)
            expect(microjoulesOf(liquid(unitsOf(model) + 1), DATA, budget)).toBeGreaterThan(micro);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is the one that was asked for where the budget is ample, and refused where nothing fits', () => {
    expect(modelWithin(liquid(16), DATA, budgetOf(1_000))).toEqual(liquid(16));
    expect(() => modelWithin(liquid(16), DATA, budgetOf(1e-6))).toThrow(/one unit is estimated/);
    const own = ModelSpec.parse({ kind: 'external', trainer: 'mine', tensors: [{ name: 'a', shape: [1] }] });
    expect(() => modelWithin(own, DATA, budgetOf(50))).toThrow(/only the command of the trainer mine/);
  });

  it('of a perceptron has all hidden layers within it', () => {
    const model = modelWithin(
      ModelSpec.parse({ kind: 'perceptron', hidden: [400, 20] }),
      DATA,
      budgetOf(0.01),
    );
    if (model.kind !== 'perceptron') throw new Error('another kind of model');
    expect(model.hidden[0]).toBeLessThan(400);
    expect(model.hidden[1]).toBeLessThanOrEqual(20);
  });
});
