/** Closed forms of the discrete Laplace distribution P(x) ∝ exp(−|x|/scale), in doubles, logarithms natural. */

/** P(X = x). */
export const laplaceMass = (scale: number, x: number): number =>
  Math.tanh(1 / (2 * scale)) * Math.exp(-Math.abs(x) / scale);

/** P(X > x) for an integer x ≥ 0. */
export const laplaceTail = (scale: number, x: number): number =>
  Math.exp(-(x + 1) / scale) / (1 + Math.exp(-1 / scale));

/** 2p/(1−p)² with p = exp(−1/scale). */
export const laplaceVariance = (scale: number): number => 1 / (2 * Math.sinh(1 / (2 * scale)) ** 2);

/** E|X| = 2p/(1−p²). */
export const laplaceMeanAbsolute = (scale: number): number => 1 / Math.sinh(1 / scale);

/**
 * Renyi divergence of order a > 1 between the distribution and itself shifted by `shift` ≥ 1 integers: exact, not a bound.
 *
 * With p = exp(−1/scale), E = Σ P^a Q^(1−a) has three geometric parts: x ≤ 0, x ≥ shift and the points between. All grow from
 * e^((a−1)·shift/scale), which is taken out first, so nothing overflows. E − 1 is formed by expm1 where it is small. For shift
 * 1 this is the curve of randomised response. Absolute error under 1e-14/(a−1) nat.
 */
export const laplaceRdp = (scale: number, shift: number, a: number): number => {
  const t = 1 / scale;
  const p = Math.exp(-t);
  const onePlus = 1 + p;
  const onePlusGap = -Math.expm1(-t);
  const decay = (2 * a - 1) * t;
  const between = shift > 1 ? (Math.exp(-decay) * Math.expm1(-decay * (shift - 1))) / Math.expm1(-decay) : 0;
  const exponent = (a - 1) * shift * t;
  if (exponent > 1) {
    const rest = (1 + Math.exp(-decay * shift) + onePlusGap * between) / onePlus;
    return (exponent + Math.log(rest)) / (a - 1);
  }
  const above =
    Math.expm1(exponent) + Math.exp(-a * shift * t) - p + Math.exp(exponent) * onePlusGap * between;
  return Math.log1p(above / onePlus) / (a - 1);
};

/** Renyi divergence of randomised response: the worst curve any epsilon-DP mechanism can have (Kairouz, Oh, Viswanath 2015). */
export const pureRdp = (epsilon: number, a: number): number => laplaceRdp(1 / epsilon, 1, a);
