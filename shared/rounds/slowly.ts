/** Work in small steps: with a thousand sites, what a round computes at once would hold the event loop for seconds. */
import { breathe } from '../breathe.ts';

export type Steps<Result> = Generator<void, Result>;

/** Others get a turn after this much work. */
const SLICE_MS = 8;

/** @throws what the signal was aborted with, between two slices */
export const slowly = async <Result>(steps: Steps<Result>, signal?: AbortSignal): Promise<Result> => {
  let sinceMs = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() - sinceMs < SLICE_MS) continue;
    await breathe();
    signal?.throwIfAborted();
    sinceMs = performance.now();
  }
};

/** All of it now: for few sites, and where nobody waits. */
export const atOnce = <Result>(steps: Steps<Result>): Result => {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
};
