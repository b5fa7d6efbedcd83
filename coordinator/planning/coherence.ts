/**
 * Coherence: how much of an open decision the telemetry behind it still supports. Off-diagonals of ρ_j decay with the age a_i of what is known of
 * each site, ρ_ik(t) = ψ_i ψ_k exp(−(a_i + a_k)/(2 T2)), and C_j = Σ|ρ_ik(t)| / Σ|ρ_ik(0)| over i ≠ k: the l1 coherence kept, in [0, 1].
 * T2 is measured, from the decay of the fidelity F(a) = (Σ √(p_fresh p_stale))² between what was said a ago and what is said now.
 * ψ are amplitudes of a classical ensemble.
 */
import { amplitudesOf } from './ensemble.ts';

export const COHERENCE_THRESHOLD = 0.8;

/** null for a decided task: it has no off-diagonals to keep. Ages in the unit of T2. */
export const coherenceOf = (p: ArrayLike<number>, ages: ArrayLike<number>, t2: number): number | null => {
  const amplitudes = amplitudesOf(p);
  // The double sum factors: Σ_{i≠k} f_i f_k = (Σ f)² − Σ f².
  const offDiagonal = (factor: (site: number) => number): number => {
    let [sum, squares] = [0, 0];
    amplitudes.forEach((amplitude, site) => {
      const term = amplitude * factor(site);
      sum += term;
      squares += term * term;
    });
    return sum * sum - squares;
  };
  const fresh = offDiagonal(() => 1);
  if (fresh <= 1e-12) return null;
  return Math.min(1, Math.max(0, offDiagonal((site) => Math.exp(-(ages[site] ?? 0) / (2 * t2))) / fresh));
};

/** F = (Σ √(p q))²: 1 when nothing changed, 0 when the two have no site in common. */
export const fidelityOf = (fresh: ArrayLike<number>, stale: ArrayLike<number>): number => {
  let sum = 0;
  for (let site = 0; site < fresh.length; site += 1) sum += Math.sqrt(fresh[site]! * (stale[site] ?? 0));
  return Math.min(1, sum * sum);
};

/** Mean over open tasks; null when none is open. */
export const coherenceUtilization = (values: readonly (number | null)[]): number | null => {
  const open = values.filter((value) => value !== null);
  return open.length === 0 ? null : open.reduce((sum, value) => sum + value, 0) / open.length;
};

export interface DecayMeter {
  /** One comparison: the fidelity left after `ageMs`. */
  observe(ageMs: number, fidelity: number): void;
  /** null until enough was seen, and while nothing decays. */
  t2Ms(): number | null;
  readonly observations: number;
}

/** −ln F grows as a/T2: the least-squares line through the origin. A fidelity of 0 is cut, so that one jump does not decide alone. */
const FIDELITY_FLOOR = 0.01;
/** Every comparison keeps this share of its weight when the next comes. */
const KEPT = 0.99;
const OBSERVATIONS_MIN = 8;

export const createDecayMeter = (): DecayMeter => {
  let [ageSquares, ageLogs, observations] = [0, 0, 0];
  return {
    observe(ageMs, fidelity) {
      if (!(ageMs > 0) || !Number.isFinite(fidelity)) return;
      ageSquares = ageSquares * KEPT + ageMs * ageMs;
      ageLogs = ageLogs * KEPT - ageMs * Math.log(Math.min(1, Math.max(FIDELITY_FLOOR, fidelity)));
      observations += 1;
    },
    t2Ms: () => (observations < OBSERVATIONS_MIN || ageLogs <= 0 ? null : ageSquares / ageLogs),
    get observations() {
      return observations;
    },
  };
};
