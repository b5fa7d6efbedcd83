/**
 * Pairs (P, Q) of continuous laws that are worst for a mechanism with additive noise: mixtures of one noise at few places, ordered
 * so that the loss ln(P/Q)(x) grows with x. Poisson sampling mixes the noise at 0 in (Zhu, Dong, Wang 2022, Theorem 11).
 */
import { normalTail } from '../math/normal.ts';
import { gridBuilder, type GridSettings, type LossGrid } from './loss-grid.ts';

/** Noise of scale 1, symmetric around 0. */
interface Noise {
  /** P(X > x) for x ≥ 0, with full relative accuracy. */
  tail(x: number): number;
}

/** Normal tails beyond are under 1e-21. */
const GAUSSIAN_REACH = 9.6;

const gaussianNoise: Noise = { tail: normalTail };
const laplaceNoise: Noise = { tail: (x) => Math.exp(-x) / 2 };

/** In units where the noise has scale 1. */
export interface NoisePair {
  readonly noise: Noise;
  readonly centres: readonly number[];
  readonly pWeights: readonly number[];
  readonly qWeights: readonly number[];
  readonly lossLow: number;
  readonly lossHigh: number;
  /** The x at which the loss reaches epsilon; ∓Infinity where it never falls that low or is never above. */
  positionOf(epsilon: number): number;
}

/** ln(1 − q + q·e^w), without cancellation wherever w lies. */
const mixedLoss = (q: number, w: number): number => {
  if (w > 1) return w + Math.log(q + (1 - q) * Math.exp(-w));
  return w < -1 ? Math.log(1 - q + q * Math.exp(w)) : Math.log1p(q * Math.expm1(w));
};

/** Its inverse; −Infinity at and below the least loss ln(1 − q). */
const unmixed = (q: number, epsilon: number): number => {
  if (q === 1) return epsilon;
  if (epsilon > 30) return epsilon + Math.log((1 - (1 - q) * Math.exp(-epsilon)) / q);
  if (epsilon < -1) return Math.log(Math.max(0, Math.exp(epsilon) - (1 - q)) / q);
  const ratio = Math.expm1(epsilon) / q;
  return ratio <= -1 ? -Infinity : Math.log1p(ratio);
};

export type Direction = 'remove' | 'add';

/** Where ln of (noise at d over noise at 0) is w, and back; `low` and `high` bound w. */
interface Shift {
  readonly distance: number;
  ratioAt(x: number): number;
  positionAt(w: number): number;
  readonly reach: number;
}

const gaussianShift = (distance: number): Shift => ({
  distance,
  ratioAt: (x) => distance * x - distance ** 2 / 2,
  positionAt: (w) => w / distance + distance / 2,
  reach: GAUSSIAN_REACH,
});

const laplaceShift = (distance: number): Shift => ({
  distance,
  ratioAt: (x) => Math.min(Math.max(2 * x - distance, -distance), distance),
  positionAt: (w) => (w < -distance ? -Infinity : w >= distance ? Infinity : (w + distance) / 2),
  // Where the loss no longer changes it does not matter how far out an answer lies.
  reach: Infinity,
});

/** The record's presence moves the noise by `distance`; it takes part with probability q. */
const sampledPair = (noise: Noise, shift: Shift, q: number, direction: Direction): NoisePair => {
  const { distance, reach } = shift;
  const lowest = mixedLoss(q, shift.ratioAt(-reach));
  const highest = mixedLoss(q, shift.ratioAt(distance + reach));
  if (direction === 'remove') {
    return {
      noise,
      centres: [0, distance],
      pWeights: [1 - q, q],
      qWeights: [1, 0],
      lossLow: lowest,
      lossHigh: highest,
      positionOf: (epsilon) => shift.positionAt(unmixed(q, epsilon)),
    };
  }
  // Seen from the other side the loss changes sign; so does x, to let it grow.
  return {
    noise,
    centres: [0, -distance],
    pWeights: [1, 0],
    qWeights: [1 - q, q],
    lossLow: -mixedLoss(q, shift.ratioAt(reach)),
    lossHigh: -lowest,
    positionOf: (epsilon) => -shift.positionAt(unmixed(q, -epsilon)),
  };
};

export const gaussianPair = (distance: number, q: number, direction: Direction): NoisePair =>
  sampledPair(gaussianNoise, gaussianShift(distance), q, direction);

export const laplacePair = (distance: number, q: number, direction: Direction): NoisePair =>
  sampledPair(laplaceNoise, laplaceShift(distance), q, direction);

/**
 * Replace-one under Poisson sampling: the record moves the noise by half of `distance` one way, its replacement as far the other. The
 * loss is odd in x and both directions are the same. With u = e^(c·x), s = q·e^(−c²/2), c = distance/2, the loss reaches
 * epsilon where s·u² − (1−q)(e^ε − 1)·u − s·e^ε = 0.
 */
export const gaussianReplacedPair = (distance: number, q: number): NoisePair => {
  const c = distance / 2;
  const logS = Math.log(q) - (c * c) / 2;
  const at = (x: number): number => {
    const over = Math.max(0, logS + c * Math.abs(x));
    const top = Math.exp(logS + c * Math.abs(x) - over) + (1 - q) * Math.exp(-over);
    const bottom = Math.exp(logS - c * Math.abs(x)) + 1 - q;
    return Math.sign(x) * (over + Math.log(top) - Math.log(bottom));
  };
  const positionFrom = (epsilon: number): number => {
    // Both roots' signs are known, so the larger one is the sum of two terms at or above 0; divided by s·e^(ε/2).
    const half = Math.exp(-epsilon / 2);
    const b = ((1 - q) * -Math.expm1(-epsilon)) / (2 * Math.exp(logS) * half);
    const logU = epsilon / 2 + (b > 1e150 ? Math.log(2 * b) : Math.asinh(b));
    return logU / c;
  };
  const furthest = at(c + GAUSSIAN_REACH);
  return {
    noise: gaussianNoise,
    centres: [0, c, -c],
    pWeights: [1 - q, q, 0],
    qWeights: [1 - q, 0, q],
    lossLow: -furthest,
    lossHigh: furthest,
    positionOf: (epsilon) => (epsilon >= 0 ? positionFrom(epsilon) : -positionFrom(-epsilon)),
  };
};

/** Masses of neighbouring stretches (…, x₁], (x₁, x₂], … under both laws, walking upwards from −Infinity. */
interface Walk {
  p: number;
  q: number;
  to(x: number): void;
}

const walk = ({ noise, centres, pWeights, qWeights }: NoisePair): Walk => {
  const at = centres.map(() => -Infinity);
  // The tail beyond each end, on the side away from the centre: the smaller of its two.
  const tails = centres.map(() => 0);
  const advance = (which: number, x: number): number => {
    const from = at[which]!;
    const fromTail = tails[which]!;
    const toTail = noise.tail(Math.abs(x));
    at[which] = x;
    tails[which] = toTail;
    if (from >= 0) return fromTail - toTail;
    return x <= 0 ? toTail - fromTail : 1 - fromTail - toTail;
  };
  const state: Walk = {
    p: 0,
    q: 0,
    to(x) {
      state.p = 0;
      state.q = 0;
      for (let which = 0; which < centres.length; which += 1) {
        const mass = advance(which, x - centres[which]!);
        state.p += pWeights[which]! * mass;
        state.q += qWeights[which]! * mass;
      }
    },
  };
  return state;
};

/** The pair's loss on a grid. Some 0.1 µs per cell and centre. */
export const gridOfPair = (pair: NoisePair, settings: GridSettings): LossGrid => {
  const builder = gridBuilder(pair.lossLow, pair.lossHigh, settings);
  const masses = walk(pair);
  let from = pair.positionOf(builder.low * settings.step);
  masses.to(from);
  builder.addBelow(masses.p);
  for (let cell = 0; cell < builder.cells - 1; cell += 1) {
    const to = pair.positionOf((builder.low + cell + 1) * settings.step);
    if (!(to > from)) continue;
    masses.to(to);
    builder.addInterval(cell, masses.p, masses.q);
    from = to;
  }
  masses.to(Infinity);
  builder.addAbove(masses.p);
  return builder.build();
};
