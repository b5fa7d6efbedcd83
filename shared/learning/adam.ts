/** Adam (Kingma, Ba 2015, "Adam: a method for stochastic optimization", algorithm 1) over flat vectors. */

export interface AdamSettings {
  /** Step size, α. */
  readonly rate: number;
  /** Of the running mean of gradients, β₁. */
  readonly meanDecay?: number;
  /** Of the running mean of their squares, β₂. */
  readonly squareDecay?: number;
  /** Keeps the division from 0, ε. */
  readonly floor?: number;
}

export interface AdamState {
  readonly steps: number;
  readonly mean: Float64Array;
  readonly square: Float64Array;
}

export const adamStart = (size: number): AdamState => ({
  steps: 0,
  mean: new Float64Array(size),
  square: new Float64Array(size),
});

/** One step against the gradient. What was passed in stays as it was. */
export const adamStep = (
  weights: Float64Array,
  gradient: Float64Array,
  state: AdamState,
  { rate, meanDecay = 0.9, squareDecay = 0.999, floor = 1e-8 }: AdamSettings,
): { readonly weights: Float64Array<ArrayBuffer>; readonly state: AdamState } => {
  const size = weights.length;
  const steps = state.steps + 1;
  const mean = new Float64Array(size);
  const square = new Float64Array(size);
  const next = new Float64Array(size);
  const meanScale = 1 / (1 - meanDecay ** steps);
  const squareScale = 1 / (1 - squareDecay ** steps);
  for (let at = 0; at < size; at += 1) {
    const slope = gradient[at]!;
    const m = meanDecay * state.mean[at]! + (1 - meanDecay) * slope;
    const v = squareDecay * state.square[at]! + (1 - squareDecay) * slope * slope;
    mean[at] = m;
    square[at] = v;
    next[at] = weights[at]! - (rate * m * meanScale) / (Math.sqrt(v * squareScale) + floor);
  }
  return { weights: next, state: { steps, mean, square } };
};
