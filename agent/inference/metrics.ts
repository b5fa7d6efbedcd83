/** Inference in Prometheus's words: sampled when they are scraped, and there only once they were measured. */
import { Gauge, type Registry } from 'prom-client';
import type { InferenceStatus } from '../../shared/wire/pulled-model.ts';

const BREAKER_VALUES = { closed: 0, half_open: 1, open: 2 } as const;
const MS_PER_S = 1_000;

export const registerInferenceMetrics = (registry: Registry, status: () => InferenceStatus): void => {
  const registers = [registry];
  const gauge = (name: string, help: string, value: (now: InferenceStatus) => number | null): void => {
    void new Gauge({
      name,
      help,
      registers,
      collect() {
        const now = value(status());
        if (now === null) this.remove();
        else this.set(now);
      },
    });
  };
  gauge('qfl_inference_predictions_total', 'Predictions given', (now) => now.predictions);
  gauge('qfl_inference_errors_total', 'Requests that failed here', (now) => now.errors);
  gauge('qfl_inference_p95_seconds', 'Of the last thousand requests, what 95 of 100 did not exceed', (now) =>
    now.p95Ms === null ? null : now.p95Ms / MS_PER_S,
  );
  gauge(
    'qfl_inference_coherence',
    'Share of the last thousand evaluations that are the same with weights rounded to float32; alert below 0.5',
    (now) => now.coherence,
  );
  gauge('qfl_inference_cache_hit_ratio', 'Predictions found in the cache', (now) => now.cacheHitRatio);
  void new Gauge({
    name: 'qfl_inference_breaker_state',
    help: '0 closed, 1 half open, 2 open',
    labelNames: ['model'] as const,
    registers,
    collect() {
      this.reset();
      for (const { model, state } of status().breakers) this.set({ model }, BREAKER_VALUES[state]);
    },
  });
};
