import type { Seeded } from '../seeded.ts';

/** Uniform within ±√(6 / (inputs + outputs)) (Glorot, Bengio 2010, equation 16): written over all of `into`. */
export const fillGlorot = (into: Float64Array, inputs: number, outputs: number, random: Seeded): void => {
  const limit = Math.sqrt(6 / (inputs + outputs));
  for (let at = 0; at < into.length; at += 1) into[at] = limit * (2 * random.uniform() - 1);
};
