/** Forecasts judged on what came later, before they learn from it (prequential; Dawid 1984): pinball loss and coverage. */

/** Pinball loss of the forecast quantile `share`: what that quantile minimises (Koenker and Bassett 1978). */
export const pinballLoss = (share: number, forecast: number, value: number): number =>
  value >= forecast ? share * (value - forecast) : (1 - share) * (forecast - value);

export interface Forecast {
  readonly q50Ms: number;
  readonly q95Ms: number;
}

export interface ForecastRecord {
  observe(forecast: Forecast, valueMs: number): void;
  /** Mean pinball loss at 0.5 and 0.95 in ms; null before the first. */
  lossMs(): number | null;
  /** Share of values at or below the forecast q95; 0.95 is calibrated. */
  coverage95(): number | null;
  readonly observations: number;
}

/** The newest thousand or so count. */
const KEPT = 0.999;

export const createForecastRecord = (): ForecastRecord => {
  let [loss, covered, weight, observations] = [0, 0, 0, 0];
  return {
    observe({ q50Ms, q95Ms }, valueMs) {
      loss = loss * KEPT + (pinballLoss(0.5, q50Ms, valueMs) + pinballLoss(0.95, q95Ms, valueMs)) / 2;
      covered = covered * KEPT + (valueMs <= q95Ms ? 1 : 0);
      weight = weight * KEPT + 1;
      observations += 1;
    },
    lossMs: () => (weight === 0 ? null : loss / weight),
    coverage95: () => (weight === 0 ? null : covered / weight),
    get observations() {
      return observations;
    },
  };
};
