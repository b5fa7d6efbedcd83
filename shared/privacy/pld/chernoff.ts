/** Where a composition of loss distributions lies, by Chernoff bounds: P(sum > x) ≤ e^(K(t) − t·x) for every t > 0. */
import type { LossGrid } from './loss-grid.ts';

export interface GridPart {
  readonly grid: LossGrid;
  readonly count: number;
}

/** ln Σ mass·e^(t·index), index counted from the grid's middle; and that middle. */
export const logMoment = ({ masses }: LossGrid, middle: number, t: number): number => {
  if (Math.abs(t) * masses.length < 600) {
    // No power of e overflows: each is the one before it times e^t.
    const growth = Math.exp(t);
    let power = Math.exp(-t * middle);
    let sum = 0;
    for (let cell = 0; cell < masses.length; cell += 1) {
      sum += masses[cell]! * power;
      power *= growth;
    }
    return Math.log(sum);
  }
  let peak = -Infinity;
  for (let cell = 0; cell < masses.length; cell += 1)
    if (masses[cell]! > 0) peak = Math.max(peak, t * (cell - middle) + Math.log(masses[cell]!));
  let sum = 0;
  for (let cell = 0; cell < masses.length; cell += 1) {
    const exponent = t * (cell - middle) - peak;
    // Terms that cannot change the sum are not worth an exponential.
    if (masses[cell]! > 0 && exponent > -745) sum += masses[cell]! * Math.exp(exponent);
  }
  return peak + Math.log(sum);
};

export interface Centred extends GridPart {
  /** Cell of the mean loss. */
  readonly middle: number;
  readonly variance: number;
}

export const centred = ({ grid, count }: GridPart): Centred => {
  const { masses } = grid;
  let total = 0;
  let first = 0;
  let second = 0;
  masses.forEach((mass, cell) => {
    total += mass;
    first += mass * cell;
  });
  const mean = total === 0 ? 0 : first / total;
  masses.forEach((mass, cell) => {
    second += mass * (cell - mean) ** 2;
  });
  return { grid, count, middle: Math.round(mean), variance: total === 0 ? 0 : second / total };
};

const SEARCH_STEPS = 7;

/** ln of the moment generating function of the whole composition, losses counted in cells from the sum of the middles. */
export const logMomentOf = (parts: readonly Centred[], t: number): number =>
  parts.reduce((sum, { grid, count, middle }) => sum + count * logMoment(grid, middle, t), 0);

/** Beyond `cells` above the sum of the middles lies at most e^logMass, by way of this t. */
export interface ChernoffBound {
  readonly t: number;
  readonly cells: number;
}

/**
 * The least of (K(t) − logMass)/t over some t > 0, each of which is a valid bound; undefined for a sum that never varies. `side`
 * −1 for the other end.
 */
export const chernoff = (
  parts: readonly Centred[],
  side: 1 | -1,
  logMass: number,
): ChernoffBound | undefined => {
  const variance = parts.reduce((sum, part) => sum + part.count * part.variance, 0);
  if (variance === 0) return undefined;
  const bound = (t: number): ChernoffBound => ({ t, cells: (logMomentOf(parts, side * t) - logMass) / t });
  // For a normal law the best t is √(−2·logMass/variance); heavy tails want less, light ones more.
  let best = bound(Math.sqrt((-2 * logMass) / variance));
  let factor = 4;
  for (let step = 0; step < SEARCH_STEPS; step += 1) {
    const tries = [best, bound(best.t / factor), bound(best.t * factor)];
    const least = tries.reduce((one, other) => (other.cells < one.cells ? other : one));
    if (least === best) factor = Math.sqrt(factor);
    best = least;
  }
  return best;
};
