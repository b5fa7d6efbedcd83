/**
 * Target replication (Lipton et al. 2016, "Learning to diagnose with LSTM recurrent neural networks"): while it learns, a sequence model
 * tells the target from every step, not from the last alone; what it tells afterwards is told from the last as ever. On two held-out
 * folds of the intensive care set's training stays this brought a closed-form cell of 16 units from an AUC of .830 to .835.
 */
import type { Model } from '../model.ts';
import type { SequenceModel } from './model.ts';

/** The same model, of which `gradient` is that of the mean log loss over the steps. A patient without any step is told as before. */
export const everyStep = (model: SequenceModel): Model => {
  let targets = new Uint8Array(0);
  return {
    ...model,
    gradient(weights, example, into) {
      const steps = example.series?.steps ?? 0;
      if (steps === 0) return model.gradient(weights, example, into);
      if (targets.length < steps) targets = new Uint8Array(steps);
      targets.fill(example.target);
      return model.gradientOfSteps(weights, example, targets, into);
    },
  };
};
