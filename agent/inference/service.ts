/**
 * Inference at the site: nobody's features leave it. Results are kept for a while under a keyed hash of what was asked, so that memory holds no features;
 * what comes within a moment is worked out together; a model that fails again and again is left alone for a while.
 */
import { toHex, utf8 } from '../../shared/bytes.ts';
import { type Cache, createCache } from '../../shared/cache/cache.ts';
import { type Clock, HOUR_MS, MINUTE_MS } from '../../shared/clock.ts';
import { blake2b } from '../../shared/crypto/hash.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { Example } from '../../shared/learning/model.ts';
import type { Logger } from '../../shared/log.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { ModelName, ModelRecord } from '../../shared/wire/model.ts';
import {
  type InferenceStatus,
  type PredictAnswer,
  Prediction,
  type PredictRequest,
} from '../../shared/wire/pulled-model.ts';
import type { PulledModels } from '../models/pulled.ts';
import { type Batcher, createBatcher } from './batcher.ts';
import {
  attempted,
  BREAKER_RULES,
  breakerAt,
  type BreakerState,
  CLOSED,
  ended,
  released,
} from './breaker.ts';
import { coherenceState, createCoherenceGauge } from './coherence.ts';
import { exampleOf } from './examples.ts';
import type { LocalFit } from './local-fit.ts';
import { createPredictor, dataOf, type ModelMaker } from './predictor.ts';
import { createRecentNumbers } from './window.ts';

export interface InferenceService {
  /**
   * @throws QflError `not_found`, `invalid_request` for examples that the model cannot look at, `overloaded`, `not_ready` while the model is left alone,
   * `bad_signature` where what is on the disk is not what was signed
   */
  predict(name: ModelName, request: PredictRequest): Promise<PredictAnswer>;
  status(): InferenceStatus;
}

export interface InferenceOptions {
  readonly models: Pick<PulledModels, 'find' | 'load'>;
  readonly modelOf: ModelMaker;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Pick<Logger, 'warn'>;
  /** Undefined where the site does not allow it. */
  readonly localFit?: LocalFit | undefined;
}

const FIT_TIMEOUT_MS = 5 * MINUTE_MS;
const LOADED_MAX = 8;
const CACHE = { entriesMax: 10_000, bytesMax: 8 * 1024 * 1024, lifeMs: HOUR_MS };
/** Eight of a liquid model with 32 units over 48 steps take about 10 ms: no turn holds the rest of the program up for longer. */
const BATCH = { rowsMax: 8, waitMs: 2, queueMax: 8_192 };
const WINDOW = 1_000;
const HASH_BYTES = 16;

type Loaded = Promise<Batcher<Example, Prediction>>;

/** Its numbers bit for bit: no two examples that differ have one key. */
const bytesOf = ({ inputs, series }: Example): Uint8Array => {
  const parts = [inputs, ...(series === undefined ? [] : [series.hours, series.values])];
  const lengths = Float64Array.from(parts, (part) => part.length);
  return Buffer.concat(
    [lengths, ...parts].map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)),
  );
};

/** Was it the caller, or the moment? Then it says nothing of the model. */
const saysNothing = ({ code }: QflError): boolean =>
  ['invalid_request', 'overloaded', 'not_ready'].includes(code);

export const createInferenceService = (options: InferenceOptions): InferenceService => {
  const { models, modelOf, clock, random, logger } = options;
  const cache: Cache = createCache({ ...CACHE, clock });
  const cacheKey = random(32);
  const loaded = new Map<string, Loaded>();
  const breakers = new Map<string, BreakerState>();
  const durationsMs = createRecentNumbers(WINDOW);
  const coherence = createCoherenceGauge((value) =>
    logger.warn({ coherence: value }, 'predictions depend on the last digits of the weights'),
  );
  let [predictions, errors] = [0, 0];

  const keyOf = (weights: string, example: Example): string =>
    toHex(blake2b(HASH_BYTES, Buffer.concat([utf8(weights), bytesOf(example)]), cacheKey));
  /** Which weights: the model's, or those fitted to the records as they are now. @throws QflError `forbidden` */
  const weightsKey = ({ digest }: ModelRecord, isFitted: boolean): string => {
    if (!isFitted) return digest;
    if (options.localFit !== undefined) return `${digest} fitted ${options.localFit.revision()}`;
    throw new QflError('forbidden', {
      detail: 'this site fits no model to its own patients',
      next: 'Ask without "fitted"; or the site allows it (training.local_fit).',
    });
  };
  const load = ({ name, version }: ModelRecord, key: string, isFitted: boolean): Loaded => {
    const known = loaded.get(key);
    if (known !== undefined) {
      loaded.delete(key);
      loaded.set(key, known);
      return known;
    }
    const loading = models.load(name, version).then(async (model) => {
      const fitted = isFitted
        ? await options.localFit?.weightsFor(model, AbortSignal.timeout(FIT_TIMEOUT_MS))
        : undefined;
      const predict = createPredictor(model, modelOf, fitted);
      return createBatcher<Example, Prediction>({ ...BATCH, work: (rows) => rows.map(predict) });
    });
    // One that failed is tried again.
    loading.catch(() => loaded.delete(key));
    loaded.set(key, loading);
    for (const [oldest] of loaded) if (loaded.size > LOADED_MAX) loaded.delete(oldest);
    return loading;
  };

  /** Through the breaker of the model. */
  const guarded = async <T>(of: string, work: () => Promise<T>): Promise<T> => {
    const { isAdmitted, next } = attempted(breakers.get(of) ?? CLOSED, clock.monotonicMs());
    breakers.set(of, next);
    if (!isAdmitted)
      throw new QflError('not_ready', {
        detail: `${of} failed several times and is left alone for a while`,
        next: "Try again in ten seconds; the reason is in this agent's log.",
      });
    const end = (after: (before: BreakerState) => BreakerState): void =>
      void breakers.set(of, after(breakers.get(of) ?? CLOSED));
    try {
      const result = await work();
      end((before) => ended(before, true, clock.monotonicMs(), BREAKER_RULES));
      return result;
    } catch (thrown) {
      const error = toQflError(thrown);
      if (saysNothing(error)) end(released);
      else {
        logger.warn({ err: error, model: of }, 'a model failed');
        end((before) => ended(before, false, clock.monotonicMs(), BREAKER_RULES));
      }
      throw thrown;
    }
  };

  const evaluate = async (
    record: ModelRecord,
    key: string,
    isFitted: boolean,
    examples: readonly Example[],
  ): Promise<readonly Prediction[]> => {
    if (examples.length === 0) return [];
    const found = await guarded(`${record.name}/${record.version}`, async () =>
      (await load(record, key, isFitted)).submit(examples),
    );
    for (const { coherent } of found) coherence.add(coherent);
    return found;
  };

  const answer = async (
    name: ModelName,
    { version, fitted, examples }: PredictRequest,
  ): Promise<PredictAnswer> => {
    const record = models.find(name, version);
    const data = dataOf(record);
    const seen = examples.map((example) => exampleOf(data, record.lineage.scaling, example));
    const weights = weightsKey(record, fitted);
    const keys = seen.map((example) => keyOf(weights, example));
    const known = keys.map((key) => {
      const text = cache.get(key);
      return text === undefined ? undefined : Prediction.parse(JSON.parse(text));
    });
    const fresh = await evaluate(
      record,
      weights,
      fitted,
      seen.filter((_example, at) => known[at] === undefined),
    );
    let next = 0;
    const all = known.map((one, at) => {
      if (one !== undefined) return one;
      const made = fresh[next]!;
      next += 1;
      cache.put(keys[at]!, JSON.stringify(made));
      return made;
    });
    predictions += all.length;
    return {
      model: record.name,
      version: record.version,
      digest: record.digest,
      fitted,
      predictions: all,
      cached: all.length - fresh.length,
    };
  };

  return {
    async predict(name, request) {
      const beganMs = clock.monotonicMs();
      try {
        return await answer(name, request);
      } catch (thrown) {
        if (toQflError(thrown).status >= 500) errors += 1;
        throw thrown;
      } finally {
        durationsMs.add(clock.monotonicMs() - beganMs);
      }
    },
    status: () => ({
      predictions,
      errors,
      p95Ms: durationsMs.quantile(0.95),
      coherence: coherence.value(),
      coherenceState: coherenceState(coherence.value()),
      cacheHitRatio: cache.hitRatio(),
      breakers: [...breakers].map(([model, state]) => ({
        model,
        state: breakerAt(state, clock.monotonicMs()).state,
      })),
    }),
  };
};
