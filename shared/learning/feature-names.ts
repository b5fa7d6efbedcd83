/** What features are called where people and programs give values for them. */
import type { Feature, LearningData } from '../wire/learning.ts';

/** `age`, `sex=female`, `condition=CODE`, `observation=CODE` (the last value) or `observation=CODE:mean`, `is=CODE:4`. */
export const featureName = (feature: Feature): string => {
  if (feature.kind === 'age') return 'age';
  if (feature.kind === 'sex') return `sex=${feature.is}`;
  if (feature.kind === 'condition') return `condition=${feature.code}`;
  if (feature.kind === 'is') return `is=${feature.code}:${feature.value}`;
  return `observation=${feature.code}${feature.take === 'last' ? '' : `:${feature.take}`}`;
};

/** In the model's order; of two features of one name (one code in two units) the second and later have their number behind it. */
export const featureNames = ({ features }: LearningData): readonly string[] => {
  const seen = new Map<string, number>();
  return features.map((feature) => {
    const name = featureName(feature);
    const before = seen.get(name) ?? 0;
    seen.set(name, before + 1);
    return before === 0 ? name : `${name}#${before + 1}`;
  });
};
