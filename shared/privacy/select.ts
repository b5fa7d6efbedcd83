/**
 * Exact selection with integer utilities. Both mechanisms test candidates with probability exp(−ε·gap/(2D)), gap being the distance of a
 * candidate's utility from the best: the test passes iff a geometric variable G with P(G ≥ k) = exp(−kε/(2D)) reaches the gap,
 * and G does not depend on the data, so it is drawn before the data is read.
 */
import { assert } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import type { Selection } from './mechanism.ts';
import { randomIntegers, type RandomIntegers } from './random-bits.ts';
import { multiply, type Rational, rational } from './rational.ts';
import { sampleGeometric } from './samplers.ts';

interface Trial {
  readonly candidate: number;
  /** Largest gap at which this trial accepts. */
  readonly reach: bigint;
}

/**
 * Trials of the exponential mechanism drawn in advance, per candidate: the best candidate accepts always, so every trial succeeds with
 * probability 1/candidates at least, and the pool runs dry with probability under e^-POOL_PER_CANDIDATE.
 */
const POOL_PER_CANDIDATE = 24;
const TRIALS_PER_TURN = 2_048;

/** ε/(2D): the rate at which a test fails per unit of gap. */
const rateOf = ({ epsilon, sensitivity }: Selection): Rational =>
  multiply(epsilon, rational(1n, 2n * sensitivity));

const gapsOf = (exact: readonly bigint[]): readonly bigint[] => {
  const best = exact.reduce((top, value) => (value > top ? value : top));
  return exact.map((value) => best - value);
};

/** Uniform order (Fisher, Yates). */
const permutation = (count: number, random: RandomIntegers): number[] => {
  const order = Array.from({ length: count }, (_, at) => at);
  for (let last = count - 1; last > 0; last -= 1) {
    const at = Number(random.below(BigInt(last + 1)));
    const value = order[last]!;
    order[last] = order[at]!;
    order[at] = value;
  }
  return order;
};

const drawTrials = async (
  count: number,
  draw: (at: number) => Trial,
  turn: () => Promise<void>,
): Promise<Trial[]> => {
  const trials: Trial[] = [];
  for (let at = 0; at < count; at += 1) {
    if (at > 0 && at % TRIALS_PER_TURN === 0) await turn();
    trials.push(draw(at));
  }
  return trials;
};

/** Takes one utility per candidate, gives the position of the candidate chosen. `turn` lets others work between two batches of draws. */
export const prepareSelection = async (
  mechanism: Selection,
  random: RandomBytes,
  turn: () => Promise<void>,
): Promise<(exact: readonly bigint[]) => readonly bigint[]> => {
  const integers = randomIntegers(random);
  const rate = rateOf(mechanism);
  const { candidates, kind } = mechanism;
  const uniform = (): Trial => ({
    candidate: Number(integers.below(BigInt(candidates))),
    reach: sampleGeometric(rate, integers),
  });
  const order = kind === 'exponential' ? [] : permutation(candidates, integers);
  const trials = await drawTrials(
    kind === 'exponential' ? candidates * POOL_PER_CANDIDATE : candidates,
    kind === 'exponential'
      ? uniform
      : (at) => ({ candidate: order[at]!, reach: sampleGeometric(rate, integers) }),
    turn,
  );
  return (exact) => {
    assert(exact.length === candidates, 'one utility per candidate');
    const gaps = gapsOf(exact);
    const accepts = ({ candidate, reach }: Trial): boolean => gaps[candidate]! <= reach;
    let taken = trials.find(accepts);
    // A dry pool is not an error: going on keeps the distribution exact. Permute-and-flip never gets here, its best candidate accepts.
    while (taken === undefined) {
      const next = uniform();
      if (accepts(next)) taken = next;
    }
    return [BigInt(taken.candidate)];
  };
};
