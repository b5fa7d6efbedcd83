/**
 * What a learned forecaster of service times may look at: the observations the incumbent sees (`predictor.ts`), when they came, and how many were on
 * their way. Everything is told as of a moment; what ends later cannot be in it.
 */
import type { SiteId } from '../../shared/ids.ts';
import type { ExampleSeries } from '../../shared/learning/model.ts';
import { createPredictor } from './predictor.ts';

/** A request as it is asked about; a site's model and the size are what the incumbent goes by. */
export interface Asked {
  readonly siteId: SiteId;
  readonly model: string;
  readonly sizeBucketBytes: number;
}

/** What is known of a request when it is placed. */
export interface Sight {
  /** The incumbent's median, as a natural logarithm of ms: what a learned forecaster corrects. */
  readonly baseLog: number;
  /** The incumbent's mean, likewise. */
  readonly meanLog: number;
  /** In the order of `FEATURES`, as they are. */
  readonly features: Float64Array;
  /** The newest ends at the site, then the question itself; `CHANNELS` in each step, NaN where not known. */
  readonly ofSite: ExampleSeries;
  /** Likewise, the newest ends at any site. */
  readonly ofModel: ExampleSeries;
}

export interface ServiceHistory {
  /** null where the incumbent knows nothing either. */
  look(asked: Asked, nowMs: number): Sight | null;
  placed(asked: Asked): void;
  ended(asked: Asked, serviceMs: number, nowMs: number): void;
}

/** Steps of a series: ends, and the question. */
export const STEPS = 17;
/** Of an end: by how much the incumbent missed it (log), its time (log ms), its size (log2 bytes), how many were at the site. */
export const CHANNELS = ['miss', 'service', 'size', 'in_flight'] as const;
/** Series tell time in units of this: a cell's first steps act for one unit, and services here take seconds. */
const SERIES_UNIT_MS = 10_000;
/** Per history: site and model names must not grow a map without end. */
const KEYS_MAX = 1_024;
const [FAST, SLOW] = [0.2, 0.02];

interface End {
  readonly atMs: number;
  readonly miss: number;
  readonly serviceLog: number;
  readonly size: number;
  readonly inFlight: number;
}

interface Track {
  readonly ends: End[];
  inFlight: number;
  missFast: number;
  missSlow: number;
}

const newTrack = (): Track => ({
  ends: [],
  inFlight: 0,
  missFast: 0,
  missSlow: 0,
});

/** Names of `Sight.features`. Misses are moving averages of the logarithm: of the site, of the model at all sites, of the size at all sites. */
export const FEATURES = [
  'base',
  'mean_over_base',
  'size',
  'size_squared',
  'in_flight',
  'since_last_end',
  'last_over_base',
  'miss_of_site_fast',
  'miss_of_site_slow',
  'miss_of_model_fast',
  'miss_of_model_slow',
  'miss_of_size_fast',
  'miss_of_size_slow',
] as const;

const sizeOf = (bytes: number): number => Math.log2(1 + bytes);
const logOf = (ms: number): number => Math.log(Math.max(1, ms));

const trackOf = (tracks: Map<string, Track>, key: string): Track => {
  const known = tracks.get(key);
  if (known !== undefined) return known;
  const [oldest] = tracks.keys();
  if (tracks.size >= KEYS_MAX && oldest !== undefined) tracks.delete(oldest);
  const made = newTrack();
  tracks.set(key, made);
  return made;
};

const addEnd = (track: Track, end: End): void => {
  track.ends.push(end);
  if (track.ends.length >= STEPS) track.ends.shift();
  track.missFast += FAST * (end.miss - track.missFast);
  track.missSlow += SLOW * (end.miss - track.missSlow);
};

/** The ends of a track, then the question, of which time and miss are what is not known. */
const seriesOf = ({ ends }: Track, size: number, inFlight: number, nowMs: number): ExampleSeries => {
  const channels = CHANNELS.length;
  const steps = ends.length + 1;
  const values = new Float64Array(steps * channels);
  const hours = new Float64Array(steps);
  const startMs = ends[0]?.atMs ?? nowMs;
  for (const [step, end] of ends.entries()) {
    hours[step] = (end.atMs - startMs) / SERIES_UNIT_MS;
    values.set([end.miss, end.serviceLog, end.size, Math.log1p(end.inFlight)], step * channels);
  }
  hours[steps - 1] = (nowMs - startMs) / SERIES_UNIT_MS;
  values.set([NaN, NaN, size, Math.log1p(inFlight)], (steps - 1) * channels);
  return { steps, channels, hours, values };
};

/** Of one question: the tracks it belongs to. */
interface Tracks {
  readonly site: Track;
  readonly model: Track;
  readonly size: Track;
}

const featuresOf = (
  { site, model, size }: Tracks,
  logs: Pick<Sight, 'baseLog' | 'meanLog'>,
  last: End,
  sizeLog: number,
  nowMs: number,
): Float64Array =>
  Float64Array.of(
    logs.baseLog,
    logs.meanLog - logs.baseLog,
    sizeLog,
    sizeLog * sizeLog,
    Math.log1p(site.inFlight),
    Math.log1p(nowMs - last.atMs),
    last.serviceLog - logs.baseLog,
    site.missFast,
    site.missSlow,
    model.missFast,
    model.missSlow,
    size.missFast,
    size.missSlow,
  );

export const createServiceHistory = (): ServiceHistory => {
  const predictor = createPredictor();
  const tracks = new Map<string, Track>();
  const tracksOf = ({ siteId, model, sizeBucketBytes }: Asked): Tracks => ({
    site: trackOf(tracks, JSON.stringify(['site', siteId, model])),
    model: trackOf(tracks, JSON.stringify(['model', model])),
    size: trackOf(tracks, JSON.stringify(['size', model, sizeBucketBytes])),
  });
  const forecast = ({ siteId, model, sizeBucketBytes }: Asked) =>
    predictor.predict(siteId, model, sizeBucketBytes);

  return {
    look(asked, nowMs) {
      const prediction = forecast(asked);
      if (prediction === null) return null;
      const own = tracksOf(asked);
      const last = own.site.ends.at(-1);
      if (last === undefined) return null;
      const logs = { baseLog: logOf(prediction.q50Ms), meanLog: logOf(prediction.meanMs) };
      const size = sizeOf(asked.sizeBucketBytes);
      return {
        ...logs,
        features: featuresOf(own, logs, last, size, nowMs),
        ofSite: seriesOf(own.site, size, own.site.inFlight, nowMs),
        ofModel: seriesOf(own.model, size, own.site.inFlight, nowMs),
      };
    },
    placed(asked) {
      tracksOf(asked).site.inFlight += 1;
    },
    ended(asked, serviceMs, nowMs) {
      const { site, model, size } = tracksOf(asked);
      site.inFlight = Math.max(0, site.inFlight - 1);
      if (!Number.isFinite(serviceMs) || serviceMs < 0) return;
      const prediction = forecast(asked);
      const serviceLog = logOf(serviceMs);
      const miss = prediction === null ? 0 : serviceLog - logOf(prediction.q50Ms);
      const sizeLog = sizeOf(asked.sizeBucketBytes);
      const end = { atMs: nowMs, miss, serviceLog, size: sizeLog, inFlight: site.inFlight };
      for (const track of [site, model, size]) addEnd(track, end);
      predictor.observe(asked.siteId, asked.model, serviceMs, asked.sizeBucketBytes);
    },
  };
};
