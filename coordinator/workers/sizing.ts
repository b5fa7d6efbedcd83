/**
 * How many workers there should be: more as soon as the load is above `upAt`, fewer once it has stayed below `downAt` for a while. Between the
 * two nothing changes, so that a load which stands at one of them does not make workers come and go. Pure.
 */
import { assert } from '../../shared/errors.ts';

export interface SizingBounds {
  readonly sizeMin: number;
  readonly sizeMax: number;
  /** Shares of the workers that have, or would have, work. */
  readonly upAt: number;
  readonly downAt: number;
  /** The load stays below `downAt` for so long before a worker goes. */
  readonly calmMs: number;
}

export interface SizingState {
  readonly size: number;
  /** Since when the load is below `downAt`; null while it is not. */
  readonly calmSinceMs: number | null;
}

/** What the jobs, running and waiting, make of `size` workers; above 1 there are more jobs than workers. */
export const loadOf = (jobs: number, size: number): number => jobs / size;

/** Enough for a load of `upAt`. */
const sizeFor = (jobs: number, { sizeMin, sizeMax, upAt }: SizingBounds): number =>
  Math.min(sizeMax, Math.max(sizeMin, Math.ceil(jobs / upAt)));

export const nextSize = (
  { size, calmSinceMs }: SizingState,
  jobs: number,
  nowMs: number,
  bounds: SizingBounds,
): SizingState => {
  assert(bounds.downAt < bounds.upAt && bounds.sizeMin <= bounds.sizeMax, 'bounds in their order');
  const load = loadOf(jobs, size);
  if (load > bounds.upAt) return { size: Math.max(size, sizeFor(jobs, bounds)), calmSinceMs: null };
  if (load > bounds.downAt || size <= bounds.sizeMin) return { size, calmSinceMs: null };
  const since = calmSinceMs ?? nowMs;
  if (nowMs - since < bounds.calmMs) return { size, calmSinceMs: since };
  // One at a time, each after another calm while: a lull between two bursts costs little.
  return { size: size - 1, calmSinceMs: nowMs };
};
