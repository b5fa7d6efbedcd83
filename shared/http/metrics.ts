/** Prometheus metrics. Labels name routes, never people, keys or addresses; a value exists only once it was measured. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface HttpMetrics {
  begin(): void;
  end(
    labels: { readonly method: string; readonly route: string; readonly status: number },
    durationS: number,
  ): void;
}

export interface Metrics {
  /** Register further metrics here. */
  readonly registry: Registry;
  readonly http: HttpMetrics;
  readonly contentType: string;
  /** The text that `/metrics` answers. */
  render(): Promise<string>;
}

const DURATION_BUCKETS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60];

export const createMetrics = (program: 'agent' | 'coordinator'): Metrics => {
  const registry = new Registry();
  registry.setDefaultLabels({ program });
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const labelNames = ['method', 'route', 'status'] as const;
  const total = new Counter({
    name: 'http_requests_total',
    help: 'HTTP requests answered',
    labelNames,
    registers,
  });
  const duration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from request to end of answer',
    labelNames,
    buckets: DURATION_BUCKETS_S,
    registers,
  });
  const inFlight = new Gauge({
    name: 'http_requests_in_flight',
    help: 'HTTP requests being answered',
    registers,
  });
  return {
    registry,
    http: {
      begin: () => inFlight.inc(),
      end: ({ method, route, status }, durationS) => {
        const labels = { method, route, status: String(status) };
        inFlight.dec();
        total.inc(labels);
        duration.observe(labels, durationS);
      },
    },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
};
