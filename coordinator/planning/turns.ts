/** Work that comes in pieces, on the event loop: pieces run until a slice is used up, and the rest after everybody else had a turn. */
export const SLICE_MS = 4;

export interface Turns {
  /** Runs the pieces in their order, the first ones at once unless this turn was long already. */
  take(pieces: readonly (() => void)[], spentMs?: number): void;
  close(): void;
}

export const createTurns = (nowMs: () => number): Turns => {
  const waiting: (() => void)[] = [];
  let next: NodeJS.Immediate | undefined;
  let isRunning = false;
  const run = (): void => {
    next = undefined;
    isRunning = true;
    const endMs = nowMs() + SLICE_MS;
    let done = 0;
    try {
      while (done < waiting.length && nowMs() < endMs) waiting[done++]!();
    } finally {
      isRunning = false;
      waiting.splice(0, done);
      if (waiting.length > 0) next ??= setImmediate(run);
    }
  };
  return {
    take(pieces, spentMs = 0) {
      waiting.push(...pieces);
      if (isRunning || next !== undefined || waiting.length === 0) return;
      if (spentMs < SLICE_MS / 2) run();
      else next = setImmediate(run);
    },
    close() {
      clearImmediate(next);
      waiting.length = 0;
    },
  };
};
