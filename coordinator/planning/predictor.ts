/**
 * Predicted service time per (site, model, size bucket). Two forecasters run side by side: quantiles of sliding windows, shrunk to what the site's
 * other sizes say, and a moving average with a moving deviation. Each is judged on what comes later (`prequential.ts`); the one with the
 * lower loss is used, and `report` says which. Never measured is null, not a guess.
 * A liquid network (`service-candidate.ts`) did not tell later time better on public traces (`npm run bench -- predictor`), so it takes no part.
 */
import type { SiteId } from '../../shared/ids.ts';
import { createForecastRecord, type Forecast, type ForecastRecord } from './prequential.ts';
import { createWindow, type Window } from './window.ts';

export interface Prediction extends Forecast {
  readonly meanMs: number;
  /** Standard error of `meanMs`: how far off the next plan may be without anybody's fault. */
  readonly errorMs: number;
  /** Measurements at this site and model behind it. */
  readonly samples: number;
}

export type ForecasterName = 'quantiles' | 'moving_average';

export interface PredictorReport {
  readonly observations: number;
  readonly used: ForecasterName;
  readonly forecasters: Readonly<
    Record<ForecasterName, { readonly pinballLossMs: number | null; readonly coverage95: number | null }>
  >;
}

/** What a plan asks of a predictor; also a table of what was asked before (`forecast-table.ts`). */
export interface Forecaster {
  /** null when this model was never measured at this site. */
  predict(siteId: SiteId, model: string, sizeBucketBytes: number): Prediction | null;
}

export interface Predictor extends Forecaster {
  /** Records one measured time. */
  observe(siteId: SiteId, model: string, latencyMs: number, sizeBucketBytes?: number): void;
  /** Moving average over all sizes; null when never measured. */
  predictMs(siteId: SiteId, model: string): number | null;
  report(): PredictorReport;
  /** Drops a site that left. */
  forget(siteId: SiteId): void;
}

/** Weight of the newest value: half the weight is on the last three. */
const NEWEST_WEIGHT = 0.2;
/** Per site: model names come from telemetry and must not grow a map without end. */
const MODELS_MAX = 256;
/** Size buckets are powers of two of a 32-bit length. */
const BUCKETS_MAX = 33;
/** The site's other sizes count as this many measurements of the size itself, fading until it has OWN_SAMPLES of its own. */
const PRIOR_SAMPLES = 4;
const OWN_SAMPLES = 16;
/** Normal quantile at 0.95, and the ratio of standard to mean absolute deviation of a normal. */
const Z95 = 1.645;
const DEVIATION_RATIO = 1.2533;
/** Comparisons before the moving average may take over. */
const JUDGED_MIN = 20;

interface Average {
  meanMs: number;
  deviationMs: number;
}

interface ModelRecord {
  readonly average: Average;
  readonly all: Window;
  readonly buckets: Map<number, Window>;
}

const averageForecast = ({ meanMs, deviationMs }: Average): Forecast => ({
  q50Ms: meanMs,
  q95Ms: meanMs + Z95 * DEVIATION_RATIO * deviationMs,
});

/** Models seen by all sites together: how much longer a large prompt takes than the usual one. */
const createSizes = () => {
  const models = new Map<string, { readonly all: Window; readonly buckets: Map<number, Window> }>();
  return {
    observe(model: string, bucket: number, latencyMs: number): void {
      const sizes = models.get(model) ?? { all: createWindow(), buckets: new Map<number, Window>() };
      const [oldest] = models.keys();
      if (!models.has(model) && models.size >= MODELS_MAX && oldest !== undefined) models.delete(oldest);
      models.set(model, sizes);
      sizes.all.add(latencyMs);
      addTo(sizes.buckets, bucket, latencyMs);
    },
    /** 1 where nothing is known. */
    ratio(model: string, bucket: number): number {
      const sizes = models.get(model);
      const own = sizes?.buckets.get(bucket);
      if (sizes === undefined || own === undefined || !(sizes.all.mean() > 0)) return 1;
      const ratio = own.mean() / sizes.all.mean();
      return (own.count * ratio + PRIOR_SAMPLES) / (own.count + PRIOR_SAMPLES);
    },
  };
};

const addTo = (buckets: Map<number, Window>, bucket: number, latencyMs: number): void => {
  const window = buckets.get(bucket) ?? createWindow();
  const [oldest] = buckets.keys();
  if (!buckets.has(bucket) && buckets.size >= BUCKETS_MAX && oldest !== undefined) buckets.delete(oldest);
  buckets.set(bucket, window);
  window.add(latencyMs);
};

/** The window of the size itself, pulled to the site's window over all sizes scaled by what the size usually means. */
const shrunk = (record: ModelRecord, bucket: number, ratio: number): Prediction => {
  const own = record.buckets.get(bucket);
  const count = own?.count ?? 0;
  const prior = PRIOR_SAMPLES * Math.max(0, 1 - count / OWN_SAMPLES);
  const blend = (of: (window: Window) => number): number =>
    ((own === undefined ? 0 : count * of(own)) + prior * ratio * of(record.all)) / (count + prior);
  const deviationMs = blend((window) => window.deviation());
  return {
    meanMs: blend((window) => window.mean()),
    q50Ms: blend((window) => window.quantile(0.5)),
    q95Ms: blend((window) => window.quantile(0.95)),
    errorMs: deviationMs / Math.sqrt(Math.max(1, Math.min(count + prior, record.all.count))),
    samples: record.all.count,
  };
};

const createRecords = (): Record<ForecasterName, ForecastRecord> => ({
  quantiles: createForecastRecord(),
  moving_average: createForecastRecord(),
});

const shown = (record: ForecastRecord) => ({
  pinballLossMs: record.lossMs(),
  coverage95: record.coverage95(),
});

export const createPredictor = (): Predictor => {
  const sites = new Map<SiteId, Map<string, ModelRecord>>();
  const sizes = createSizes();
  const judged = createRecords();
  const used = (): ForecasterName => {
    const [quantiles, average] = [judged.quantiles.lossMs(), judged.moving_average.lossMs()];
    const isWorse = quantiles !== null && average !== null && average < quantiles;
    return judged.quantiles.observations >= JUDGED_MIN && isWorse ? 'moving_average' : 'quantiles';
  };
  const recordOf = (siteId: SiteId, model: string, latencyMs: number): ModelRecord => {
    const models = sites.get(siteId) ?? new Map<string, ModelRecord>();
    sites.set(siteId, models);
    const known = models.get(model);
    if (known !== undefined) return known;
    const [oldest] = models.keys();
    if (models.size >= MODELS_MAX && oldest !== undefined) models.delete(oldest);
    const made: ModelRecord = {
      average: { meanMs: latencyMs, deviationMs: latencyMs / 2 },
      all: createWindow(),
      buckets: new Map<number, Window>(),
    };
    models.set(model, made);
    return made;
  };
  return {
    observe(siteId, model, latencyMs, sizeBucketBytes = 0) {
      if (!Number.isFinite(latencyMs) || latencyMs < 0) return;
      const record = recordOf(siteId, model, latencyMs);
      if (record.all.count > 0) {
        judged.quantiles.observe(
          shrunk(record, sizeBucketBytes, sizes.ratio(model, sizeBucketBytes)),
          latencyMs,
        );
        judged.moving_average.observe(averageForecast(record.average), latencyMs);
        const missMs = latencyMs - record.average.meanMs;
        record.average.meanMs += NEWEST_WEIGHT * missMs;
        record.average.deviationMs += NEWEST_WEIGHT * (Math.abs(missMs) - record.average.deviationMs);
      }
      record.all.add(latencyMs);
      addTo(record.buckets, sizeBucketBytes, latencyMs);
      sizes.observe(model, sizeBucketBytes, latencyMs);
    },
    predictMs: (siteId, model) => sites.get(siteId)?.get(model)?.average.meanMs ?? null,
    predict(siteId, model, sizeBucketBytes) {
      const record = sites.get(siteId)?.get(model);
      if (record === undefined) return null;
      const byWindow = shrunk(record, sizeBucketBytes, sizes.ratio(model, sizeBucketBytes));
      return used() === 'quantiles'
        ? byWindow
        : { ...byWindow, ...averageForecast(record.average), meanMs: record.average.meanMs };
    },
    report: () => ({
      observations: judged.quantiles.observations,
      used: used(),
      forecasters: { quantiles: shown(judged.quantiles), moving_average: shown(judged.moving_average) },
    }),
    forget: (siteId) => {
      sites.delete(siteId);
    },
  };
};
