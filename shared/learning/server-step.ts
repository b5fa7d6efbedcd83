/** What the coordinator makes of a round's sum: the next weights. Pure; its state travels with the training. Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2. */

export type ServerRule = 'sgd' | 'adam' | 'yogi';

export interface ServerOptions {
  readonly rule: ServerRule;
  readonly learningRate: number;
  /** Share of the last direction that is kept (beta 1). */
  readonly momentum: number;
  /** Of the adaptive rules: memory of the squares (beta 2) and the floor under their root (tau). */
  readonly squaresMemory: number;
  readonly floor: number;
  /** Share of the weights that is taken away in each step, times the learning rate (decoupled weight decay). */
  readonly weightDecay: number;
}

export const DEFAULT_SERVER: ServerOptions = {
  rule: 'sgd',
  learningRate: 1,
  momentum: 0,
  squaresMemory: 0.99,
  floor: 1e-3,
  weightDecay: 0,
};

export interface ServerState {
  readonly weights: Float64Array<ArrayBuffer>;
  /** Running direction. */
  readonly direction: Float64Array<ArrayBuffer>;
  /** Running squares of it. */
  readonly squares: Float64Array<ArrayBuffer>;
}

export const serverStateOf = (weights: Float64Array<ArrayBuffer>): ServerState => ({
  weights,
  direction: new Float64Array(weights.length),
  squares: new Float64Array(weights.length),
});

/** @param mean the mean gradient over the patients, or minus the mean update of the sites: what is stepped against */
export const serverStep = (
  { weights, direction, squares }: ServerState,
  mean: Float64Array,
  { rule, learningRate, momentum, squaresMemory, floor, weightDecay }: ServerOptions,
): ServerState => {
  const next = serverStateOf(new Float64Array(weights.length));
  const fresh = rule === 'sgd' ? 1 : 1 - momentum;
  for (let at = 0; at < weights.length; at += 1) {
    const pushed = momentum * direction[at]! + fresh * mean[at]!;
    const square = mean[at]! ** 2;
    const before = squares[at]!;
    const adam = squaresMemory * before + (1 - squaresMemory) * square;
    const yogi = before - (1 - squaresMemory) * square * Math.sign(before - square);
    const kept = rule === 'yogi' ? yogi : adam;
    const scale = rule === 'sgd' ? 1 : 1 / (Math.sqrt(kept) + floor);
    next.direction[at] = pushed;
    next.squares[at] = kept;
    next.weights[at] = weights[at]! - learningRate * (pushed * scale + weightDecay * weights[at]!);
  }
  return next;
};
