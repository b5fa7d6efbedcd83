/** The last step of every model here: a logit becomes a probability and a log loss. */

/** Probability of a logit; 0 or 1 only where doubles cannot tell it from them. */
export const sigmoid = (logit: number): number => 1 / (1 + Math.exp(-logit));

/** ln(1 + exp(x)) without overflow. */
export const softplus = (x: number): number =>
  x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));

/** −ln of the probability that the logit gives the target, in nats. */
export const logLossOf = (logit: number, target: 0 | 1): number => softplus(target === 1 ? -logit : logit);
