/**
 * Logistic regression with a quadratic penalty around given weights, by Newton's method: what a site fits to its own patients around the federation's model,
 * and what the benchmarks hold federated figures against. What it gives is of the patients it saw, without noise: it stays at the site.
 */
import { assert } from '../errors.ts';
import { atOnce, type Steps } from '../rounds/slowly.ts';

/** Rows as a matrix, the last column 1 for the intercept. */
export interface Table {
  readonly rows: number;
  readonly columns: number;
  /** rows × columns, row by row. */
  readonly inputs: Float64Array;
  /** 0 or 1 a row. */
  readonly targets: Float64Array;
}

export const tableOf = (
  examples: readonly { readonly inputs: Float64Array; readonly target: 0 | 1 }[],
): Table => {
  const columns = (examples[0]?.inputs.length ?? 0) + 1;
  const inputs = new Float64Array(examples.length * columns).fill(1);
  for (const [row, example] of examples.entries()) {
    assert(example.inputs.length === columns - 1, 'all rows of a table have the same columns');
    inputs.set(example.inputs, row * columns);
  }
  return {
    rows: examples.length,
    columns,
    inputs,
    targets: Float64Array.from(examples, ({ target }) => target),
  };
};

export interface Penalty {
  /** Weights that cost nothing: of the features, then the intercept. */
  readonly around: ArrayLike<number>;
  /** Half of it times the squared distance of each weight of a feature. Not 0: separable data has no fit without it. */
  readonly ridge: number;
  /** The same for the intercept. */
  readonly interceptRidge: number;
}

const STEPS_MAX = 50;
const STEP_MIN = 1e-9;
/** A Newton step may be too long far from the solution: halved so often at most. */
const HALVINGS_MAX = 30;

export const scoreOf = ({ inputs, columns }: Table, row: number, weights: ArrayLike<number>): number => {
  let score = 0;
  for (let at = 0, from = row * columns; at < columns; at += 1) score += inputs[from + at]! * weights[at]!;
  return score;
};

export const chanceOf = (score: number): number => 1 / (1 + Math.exp(-score));

/** log(1 + e^score), without overflow. */
const softplus = (score: number): number => Math.max(score, 0) + Math.log1p(Math.exp(-Math.abs(score)));

const ridgeAt = ({ ridge, interceptRidge }: Penalty, at: number, columns: number): number =>
  at === columns - 1 ? interceptRidge : ridge;

/** Rows to a step: of two hundred columns they take a few milliseconds. */
const ROWS_PER_STEP = 64;

const objective = function* (table: Table, weights: Float64Array, penalty: Penalty): Steps<number> {
  let total = 0;
  for (let row = 0; row < table.rows; row += 1) {
    if (row % ROWS_PER_STEP === 0) yield;
    const score = scoreOf(table, row, weights);
    total += softplus(score) - table.targets[row]! * score;
  }
  for (let at = 0; at < table.columns; at += 1)
    total += (ridgeAt(penalty, at, table.columns) / 2) * (weights[at]! - penalty.around[at]!) ** 2;
  return total;
};

/** Gradient of the objective, and the lower half of its Hessian. */
const derivatives = function* (
  table: Table,
  weights: Float64Array,
  penalty: Penalty,
): Steps<{ readonly gradient: Float64Array; readonly hessian: Float64Array }> {
  const { rows, columns, inputs, targets } = table;
  const gradient = new Float64Array(columns);
  const hessian = new Float64Array(columns * columns);
  for (let row = 0; row < rows; row += 1) {
    if (row % ROWS_PER_STEP === 0) yield;
    const chance = chanceOf(scoreOf(table, row, weights));
    const error = chance - targets[row]!;
    const curve = chance * (1 - chance);
    const from = row * columns;
    for (let at = 0; at < columns; at += 1) {
      const input = inputs[from + at]!;
      gradient[at]! += error * input;
      const scaled = curve * input;
      if (scaled !== 0)
        for (let other = 0; other <= at; other += 1)
          hessian[at * columns + other]! += scaled * inputs[from + other]!;
    }
  }
  for (let at = 0; at < columns; at += 1) {
    const ridge = ridgeAt(penalty, at, columns);
    gradient[at]! += ridge * (weights[at]! - penalty.around[at]!);
    hessian[at * columns + at]! += ridge;
  }
  return { gradient, hessian };
};

/** Solves A x = b in place for a positive definite A, given by its lower half (Cholesky); x takes the place of b. */
export const solvePositive = (matrix: Float64Array, right: Float64Array): void => {
  const size = right.length;
  for (let row = 0; row < size; row += 1)
    for (let column = 0; column <= row; column += 1) {
      let value = matrix[row * size + column]!;
      for (let at = 0; at < column; at += 1) value -= matrix[row * size + at]! * matrix[column * size + at]!;
      assert(row !== column || value > 0, 'a penalised Hessian is positive definite');
      matrix[row * size + column] =
        row === column ? Math.sqrt(value) : value / matrix[column * size + column]!;
    }
  for (let row = 0; row < size; row += 1) {
    let value = right[row]!;
    for (let at = 0; at < row; at += 1) value -= matrix[row * size + at]! * right[at]!;
    right[row] = value / matrix[row * size + row]!;
  }
  for (let row = size - 1; row >= 0; row -= 1) {
    let value = right[row]!;
    for (let at = row + 1; at < size; at += 1) value -= matrix[at * size + row]! * right[at]!;
    right[row] = value / matrix[row * size + row]!;
  }
};

/**
 * The weights that minimise the log loss of all rows together and the penalty: of the features, then the intercept. In steps, for whoever shares a thread
 * (`slowly`).
 */
export const fittingRidge = function* (table: Table, penalty: Penalty): Steps<Float64Array> {
  assert(penalty.ridge > 0 && penalty.interceptRidge > 0, 'a penalty on every weight');
  let weights = Float64Array.from(penalty.around);
  let value = yield* objective(table, weights, penalty);
  for (let step = 0; step < STEPS_MAX; step += 1) {
    const { gradient, hessian } = yield* derivatives(table, weights, penalty);
    solvePositive(hessian, gradient);
    let share = 1;
    let next = weights;
    let nextValue = Number.POSITIVE_INFINITY;
    for (let halved = 0; halved < HALVINGS_MAX && !(nextValue <= value); halved += 1, share /= 2) {
      const length = share;
      next = weights.map((weight, at) => weight - length * gradient[at]!);
      nextValue = yield* objective(table, next, penalty);
    }
    if (!(nextValue <= value)) return weights;
    const moved = gradient.reduce((most, length) => Math.max(most, Math.abs(length)), 0);
    weights = next;
    value = nextValue;
    if (moved < STEP_MIN) break;
  }
  return weights;
};

/** All of `fittingRidge` at once. */
export const fitRidge = (table: Table, penalty: Penalty): Float64Array =>
  atOnce(fittingRidge(table, penalty));
