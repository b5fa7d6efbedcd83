/**
 * Predicted latency per (site, model): an exponentially weighted moving average of what was measured, first value included
 * whole. Never measured is null, not a guess.
 */
import type { SiteId } from '../../shared/ids.ts';

export interface Predictor {
  /** Records one measured time. */
  observe(siteId: SiteId, model: string, latencyMs: number): void;
  /** null when never measured. */
  predictMs(siteId: SiteId, model: string): number | null;
  /** Drops a site that left. */
  forget(siteId: SiteId): void;
}

/** Weight of the newest value: half the weight is on the last three. */
const NEWEST_WEIGHT = 0.2;
/** Per site: model names come from telemetry and must not grow a map without end. */
const MODELS_MAX = 256;

export const createPredictor = (): Predictor => {
  const sites = new Map<SiteId, Map<string, number>>();
  return {
    observe(siteId, model, latencyMs) {
      if (!Number.isFinite(latencyMs) || latencyMs < 0) return;
      const models = sites.get(siteId) ?? new Map<string, number>();
      sites.set(siteId, models);
      const before = models.get(model);
      const [oldest] = models.keys();
      if (before === undefined && models.size >= MODELS_MAX && oldest !== undefined) models.delete(oldest);
      models.set(model, before === undefined ? latencyMs : before + NEWEST_WEIGHT * (latencyMs - before));
    },
    predictMs: (siteId, model) => sites.get(siteId)?.get(model) ?? null,
    forget: (siteId) => {
      sites.delete(siteId);
    },
  };
};
