/**
 * A privacy loss distribution on a grid: the law of ln(P/Q)(x), x ~ P, with losses at whole multiples of a step. Pessimistic grids
 * have at least the true delta at every epsilon, optimistic ones at most.
 */
import { assert, QflError } from '../../errors.ts';

export type Rounding = 'pessimistic' | 'optimistic';

export interface LossGrid {
  /** Nats between neighbouring losses. */
  readonly step: number;
  /** masses[i] is the probability of the loss (low + i)·step. */
  readonly low: number;
  readonly masses: Float64Array;
  /** Probability of an infinite loss. */
  readonly infinity: number;
}

/** How a loss is put on a grid. */
export interface GridSettings {
  /** Nats between grid points. */
  readonly step: number;
  readonly rounding: Rounding;
  /** What bounds time and memory: some 1 µs and 50 bytes a cell. */
  readonly cellsMax: number;
}

/** @throws QflError `invalid_request` when a grid of that many cells would not fit. */
export const checkCells = (cells: number, { cellsMax }: GridSettings): void => {
  if (cells <= cellsMax) return;
  throw new QflError('invalid_request', {
    detail: 'the loss distribution does not fit on a grid this fine',
    next: 'Take a larger step, or price the run by its Renyi curve.',
  });
};

export interface GridBuilder {
  /** Index of the lowest loss. */
  readonly low: number;
  readonly cells: number;
  /** Outcomes whose loss is within ((low + cell)·step, (low + cell + 1)·step], with their masses under P and Q. */
  addInterval(cell: number, p: number, q: number): void;
  /** One outcome with masses p under P and q under Q. */
  addOutcome(p: number, q: number): void;
  addInfinite(p: number): void;
  /** Outcomes below the grid. */
  addBelow(p: number): void;
  /** Outcomes above the grid. */
  addAbove(p: number): void;
  build(): LossGrid;
}

const LOSS_MAX = 600;

/**
 * A grid of losses lowLoss … highLoss (both rounded outwards). Pessimistic: "connecting the dots" (Doroshenko, Ghazi, Kamath, Kumar,
 * Manurangsi 2022, Theorem 3.1), the best there is on a given grid: the mass of an interval is split between its ends so that
 * it stays the same under P and under Q, which makes delta exact at every grid point. Optimistic: rounded down.
 */
export const gridBuilder = (lowLoss: number, highLoss: number, settings: GridSettings): GridBuilder => {
  const { step, rounding } = settings;
  const low = Math.floor(lowLoss / step) - 1;
  const cells = Math.ceil(highLoss / step) + 2 - low;
  checkCells(cells, settings);
  const masses = new Float64Array(cells);
  const growth = Math.expm1(step);
  let infinity = 0;
  const put = (cell: number, mass: number): void => {
    masses[cell] = masses[cell]! + mass;
  };
  const split = (cell: number, p: number, atLow: number): void => {
    const part = Math.min(Math.max(atLow, 0), p);
    put(cell, part);
    put(cell + 1, p - part);
  };
  return {
    low,
    cells,
    addInterval(cell, p, q) {
      if (!(p > 0)) return;
      assert(cell >= 0 && cell + 1 < cells, 'a loss is within its grid');
      if (rounding === 'optimistic') return put(cell, p);
      const top = (low + cell + 1) * step;
      return split(cell, p, top > LOSS_MAX ? 0 : (q * Math.exp(top) - p) / growth);
    },
    addOutcome(p, q) {
      if (p === 0) return;
      if (q === 0) return this.addInfinite(p);
      const loss = Math.log(p / q);
      // An outcome on a grid point up to rounding: no interval is charged for the last digit.
      const nearest = Math.round(loss / step);
      const exact = Math.abs(loss - nearest * step) <= 1e-13 * Math.max(1, Math.abs(loss));
      const cell = (exact ? nearest : Math.floor(loss / step)) - low;
      if (exact || rounding === 'optimistic') return put(cell, p);
      return split(cell, p, (p * Math.expm1((low + cell + 1) * step - loss)) / growth);
    },
    addInfinite(p) {
      infinity += p;
    },
    addBelow(p) {
      if (rounding === 'pessimistic') put(0, p);
    },
    addAbove(p) {
      if (rounding === 'pessimistic') infinity += p;
      else put(cells - 1, p);
    },
    build: () => ({ step, low, masses, infinity }),
  };
};

/** Hockey-stick divergence at epsilon: Σ over larger losses of mass·(1 − e^(epsilon − loss)). */
export const gridDelta = ({ step, low, masses, infinity }: LossGrid, epsilon: number): number => {
  let sum = infinity;
  for (let cell = masses.length - 1; cell >= 0; cell -= 1) {
    const loss = (low + cell) * step;
    if (loss <= epsilon) break;
    sum += masses[cell]! * -Math.expm1(epsilon - loss);
  }
  return Math.min(1, sum);
};

/**
 * Smallest epsilon ≥ 0 with delta at most `delta`; Infinity when the infinite loss alone is more. Sums from the largest loss down;
 * from one grid point up to the next, delta is (mass above) − e^epsilon·(mass above, weighed by e^−loss).
 */
export const gridEpsilon = (grid: LossGrid, delta: number): number => {
  const { step, low, masses, infinity } = grid;
  if (infinity > delta) return Infinity;
  let above = infinity;
  // Σ mass·e^(point − loss), the point moved along so that nothing overflows.
  let weighed = 0;
  const shrink = Math.exp(-step);
  for (let cell = masses.length - 1; cell >= 0; cell -= 1) {
    const loss = (low + cell) * step;
    if (loss < 0) break;
    weighed *= shrink;
    if (above - weighed > delta) return Math.max(0, loss + crossing(above, weighed, delta));
    above += masses[cell]!;
    weighed += masses[cell]!;
  }
  return firstCell(grid, above, weighed, delta);
};

/** How far above a point delta is reached, where Σ mass is `above` and Σ mass·e^(point − loss) is `weighed`; negative: below. */
const crossing = (above: number, weighed: number, delta: number): number =>
  Math.log((above - delta) / weighed);

/** No crossing at or above the last loss looked at: when that is above 0, it may still lie between 0 and there. */
const firstCell = ({ step, low }: LossGrid, above: number, weighed: number, delta: number): number => {
  if (weighed === 0 || above <= delta) return 0;
  return Math.max(0, Math.max(0, low) * step + crossing(above, weighed, delta));
};
