/**
 * Coherence of predictions: does the model say the same when its weights are rounded to float32? Two evaluations agree when they lie on the same side of
 * one half and less than a hundredth apart; coherence is the share of the last thousand evaluations that agree. Below it, what is told depends on the last
 * digits of the weights more than on the patient.
 */
import { createRecentNumbers } from './window.ts';

export const COHERENCE_FLOOR = 0.6;
export const COHERENCE_ALERT = 0.5;
const DIFFERENCE_MAX = 0.01;
const WINDOW = 1_000;

export const isCoherent = (probability: number, rounded: number): boolean =>
  probability >= 0.5 === rounded >= 0.5 && Math.abs(probability - rounded) < DIFFERENCE_MAX;

export type CoherenceState = 'unmeasured' | 'good' | 'low' | 'alert';

export const coherenceState = (coherence: number | null): CoherenceState => {
  if (coherence === null) return 'unmeasured';
  if (coherence < COHERENCE_ALERT) return 'alert';
  return coherence < COHERENCE_FLOOR ? 'low' : 'good';
};

export interface CoherenceGauge {
  add(isCoherent: boolean): void;
  value(): number | null;
}

/** @param alarm called when it falls below the alert, once until it is back above the floor */
export const createCoherenceGauge = (alarm: (coherence: number) => void): CoherenceGauge => {
  const recent = createRecentNumbers(WINDOW);
  let isAlarmed = false;
  return {
    add(agrees) {
      recent.add(agrees ? 1 : 0);
      const value = recent.mean() ?? 1;
      if (!isAlarmed && value < COHERENCE_ALERT) {
        isAlarmed = true;
        alarm(value);
      } else if (value >= COHERENCE_FLOOR) isAlarmed = false;
    },
    value: () => recent.mean(),
  };
};
