/**
 * Privacy auditing with one training run (Steinke, Nasr, Jagielski 2023, Theorem 5.2): canaries are each in or out by a fair
 * coin, the auditor guesses some of them. A passed audit proves nothing; a failed one proves a fault.
 */
import { bisect } from '../math/search.ts';
import { logBinomials } from '../math/logarithms.ts';

export interface AuditRun {
  readonly canaries: number;
  readonly guesses: number;
  readonly correct: number;
  readonly delta: number;
}

/**
 * The odds of that many correct guesses if the mechanism were (epsilon, delta)-DP: P[B ≥ v] + 2·m·delta·max_i P[v > B ≥ v − i]/i
 * with B binomial over the guesses at odds 1/(1 + e^−epsilon). At most 1.
 */
export const auditPValue = ({ canaries, guesses, correct, delta }: AuditRun, epsilon: number): number => {
  const binomials = logBinomials(guesses);
  const logRight = -Math.log1p(Math.exp(-epsilon));
  const mass = (right: number): number =>
    Math.exp(binomials[right]! + guesses * logRight - (guesses - right) * epsilon);
  let tail = 0;
  for (let right = guesses; right >= correct; right -= 1) tail += mass(right);
  let below = 0;
  let steepest = 0;
  for (let i = 1; i <= correct; i += 1) {
    below += mass(correct - i);
    steepest = Math.max(steepest, below / i);
  }
  return Math.min(1, tail + 2 * canaries * delta * steepest);
};

/** The largest epsilon these guesses refute at this p-value (rounded down); 0 when they refute none. */
export const auditEpsilon = (run: AuditRun, pValue: number): number => {
  if (auditPValue(run, 0) > pValue) return 0;
  let high = 1;
  while (high < 1_000 && auditPValue(run, high) <= pValue) high *= 2;
  return bisect(0, high, (epsilon) => auditPValue(run, epsilon) <= pValue).below;
};
