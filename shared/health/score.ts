/**
 * One figure for how well a program does, and a verdict that does not flicker. Each metric says in which direction it is good; what was not
 * measured is left out, not guessed. The score is the worst of two views: the weighted mean, and the worst single metric given some rope, so
 * that one broken part is not averaged away. Pure.
 */
import { assert } from '../errors.ts';

export interface HealthMetric {
  readonly name: string;
  /** Null: not measured yet. */
  readonly value: number | null;
  /** Which way is better. */
  readonly better: 'higher' | 'lower';
  /** At `good` and beyond it counts 1, at `bad` and beyond it 0, between them a straight line. */
  readonly good: number;
  readonly bad: number;
  readonly weight: number;
}

export interface MetricScore {
  readonly name: string;
  readonly value: number | null;
  readonly better: 'higher' | 'lower';
  /** From 0 to 1; null when it was not measured. */
  readonly score: number | null;
}

export interface HealthScore {
  /** From 0 to 1; null before anything was measured. */
  readonly score: number | null;
  readonly metrics: readonly MetricScore[];
}

/** A single metric at its worst holds the score at this: below the bound of `unhealthy`. */
const WORST_ALONE = 0.3;

export const scoreMetric = ({ name, value, better, good, bad }: HealthMetric): MetricScore => {
  assert(better === 'higher' ? good > bad : good < bad, `${name}: good lies on its better side`);
  if (value === null || Number.isNaN(value)) return { name, value: null, better, score: null };
  const share = (value - bad) / (good - bad);
  return { name, value, better, score: Math.min(1, Math.max(0, share)) };
};

export const healthScore = (metrics: readonly HealthMetric[]): HealthScore => {
  const scored = metrics.map(scoreMetric);
  let [sum, weights, worst] = [0, 0, 1];
  scored.forEach(({ score }, at) => {
    if (score === null) return;
    const { weight } = metrics[at]!;
    sum += weight * score;
    weights += weight;
    worst = Math.min(worst, score);
  });
  if (weights === 0) return { score: null, metrics: scored };
  return { score: Math.min(sum / weights, WORST_ALONE + (1 - WORST_ALONE) * worst), metrics: scored };
};

export type HealthVerdict = 'healthy' | 'degraded' | 'unhealthy';

export interface HealthThresholds {
  /** Below it, healthy becomes degraded; at `healthyAt` it comes back. */
  readonly degradedBelow: number;
  readonly healthyAt: number;
  /** Below it, degraded becomes unhealthy; at `recoveredAt` it comes back to degraded. */
  readonly unhealthyBelow: number;
  readonly recoveredAt: number;
}

export const HEALTH_THRESHOLDS: HealthThresholds = {
  degradedBelow: 0.7,
  healthyAt: 0.8,
  unhealthyBelow: 0.4,
  recoveredAt: 0.5,
};

/** The verdict after a score, given the one before; without a score it stays. */
export const nextVerdict = (
  before: HealthVerdict,
  score: number | null,
  { degradedBelow, healthyAt, unhealthyBelow, recoveredAt } = HEALTH_THRESHOLDS,
): HealthVerdict => {
  if (score === null) return before;
  if (score < unhealthyBelow) return 'unhealthy';
  if (before === 'unhealthy')
    return score < recoveredAt ? 'unhealthy' : score < healthyAt ? 'degraded' : 'healthy';
  if (before === 'degraded') return score < healthyAt ? 'degraded' : 'healthy';
  return score < degradedBelow ? 'degraded' : 'healthy';
};
