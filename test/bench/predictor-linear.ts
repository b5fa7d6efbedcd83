/** Linear regression on the same features: the classical forecaster that a network has to beat as well. */
import {
  columnMoments,
  type LogForecast,
  type ServiceExample,
  standardised,
} from '../../coordinator/planning/service-candidate.ts';
import { FEATURES, type Sight } from '../../coordinator/planning/service-history.ts';
import { solvePositive } from '../../shared/learning/ridge.ts';

export interface LinearSettings {
  /** Penalty on each weight but the intercept's, in examples. */
  readonly ridge: number;
  /** Where the loss turns from squared to absolute, in standard deviations of the target; Infinity: squared. */
  readonly bend: number;
}

const COLUMNS = FEATURES.length + 1;
/** Reweighted least squares is near its end long before. */
const STEPS = 30;

const dot = (row: Float64Array, weights: Float64Array): number => {
  let sum = 0;
  for (let at = 0; at < COLUMNS; at += 1) sum += row[at]! * weights[at]!;
  return sum;
};

/** Weighted ridge; the intercept, last, is all but free. */
const solved = (
  rows: readonly Float64Array[],
  targets: Float64Array,
  counts: Float64Array,
  ridge: number,
): Float64Array => {
  const normal = new Float64Array(COLUMNS * COLUMNS);
  const right = new Float64Array(COLUMNS);
  for (const [at, row] of rows.entries())
    for (let one = 0; one < COLUMNS; one += 1) {
      right[one]! += counts[at]! * row[one]! * targets[at]!;
      for (let other = 0; other <= one; other += 1)
        normal[one * COLUMNS + other]! += counts[at]! * row[one]! * row[other]!;
    }
  for (let one = 0; one < COLUMNS; one += 1)
    normal[one * COLUMNS + one]! += one === COLUMNS - 1 ? 1e-6 : ridge + 1e-6;
  solvePositive(normal, right);
  return right;
};

/** Corrects the incumbent's median, as the candidate does. Pseudo-Huber by iteratively reweighted least squares (Holland and Welsch 1977). */
export const trainLinear = (
  examples: readonly ServiceExample[],
  { ridge, bend }: LinearSettings,
): LogForecast => {
  const moments = columnMoments(
    examples.map(({ sight }) => sight.features),
    FEATURES.length,
  );
  const rowOf = ({ features }: Sight): Float64Array => Float64Array.of(...standardised(features, moments), 1);
  const rows = examples.map(({ sight }) => rowOf(sight));
  const targets = Float64Array.from(examples, ({ sight, serviceLog }) => serviceLog - sight.baseLog);
  const bendLog = bend * columnMoments([targets], 1).sd[0]!;
  let weights: Float64Array = new Float64Array(COLUMNS);
  const counts = new Float64Array(rows.length);
  for (let step = 0; step < (bend === Infinity ? 1 : STEPS); step += 1) {
    const before = weights;
    for (const [at, row] of rows.entries())
      counts[at] = 1 / Math.hypot(1, (dot(row, before) - targets[at]!) / bendLog);
    weights = solved(rows, targets, counts, ridge);
  }
  return (sight) => sight.baseLog + dot(rowOf(sight), weights);
};
