/** Rules for unmasked rounds: what each attack does to a plain sum and to each rule. Honest vectors scatter around one truth; corrupt ones work together. */
import { describe, expect, it } from 'vitest';
import {
  addDistances,
  corruptMax,
  krumChoice,
  robustPiece,
  ROBUST_RULES,
  type RobustRule,
} from '../../../shared/rounds/robust.ts';
import { seeded } from '../../../shared/seeded.ts';

const [VECTORS, WORDS, SCATTER] = [10, 200, 20];
const truth = Int32Array.from({ length: WORDS }, (_, word) => 1_000 * Math.sin(word));

/** Sums of uniform values: near enough to a normal scatter. */
const honestFrom = (seed: number): Int32Array[] => {
  const random = seeded(seed);
  return Array.from({ length: VECTORS }, () =>
    truth.map((value) => value + Math.round((random.uniform() + random.uniform() - 1) * 2 * SCATTER)),
  );
};

type Attack = (honest: readonly Int32Array[]) => Int32Array;
const ATTACKS: Readonly<Record<string, Attack>> = {
  'one that turns its vector around and makes it a hundred times as long': ([own]) =>
    own!.map((value) => -100 * value),
  'noise of any size': ([own]) => {
    const random = seeded(5);
    return own!.map(() => random.below(200_000) - 100_000);
  },
  'a constant far away': ([own]) => own!.map(() => 1_000_000),
};

const applied = (rule: RobustRule | 'sum', vectors: readonly Int32Array[]): number[] => {
  const count = vectors.length;
  if (rule === 'sum')
    return [...truth.keys()].map((word) => vectors.reduce((sum, one) => sum + one[word]!, 0));
  if (rule !== 'krum') return [...robustPiece(vectors, rule)];
  const distances = new Float64Array(count ** 2);
  addDistances(distances, vectors);
  return [...vectors[krumChoice(distances, count)]!].map((value) => value * count);
};
/** Mean distance a coordinate, of the result per vector from the truth. */
const errorOf = (rule: RobustRule | 'sum', vectors: readonly Int32Array[]): number =>
  applied(rule, vectors).reduce(
    (sum, value, word) => sum + Math.abs(value / vectors.length - truth[word]!),
    0,
  ) / WORDS;

const attacked = (attack: Attack, corrupt: number): Int32Array[] => {
  const honest = honestFrom(3);
  return honest.map((vector, at) => (at < corrupt ? attack(honest) : vector));
};

describe.each(Object.entries(ATTACKS))('against %s', (_, attack) => {
  it('a sum is carried away by one', () => {
    expect(errorOf('sum', attacked(attack, 1))).toBeGreaterThan(5 * SCATTER);
  });

  it.each(ROBUST_RULES)('%s holds with as many corrupt ones as it says', (rule) => {
    for (let corrupt = 0; corrupt <= corruptMax(rule, VECTORS); corrupt += 1)
      expect([corrupt, errorOf(rule, attacked(attack, corrupt)) < SCATTER]).toEqual([corrupt, true]);
  });
});

describe('what no rule of these stops', () => {
  it('a little of everything: corrupt vectors within the scatter of the honest ones move every result', () => {
    // "A little is enough" (Baruch et al. 2019): each coordinate shifted by less than honest ones differ.
    const shifted: Attack = ([own]) => own!.map((value) => value - SCATTER);
    for (const rule of ROBUST_RULES) {
      const moved = errorOf(rule, attacked(shifted, corruptMax(rule, VECTORS)));
      expect(moved).toBeGreaterThan(0);
      expect(moved).toBeLessThan(2 * SCATTER);
    }
  });

  it('more corrupt ones than a rule is made for', () => {
    const away = ATTACKS['a constant far away']!;
    for (const rule of ['median', 'trimmed_mean'] as const)
      expect(errorOf(rule, attacked(away, 6))).toBeGreaterThan(100 * SCATTER);
  });
});

describe('without corrupt vectors', () => {
  it.each(ROBUST_RULES)('%s is near the truth', (rule) => {
    expect(errorOf(rule, honestFrom(8))).toBeLessThan(SCATTER);
  });
  it('of one vector every rule gives that vector', () => {
    for (const rule of ['median', 'trimmed_mean'] as const)
      expect([...robustPiece([truth], rule)]).toEqual([...truth]);
  });
});
