/**
 * Keeps the one connection to the coordinator: opens it, opens it again after a loss (backoff with jitter), and lets calls wait
 * for it. Each connection is an object of its own, so the late end of an old one cannot touch the new one.
 */
import type { Clock } from '../../shared/clock.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { pause } from '../../shared/pause.ts';
import type { RandomBytes } from '../../shared/random.ts';
import type { CallOptions, Peer, Received, Reply } from '../../shared/wire/peer.ts';
import type { OpenSession } from './session.ts';

export interface LinkRules {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}
export const DEFAULT_LINK_RULES: LinkRules = { backoffMinMs: 250, backoffMaxMs: 15_000 };

export type LinkState = 'connecting' | 'online' | 'offline' | 'closed';

export interface Link {
  readonly state: LinkState;
  /** Why there is no connection now; undefined while online. */
  readonly lastError: QflError | undefined;
  /** Waits for the connection and asks again after a loss, within `timeoutMs`: only for calls that may run twice. */
  request(method: string, message: Reply, options: CallOptions): Promise<Received>;
  /** Waits for the connection, then streams; a loss ends the stream. */
  stream(method: string, message: Reply, options: CallOptions): AsyncIterable<Received>;
  /** Dropped when offline. */
  notify(event: string, message: Reply): void;
  /** Resolves once online. @throws QflError `not_connected`, with the last reason */
  online(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface LinkOptions {
  /** Opens a connection and its session. */
  connect(): Promise<OpenSession>;
  /** Runs on every new connection before calls may use it. */
  onOpen(peer: Peer): Promise<void>;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
  readonly rules?: LinkRules;
}

export const startLink = (options: LinkOptions): Link => {
  const { clock, random, logger, rules = DEFAULT_LINK_RULES } = options;
  const stop = new AbortController();
  let session: OpenSession | undefined;
  /** Opened, but `onOpen` has not finished with it. */
  let opening: OpenSession | undefined;
  let state: LinkState = 'connecting';
  let lastError: QflError | undefined;
  let failures = 0;
  const waiters = new Set<() => void>();

  const wake = (): void => {
    // Each takes itself out of the set, which an iteration over a set allows.
    for (const waiter of waiters) waiter();
  };
  /** Full jitter: anywhere up to the doubling bound, so that a thousand agents do not return at once. */
  const backoffMs = (): number => {
    const bound = Math.min(rules.backoffMaxMs, rules.backoffMinMs * 2 ** failures);
    return rules.backoffMinMs + (bound * (Buffer.from(random(4)).readUInt32BE() % 1_000)) / 1_000;
  };
  /** The next connection; on `close` it is not waited for, and closed should it still come. */
  const connect = (): Promise<OpenSession> =>
    new Promise((resolve, reject) => {
      const onStop = (): void => reject(new QflError('cancelled'));
      stop.signal.addEventListener('abort', onStop, { once: true });
      options
        .connect()
        .then((opened) => (stop.signal.aborted ? opened.close() : resolve(opened)), reject)
        .finally(() => stop.signal.removeEventListener('abort', onStop));
    });
  const prepare = async (): Promise<OpenSession> => {
    const opened = await connect();
    opening = opened;
    try {
      await options.onOpen(opened.peer);
      return opened;
    } catch (error) {
      opened.close();
      throw error;
    } finally {
      opening = undefined;
    }
  };
  const connectOnce = async (): Promise<void> => {
    const opened = await prepare();
    if (stop.signal.aborted) return opened.close();
    session = opened;
    state = 'online';
    lastError = undefined;
    failures = 0;
    logger.info('connected to the coordinator');
    wake();
    const reason = await opened.ended;
    session = undefined;
    throw reason;
  };
  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        await connectOnce();
      } catch (error) {
        lastError = toQflError(error);
        state = 'offline';
        if (!stop.signal.aborted)
          logger.warn({ code: lastError.code, detail: lastError.detail }, 'not connected to the coordinator');
      }
      if (stop.signal.aborted) break;
      await pause(backoffMs(), stop.signal);
      failures = Math.min(failures + 1, 16);
    }
    state = 'closed';
    wake();
  };
  const running = run();

  const peerWithin = async (deadlineMs: number, signal: AbortSignal | undefined): Promise<Peer> => {
    for (;;) {
      if (signal?.aborted === true) throw new QflError('cancelled');
      if (session !== undefined) return session.peer;
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0 || stop.signal.aborted) throw lastError ?? new QflError('not_connected');
      await nextChange(leftMs, signal);
    }
  };
  /** Resolves when a connection comes up, the link closes, the caller gives up, or `ms` are over. */
  const nextChange = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        waiters.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      waiters.add(done);
      signal?.addEventListener('abort', done, { once: true });
    });

  return {
    get state() {
      return state;
    },
    get lastError() {
      return state === 'online' ? undefined : lastError;
    },
    async request(method, message, { timeoutMs, signal }) {
      const deadlineMs = clock.monotonicMs() + timeoutMs;
      for (;;) {
        const peer = await peerWithin(deadlineMs, signal);
        try {
          return await peer.request(method, message, {
            timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()),
            signal,
          });
        } catch (error) {
          if (toQflError(error).code !== 'not_connected' || clock.monotonicMs() >= deadlineMs) throw error;
        }
      }
    },
    async *stream(method, message, callOptions) {
      const peer = await peerWithin(clock.monotonicMs() + callOptions.timeoutMs, callOptions.signal);
      yield* peer.stream(method, message, callOptions);
    },
    notify: (event, message) => session?.peer.notify(event, message),
    async online(timeoutMs) {
      await peerWithin(clock.monotonicMs() + timeoutMs, undefined);
    },
    async close() {
      stop.abort();
      wake();
      // Waiting for approval has no end of its own.
      opening?.close();
      session?.close();
      await running;
    },
  };
};
