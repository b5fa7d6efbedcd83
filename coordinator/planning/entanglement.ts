/**
 * Entanglement strength: how much the place of one task says about the place of another, over the weighted ensemble. For a pair whose places are both
 * open (entropies above 0.05 nat): NMI = I(j, k)/min(H_j, H_k) minus the mean of a permutation null, and "entangled" only above
 * the null's 99th percentile. For a collapsed pair: chance-corrected agreement κ = (agree − chance)/(1 − chance). It is a statistic of a
 * classical ensemble; CHSH belongs to quantum back ends only.
 */
import { seeded, type Seeded } from '../../shared/seeded.ts';

export const ENTROPY_MIN_NATS = 0.05;
export const PERMUTATIONS = 200;

/** One row per assignment: the two tasks' sites and the weight, weights summing to 1. */
export interface PairSample {
  readonly first: readonly number[];
  readonly second: readonly number[];
  readonly weights: readonly number[];
}

export interface PairStrength {
  readonly measure: 'nmi' | 'kappa';
  /** NMI above chance, or κ; negative κ is avoidance. null: κ of a pair where chance explains everything. */
  readonly strength: number | null;
  /** Above the 99th percentile of the null; for κ: different from 0. */
  readonly entangled: boolean;
}

const distribution = (values: readonly number[], weights: readonly number[]): Map<number, number> => {
  const p = new Map<number, number>();
  values.forEach((value, at) => p.set(value, (p.get(value) ?? 0) + weights[at]!));
  return p;
};

const entropyOf = (p: Iterable<number>): number => {
  let entropy = 0;
  for (const share of p) if (share > 0) entropy -= share * Math.log(share);
  return entropy;
};

/** Joint code of two sites; sites are counted well below this. */
const SITES_MAX = 65_536;

/** I(j, k)/min(H_j, H_k) of the weighted sample; 0 when one of them is decided. */
export const normalisedMutualInformation = ({ first, second, weights }: PairSample): number => {
  const [h1, h2] = [first, second].map((values) => entropyOf(distribution(values, weights).values())) as [
    number,
    number,
  ];
  const least = Math.min(h1, h2);
  if (least <= 0) return 0;
  const joint = entropyOf(
    distribution(
      first.map((site, at) => site * SITES_MAX + second[at]!),
      weights,
    ).values(),
  );
  return Math.min(1, Math.max(0, (h1 + h2 - joint) / least));
};

const shuffled = (values: readonly number[], random: Seeded): number[] => {
  const copy = [...values];
  for (let at = copy.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    [copy[at], copy[other]] = [copy[other]!, copy[at]!];
  }
  return copy;
};

/** κ with `chance` the agreement of two tasks placed by the sites' shares of all tasks (Scott's π): a decided pair has no chance of its own. */
export const agreementKappa = ({ first, second, weights }: PairSample, chance: number): number | null => {
  let agree = 0;
  first.forEach((site, at) => {
    if (site === second[at]) agree += weights[at]!;
  });
  return chance >= 1 - 1e-12 ? null : (agree - chance) / (1 - chance);
};

export const pairStrength = (
  pair: PairSample,
  { chance, seed, permutations = PERMUTATIONS }: { chance: number; seed: number; permutations?: number },
): PairStrength => {
  const entropies = [pair.first, pair.second].map((values) =>
    entropyOf(distribution(values, pair.weights).values()),
  );
  if (Math.min(...entropies) <= ENTROPY_MIN_NATS) {
    const kappa = agreementKappa(pair, chance);
    return { measure: 'kappa', strength: kappa, entangled: kappa !== null && Math.abs(kappa) > 1e-9 };
  }
  const random = seeded(seed);
  const observed = normalisedMutualInformation(pair);
  const nulls = Array.from({ length: permutations }, () =>
    normalisedMutualInformation({ ...pair, second: shuffled(pair.second, random) }),
  ).toSorted((a, b) => a - b);
  const mean = nulls.reduce((sum, value) => sum + value, 0) / permutations;
  const p99 = nulls[Math.ceil(0.99 * permutations) - 1]!;
  return { measure: 'nmi', strength: observed - mean, entangled: observed > p99 };
};

/** √(m/(m−1) · (1 − tr ρ_A²)) of Σ √P(i, i′)|i i′⟩ with m sites: 0 for a product, 1 for a full match. */
export const iConcurrence = ({ first, second, weights }: PairSample, sites: number): number => {
  if (sites < 2) return 0;
  const joint = Array.from({ length: sites }, () => new Float64Array(sites));
  first.forEach((site, at) => (joint[site]![second[at]!]! += weights[at]!));
  let purity = 0;
  for (const left of joint)
    for (const right of joint) {
      let inner = 0;
      for (let site = 0; site < sites; site += 1) inner += Math.sqrt(left[site]! * right[site]!);
      purity += inner * inner;
    }
  return Math.sqrt(Math.max(0, (sites / (sites - 1)) * (1 - purity)));
};

/** Agreement of two tasks placed by the sites' shares of all tasks: Σ s². */
export const chanceAgreement = (marginals: readonly ArrayLike<number>[]): number => {
  const sites = marginals[0]?.length ?? 0;
  let chance = 0;
  for (let site = 0; site < sites; site += 1) {
    const share = marginals.reduce((sum, p) => sum + p[site]!, 0) / marginals.length;
    chance += share * share;
  }
  return chance;
};
