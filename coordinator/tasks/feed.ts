/**
 * What happened to tasks, in order, for whoever watches. The last events are kept, so that a watcher that was cut off goes on where it was;
 * one that was away for longer starts from the task as it is now. Watchers have no buffers of their own: a slow one reads from the same ring.
 */
import { createDeferred } from '../../shared/deferred.ts';
import type { TaskId } from '../../shared/ids.ts';
import type { TaskNews } from '../../shared/wire/task.ts';
import { ENDED } from './task.ts';

export interface FeedEvent {
  /** For `Last-Event-ID`: this start of the program, then the number of the event. */
  readonly eventId: string;
  readonly news: TaskNews;
}

export interface TaskFeed {
  publish(news: TaskNews): void;
  /** The task's events from `lastEventId` on, else from its present state on; ends with the task. @throws the signal's reason */
  watch(
    id: TaskId,
    present: () => TaskNews,
    signal: AbortSignal,
    lastEventId?: string,
  ): AsyncGenerator<FeedEvent>;
}

const EVENTS_KEPT = 4_096;

/** @param bootId new at every start: numbers of another life mean nothing here */
export const createTaskFeed = (bootId: string, keptMax = EVENTS_KEPT): TaskFeed => {
  const ring: TaskNews[] = [];
  // Number of the newest event; that of ring[0] is `latest − ring.length + 1`.
  let latest = 0;
  let changed = createDeferred<void>();

  const isKept = (number: number): boolean => number <= latest && number >= latest - ring.length;
  const numberIn = (lastEventId: string | undefined): number | undefined => {
    const [, boot, digits] = /^([0-9a-f]+)-(\d{1,15})$/.exec(lastEventId ?? '') ?? [];
    return boot === bootId && isKept(Number(digits)) ? Number(digits) : undefined;
  };
  const waitForMore = (signal: AbortSignal): Promise<void> => {
    if (signal.aborted) return Promise.reject(signal.reason);
    const aborted = createDeferred<void>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    return Promise.race([changed.promise, aborted.promise]).finally(() =>
      signal.removeEventListener('abort', onAbort),
    );
  };

  async function* watch(
    id: TaskId,
    present: () => TaskNews,
    signal: AbortSignal,
    lastEventId?: string,
  ): AsyncGenerator<FeedEvent> {
    let seen = numberIn(lastEventId);
    for (;;) {
      if (seen === undefined || !isKept(seen)) {
        seen = latest;
        const news = present();
        yield { eventId: `${bootId}-${seen}`, news };
        if (ENDED.has(news.task.state)) return;
      }
      while (seen < latest && isKept(seen)) {
        seen += 1;
        const news = ring[seen - (latest - ring.length) - 1];
        if (news?.task.id !== id) continue;
        yield { eventId: `${bootId}-${seen}`, news };
        if (ENDED.has(news.task.state)) return;
      }
      // Its last event may have passed before the watcher came back.
      if (seen === latest && ENDED.has(present().task.state)) return;
      if (seen === latest) await waitForMore(signal);
    }
  }

  return {
    publish(news) {
      ring.push(news);
      latest += 1;
      if (ring.length > keptMax) ring.shift();
      const before = changed;
      changed = createDeferred();
      before.resolve();
    },
    watch,
  };
};
