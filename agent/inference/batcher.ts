/** Micro-batches: what comes within a moment is worked on together, in turns that leave room for everything else of the program. */
import { createDeferred, type Deferred } from '../../shared/deferred.ts';
import { QflError } from '../../shared/errors.ts';

export interface BatchOptions<In, Out> {
  /** Of one turn. */
  readonly rowsMax: number;
  /** What a first row waits for others. */
  readonly waitMs: number;
  /** Rows that may wait in all. */
  readonly queueMax: number;
  /** One result a row, in their order; at most `rowsMax` rows. */
  readonly work: (rows: readonly In[]) => readonly Out[];
}

export interface Batcher<In, Out> {
  /** @throws QflError `overloaded`; and whatever the work throws, to all whose rows were in that turn */
  readonly submit: (rows: readonly In[]) => Promise<readonly Out[]>;
}

interface Waiting<In, Out> {
  readonly row: In;
  readonly done: Deferred<Out>;
}

export const createBatcher = <In, Out>(options: BatchOptions<In, Out>): Batcher<In, Out> => {
  const { rowsMax, waitMs, queueMax, work } = options;
  let queue: Waiting<In, Out>[] = [];
  let timer: NodeJS.Timeout | undefined;
  let isTurnPlanned = false;

  const turn = (): void => {
    isTurnPlanned = false;
    const now = queue.slice(0, rowsMax);
    queue = queue.slice(rowsMax);
    try {
      const results = work(now.map(({ row }) => row));
      for (const [at, { done }] of now.entries()) done.resolve(results[at]!);
    } catch (error) {
      for (const { done } of now) done.reject(error);
    }
    if (queue.length > 0) plan();
  };
  /** After whatever else of the program waits for its turn. */
  const plan = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (isTurnPlanned) return;
    isTurnPlanned = true;
    setImmediate(turn);
  };

  return {
    submit(rows) {
      if (queue.length + rows.length > queueMax)
        throw new QflError('overloaded', {
          detail: `${queue.length} predictions wait already`,
          next: 'Try again in a moment.',
        });
      const waiting = rows.map((row) => ({ row, done: createDeferred<Out>() }));
      queue.push(...waiting);
      if (queue.length >= rowsMax) plan();
      else timer ??= setTimeout(plan, waitMs);
      return Promise.all(waiting.map(({ done }) => done.promise));
    },
  };
};
