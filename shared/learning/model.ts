/** What the rest of the program knows of a model: named tensors in one flat vector, and what one example says of them. */

/** One patient as a model sees it. */
export interface Example {
  /** Features, standardised; 0 (the mean) where one is not known. */
  readonly inputs: Float64Array;
  /** Measurements in the course of time; undefined for models that look at none. */
  readonly series: ExampleSeries | undefined;
  readonly target: 0 | 1;
}

export interface ExampleSeries {
  readonly steps: number;
  readonly channels: number;
  /** Hours since the first measurement, ascending: one a step. */
  readonly hours: Float64Array;
  /** steps × channels, row by row, standardised; NaN where nothing was measured. */
  readonly values: Float64Array;
}

export interface InputShape {
  readonly features: number;
  readonly channels: number;
}

/** A part of the flat vector. */
export interface TensorPart {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of its first number in the vector. */
  readonly offset: number;
}

export interface Gradient {
  /** Log loss in nats. */
  readonly loss: number;
  /** That the target is 1. */
  readonly probability: number;
}

export interface Model {
  /** Numbers in the flat vector. */
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  /** Weights to begin from: the same for the same seed. */
  initial(seed: number): Float64Array<ArrayBuffer>;
  /** Writes the gradient of the log loss with respect to all weights to `into` (of `size`), which is overwritten. */
  gradient(weights: Float64Array, example: Example, into: Float64Array): Gradient;
  /** Probability that the target is 1. */
  predict(weights: Float64Array, example: Example): number;
}
