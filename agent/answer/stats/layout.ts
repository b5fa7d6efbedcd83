/**
 * Which vectors a measure releases and what their cells are called: the same at every site and at the asker, from the question alone.
 * One patient's bound on each vector is here too, beside the cells it is a bound on.
 */
import { QflError } from '../../../shared/errors.ts';
import { type Rational, rationalOfDecimal } from '../../../shared/privacy/rational.ts';
import {
  type BinnedVariable,
  CANDIDATES_MAX,
  CELLS_MAX,
  KEYS_MAX,
  type Measure,
  type NumericVariable,
} from '../../../shared/wire/stats.ts';
import { edgesOf, type Grid, gridOf, unitsText } from './grid.ts';

export const GENDERS = ['male', 'female', 'other', 'unknown'] as const;
/** The bin of what none of the named categories holds. */
export const OTHER = 'other';

export interface Dimension {
  readonly name: string;
  readonly bins: readonly string[];
}

export interface Vector {
  readonly cells: readonly string[];
  /** How far one patient moves it: in the 1-norm, and the square of the Euclidean length. */
  readonly l1: bigint;
  readonly l2Squared: bigint;
  /** Set for a selection: how many candidates; `l1` bounds each one's utility. */
  readonly candidates?: number;
  /** Set where the data names the cells: how many are told at most. Then `l1` is how many keys one patient can add. */
  readonly keysMax?: number;
}

export const unitOf = (of: NumericVariable): string => (of.variable === 'age' ? 'years' : of.unit);

const ROW_VARIABLES = new Set(['value', 'date', 'status', 'code']);
/** Does the variable look at a row, or at the patient alone? */
export const isOfRow = ({ variable }: { readonly variable: string }): boolean => ROW_VARIABLES.has(variable);

/** Rows that one person can put into this measure: what `rows` declares, 1 for what is asked of the person. */
export const rowsMax = (measure: Measure): bigint => BigInt(measure.rows?.perPatientMax ?? 1);

const binned = (edges: readonly string[]): string[] =>
  edges.slice(1).map((edge, at) => `[${edges[at]}, ${edge})`);

export const dimensionOf = (by: BinnedVariable): Dimension => {
  switch (by.variable) {
    case 'gender':
      return { name: 'gender', bins: GENDERS };
    case 'status':
    case 'code':
      return { name: by.variable, bins: [...by.values, OTHER] };
    case 'date':
      return { name: 'date', bins: binned(by.edges) };
    case 'value':
    case 'age':
      break;
  }
  edgesOf(by.edges);
  return { name: by.variable === 'age' ? 'age' : by.unit, bins: binned(by.edges) };
};

const tooMany = (count: number, max: number): QflError =>
  new QflError('invalid_request', {
    detail: `${count} cells are asked for, and at most ${max} are answered`,
    next: 'Use fewer or wider bins, or a coarser granularity.',
  });

/** Cells of a table in row-major order. @throws QflError `invalid_request` */
export const cellsOf = (dimensions: readonly Dimension[]): string[][] => {
  const count = dimensions.reduce((product, { bins }) => product * bins.length, 1);
  if (count > CELLS_MAX) throw tooMany(count, CELLS_MAX);
  return dimensions.reduce<string[][]>(
    (cells, { bins }) => cells.flatMap((cell) => bins.map((bin) => [...cell, bin])),
    [[]],
  );
};

/** Grid of a quantile: every multiple of the granularity within the bounds is a candidate. @throws QflError `invalid_request` */
export const candidatesOf = (of: NumericVariable): { grid: Grid; count: number } => {
  const grid = gridOf(of);
  const count = Number(grid.high - grid.low + 1n);
  if (count > CANDIDATES_MAX) throw tooMany(count, CANDIDATES_MAX);
  return { grid, count };
};

/** A quantile as a fraction. */
export const quantileOf = (text: string): Rational => rationalOfDecimal(text);

const larger = (left: bigint, right: bigint): bigint => (left > right ? left : right);
const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

/** One row below or above a candidate moves b·#below − a·n by b − a or by a. */
const selectionVector = (measure: Extract<Measure, { measure: 'quantiles' }>, text: string): Vector => {
  const { numerator, denominator } = quantileOf(text);
  const sensitivity = rowsMax(measure) * larger(numerator, denominator - numerator);
  return {
    cells: [`quantile ${text}`],
    l1: sensitivity,
    l2Squared: sensitivity * sensitivity,
    candidates: candidatesOf(measure.of).count,
  };
};

const vector = (cells: readonly string[], l1: bigint): Vector => ({ cells, l1, l2Squared: l1 * l1 });

/** The vectors of a measure, in the order in which they are released. @throws QflError `invalid_request` */
export const vectorsOf = (measure: Measure): readonly Vector[] => {
  const rows = rowsMax(measure);
  switch (measure.measure) {
    case 'count':
      return [vector(['count'], rows)];
    case 'sum': {
      const { low, high } = gridOf(measure.of);
      return [vector(['sum'], rows * larger(magnitude(low), magnitude(high)))];
    }
    case 'mean': {
      // Twice the value less the middle, so that a middle between two grid points stays an integer: at most U − L in size.
      const { low, high } = gridOf(measure.of);
      return [vector(['centred sum'], rows * (high - low)), vector(['count'], rows)];
    }
    case 'quantiles': {
      if (measure.method === 'select') return measure.quantiles.map((text) => selectionVector(measure, text));
      const { grid, count } = candidatesOf(measure.of);
      const cells = Array.from({ length: count }, (_, at) =>
        unitsText(grid.low + BigInt(at), grid.granularity),
      );
      // Rows of one person may fall into one bin together, so the squares do not add up row by row.
      return [vector(cells, rows)];
    }
    case 'keyed_table':
      // A person counts once under a key, under at most `rows` keys.
      return [{ cells: [], l1: rows, l2Squared: rows, keysMax: KEYS_MAX }];
    case 'table':
      break;
  }
  const cells = cellsOf(measure.by.map(dimensionOf)).map((bins) => bins.join(' | '));
  // A person counts once in a cell, in at most `rows` cells.
  return [{ cells, l1: rows, l2Squared: rows }];
};
