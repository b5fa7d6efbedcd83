/** Carries ended queries into the index behind the charges: a commit does not wait for the index, a lookup never misses one. */
import type { AnswerIndex, Ended } from './answer-index.ts';

export interface IndexFeed {
  /** `held` is called once the index has it; until then the caller must remember the query itself. */
  push(ended: Ended, counter: number, held: () => void): void;
  /** Waits until everything pushed is in the index. */
  idle(): Promise<void>;
}

interface Pushed {
  readonly ended: Ended;
  readonly counter: number;
  readonly held: () => void;
}

/** Small enough that one write does not hold up the lookups for long. */
const BATCH = 500;

export const createIndexFeed = (index: AnswerIndex, onFault: (cause: unknown) => void): IndexFeed => {
  const queue: Pushed[] = [];
  let running: Promise<void> | undefined;
  let failed = false;

  const run = async (): Promise<void> => {
    while (queue.length > 0 && !failed) {
      // What becomes durable together arrives in one turn.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = queue.splice(0, BATCH);
      try {
        await index.add(
          batch.map(({ ended }) => ended),
          Math.max(...batch.map(({ counter }) => counter)),
        );
        for (const { held } of batch) held();
      } catch (cause) {
        failed = true;
        onFault(cause);
      }
    }
    running = undefined;
  };

  return {
    push(ended, counter, held) {
      queue.push({ ended, counter, held });
      running ??= run();
    },
    idle: () => running ?? Promise.resolve(),
  };
};
