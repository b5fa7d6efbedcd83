/** Work for quiet moments on the event loop: one job at a time, in slices, with the loop free between them. */
import type { Clock } from '../../shared/clock.ts';

/** Well under the 20 ms that the loop may wait. */
export const SLICE_MS = 4;
const BETWEEN_MS = 4;

export interface Background {
  /** Starts a job unless one is running; `false` says that one is. */
  start(job: Generator<void, void>): boolean;
  readonly isBusy: boolean;
  close(): void;
}

export const createBackground = (clock: Clock, failed: (error: unknown) => void): Background => {
  let job: Generator<void, void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const slice = (): void => {
    timer = undefined;
    if (job === undefined) return;
    const endMs = clock.monotonicMs() + SLICE_MS;
    try {
      do {
        if (job.next().done === true) {
          job = undefined;
          return;
        }
      } while (clock.monotonicMs() < endMs);
    } catch (error) {
      // What only measures must not stop what serves.
      job = undefined;
      return failed(error);
    }
    schedule();
  };
  const schedule = (): void => {
    timer = setTimeout(slice, BETWEEN_MS);
    timer.unref();
  };
  return {
    start(next) {
      if (job !== undefined) return false;
      job = next;
      schedule();
      return true;
    },
    get isBusy() {
      return job !== undefined;
    },
    close() {
      job = undefined;
      clearTimeout(timer);
    },
  };
};
