/** How long the event loop was kept from its next turn: what every connection waits for, whoever holds it. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from 'prom-client';

/** The timer that measures comes this often; a wait is what exceeds it. */
const RESOLUTION_MS = 5;
const NANOS_PER_S = 1e9;

export interface LoopDelay {
  /** Since it was last asked, in seconds; 0 before the first measurement. */
  longest(): number;
  close(): void;
}

export const watchLoopDelay = (resolutionMs = RESOLUTION_MS): LoopDelay => {
  const histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  return {
    longest() {
      const seconds =
        histogram.count === 0 ? 0 : Math.max(0, histogram.max / NANOS_PER_S - resolutionMs / 1_000);
      histogram.reset();
      return seconds;
    },
    close: () => void histogram.disable(),
  };
};

export const registerLoopDelay = (registry: Registry, delay: LoopDelay): void => {
  // It lives in the registry.
  void new Gauge({
    name: 'qfl_event_loop_delay_max_seconds',
    help: 'Longest time the event loop was kept since the last scrape',
    registers: [registry],
    collect() {
      this.set(delay.longest());
    },
  });
};
