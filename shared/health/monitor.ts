/** Looks at a program's figures now and then and keeps the verdict; and the figures that every program has. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { totalmem } from 'node:os';
import { constrainedMemory } from 'node:process';
import type { Clock } from '../clock.ts';
import { type HealthMetric, type HealthVerdict, healthScore, nextVerdict } from './score.ts';
import type { HealthShown } from './wire.ts';

export interface HealthMonitor {
  /** As of the last look, which is at most `freshMs` ago. */
  read(): HealthShown;
  close(): void;
}

export interface MonitorOptions {
  /** Measures; called once a look. */
  readonly metrics: () => readonly HealthMetric[];
  readonly clock: Clock;
  /** Between looks that nobody asked for, so that the verdict follows without a reader; 0: only readers. */
  readonly intervalMs: number;
}

const FRESH_MS = 1_000;

export const createHealthMonitor = ({ metrics, clock, intervalMs }: MonitorOptions): HealthMonitor => {
  let verdict: HealthVerdict = 'healthy';
  let last: { readonly atMs: number; readonly shown: HealthShown } | undefined;
  const look = (): HealthShown => {
    const { score, metrics: scored } = healthScore(metrics());
    verdict = nextVerdict(verdict, score, undefined);
    const shown = { score, verdict, metrics: scored.map((one) => ({ ...one })) };
    last = { atMs: clock.monotonicMs(), shown };
    return shown;
  };
  const timer = intervalMs > 0 ? setInterval(look, intervalMs).unref() : undefined;
  return {
    read: () => (last !== undefined && clock.monotonicMs() - last.atMs < FRESH_MS ? last.shown : look()),
    close: () => clearInterval(timer),
  };
};

/** Memory this program may use: its container's limit, else the machine's. */
export const memoryLimitBytes = (): number => {
  const constrained = constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
};

/** Share of that memory which the program holds. */
export const memoryUtilisation = (limitBytes = memoryLimitBytes()): number =>
  process.memoryUsage.rss() / limitBytes;

export interface LoopDelay {
  /** 99th percentile in ms since the last call; null when nothing was sampled. */
  takeP99Ms(): number | null;
  /** Longest wait in ms since the last call of either; null when nothing was sampled. */
  takeLongestMs(): number | null;
  close(): void;
}

const RESOLUTION_MS = 10;

/** How late the event loop is. */
export const watchLoopDelay = (resolutionMs = RESOLUTION_MS): LoopDelay => {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  const take = (nanosOf: () => number): number | null => {
    if (histogram.count === 0) return null;
    // The timer itself takes the resolution; what is above it is delay.
    const delayMs = Math.max(0, nanosOf() / 1e6 - resolutionMs);
    histogram.reset();
    return delayMs;
  };
  return {
    takeP99Ms: () => take(() => histogram.percentile(99)),
    takeLongestMs: () => take(() => histogram.max),
    close: () => void histogram.disable(),
  };
};
