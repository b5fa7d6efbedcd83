/**
 * Calls over a channel: requests with one answer, requests with a stream of answers, events. Every call has an id, a timeout
 * and can be cancelled; everything has a limit. It knows messages, not sockets.
 */
import { z } from 'zod';
import { abortedBy, isErrorCode, QflError, toQflError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { EMPTY, type Message } from './message.ts';

export interface Reply {
  readonly header?: unknown;
  readonly payload?: Uint8Array;
  /** Of a question: anybody may know how long it is. */
  readonly lengthIsPublic?: boolean;
}
export interface Received {
  readonly header: unknown;
  readonly payload: Uint8Array;
}

export interface Call extends Received {
  /** Aborted when the caller cancels or the connection ends. */
  readonly signal: AbortSignal;
}
export type Handler =
  | { readonly kind: 'plain'; answer(call: Call): Promise<Reply> }
  | { readonly kind: 'stream'; answer(call: Call): AsyncIterable<Reply> }
  | { readonly kind: 'event'; accept(call: Received): void };
export type Handlers = Readonly<Record<string, Handler>>;

export interface CallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Peer {
  /** One question, one answer. @throws QflError of the other side, or `timeout`, `cancelled`, `not_connected` */
  request(method: string, message: Reply, options: CallOptions): Promise<Received>;
  /** One question, many answers; `timeoutMs` bounds the wait for each. Leaving the loop early cancels. */
  stream(method: string, message: Reply, options: CallOptions): AsyncIterable<Received>;
  notify(event: string, message: Reply): void;
  /** Feeds one message of the other side. @throws QflError `protocol` when the connection must end */
  receive(message: Message): void;
  /** Ends every open call with `error`. */
  close(error: QflError): void;
}

export interface PeerLimits {
  /** Calls of the other side that may run at once. */
  readonly callsMax: number;
  /** Pieces of one stream that may wait for their reader. */
  readonly bufferedMax: number;
}
export const DEFAULT_PEER_LIMITS: PeerLimits = { callsMax: 2_048, bufferedMax: 4_096 };

const WIRE_TEXT_MAX = 1_000;
const RequestHeader = z.strictObject({ m: z.string().max(64), h: z.unknown().optional() });
const WireError = z.strictObject({
  code: z.string().refine(isErrorCode),
  detail: z.string().max(WIRE_TEXT_MAX).optional(),
  next: z.string().max(WIRE_TEXT_MAX).optional(),
  facts: z.record(z.string(), z.unknown()).optional(),
});

const toWire = (error: QflError): z.input<typeof WireError> => ({
  code: error.code,
  ...(error.detail === undefined ? {} : { detail: error.detail.slice(0, WIRE_TEXT_MAX) }),
  ...(error.next === undefined ? {} : { next: error.next.slice(0, WIRE_TEXT_MAX) }),
  ...(error.facts === undefined ? {} : { facts: { ...error.facts } }),
});
const fromWire = (header: unknown): QflError => {
  const parsed = WireError.safeParse(header);
  if (!parsed.success || !isErrorCode(parsed.data.code))
    return new QflError('internal', { detail: 'the other side failed' });
  const { code, detail, next, facts } = parsed.data;
  return new QflError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(next === undefined ? {} : { next }),
    ...(facts === undefined ? {} : { facts }),
  });
};

type Waiting =
  | { readonly kind: 'plain'; settle(result: Received | QflError): void }
  | { readonly kind: 'stream'; push(item: Received | QflError | 'end'): void };

/** A bounded queue from the network to one reader. */
const createQueue = (bufferedMax: number, onOverflow: () => void) => {
  const items: (Received | QflError | 'end')[] = [];
  let wake: (() => void) | undefined;
  return {
    push(item: Received | QflError | 'end'): void {
      if (items.length >= bufferedMax) {
        items.length = 0;
        items.push(new QflError('overloaded', { detail: 'the reader of a stream is too slow' }));
        onOverflow();
      } else items.push(item);
      wake?.();
    },
    /** The next item; undefined when none came within `timeoutMs`. */
    async next(timeoutMs: number): Promise<Received | QflError | 'end' | undefined> {
      if (items.length === 0) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          timer = setTimeout(resolve, timeoutMs);
        });
        clearTimeout(timer);
        wake = undefined;
      }
      return items.shift();
    },
  };
};

/** A call of the other side that runs here. Its signal is made when somebody looks: most plain calls never do. */
interface Run {
  isAborted(): boolean;
  signal(): AbortSignal;
  abort(): void;
}

const createRun = (): Run => {
  let aborted = false;
  let controller: AbortController | undefined;
  return {
    isAborted: () => aborted,
    signal() {
      controller ??= new AbortController();
      if (aborted) controller.abort();
      return controller.signal;
    },
    abort() {
      aborted = true;
      controller?.abort();
    },
  };
};

export const createPeer = (
  send: (message: Message) => void,
  handlers: Handlers,
  logger: Logger,
  limits: PeerLimits = DEFAULT_PEER_LIMITS,
): Peer => {
  const waiting = new Map<number, Waiting>();
  const running = new Map<number, Run>();
  let lastId = 0;
  let closed: QflError | undefined;

  const post = (
    type: Message['type'],
    id: number,
    { header, payload = EMPTY, lengthIsPublic = false }: Reply = {},
  ): void => {
    // After the connection is gone an answer has nowhere to go; the caller has been told already.
    if (closed === undefined) send({ type, id, header, payload, lengthIsPublic });
  };
  const begin = (method: string, message: Reply, wait: Waiting): number => {
    if (closed !== undefined) throw closed;
    lastId = (lastId + 1) >>> 0;
    const id = lastId;
    waiting.set(id, wait);
    try {
      post('request', id, { ...message, header: { m: method, h: message.header } });
    } catch (error) {
      // Too large, or the connection went this moment: nothing was asked, so nothing will be answered.
      waiting.delete(id);
      throw error;
    }
    return id;
  };
  const give = (id: number): void => {
    if (waiting.delete(id)) post('cancel', id);
  };

  const request = (method: string, message: Reply, { timeoutMs, signal }: CallOptions): Promise<Received> =>
    new Promise((resolve, reject) => {
      if (signal?.aborted === true) throw abortedBy(signal);
      let timer: NodeJS.Timeout | undefined;
      const finish = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      const fail = (id: number, error: QflError): void => {
        give(id);
        finish();
        reject(error);
      };
      const onAbort = (): void => fail(id, new QflError('cancelled'));
      let id = 0;
      // Before anything is sent: an answer must find the timer that it has to stop.
      timer = setTimeout(
        () => fail(id, new QflError('timeout', { detail: `${method} had no answer in ${timeoutMs} ms` })),
        timeoutMs,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        id = begin(method, message, {
          kind: 'plain',
          settle(result) {
            finish();
            if (result instanceof QflError) reject(result);
            else resolve(result);
          },
        });
      } catch (error) {
        finish();
        reject(toQflError(error));
      }
    });

  async function* stream(
    method: string,
    message: Reply,
    { timeoutMs, signal }: CallOptions,
  ): AsyncGenerator<Received> {
    if (signal?.aborted === true) throw new QflError('cancelled');
    let id = 0;
    const queue = createQueue(limits.bufferedMax, () => give(id));
    id = begin(method, message, { kind: 'stream', push: (item) => queue.push(item) });
    const onAbort = (): void =>
      queue.push(signal === undefined ? new QflError('cancelled') : abortedBy(signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        const item = await queue.next(timeoutMs);
        if (item === 'end') return;
        if (item === undefined)
          throw new QflError('timeout', { detail: `${method} was silent for ${timeoutMs} ms` });
        if (item instanceof QflError) throw item;
        yield item;
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
      give(id);
    }
  }

  const postError = (id: number, error: QflError): void => {
    try {
      post('error', id, { header: toWire(error) });
    } catch (thrown) {
      // Facts that JSON cannot hold: the caller still has to hear that it failed.
      logger.error({ err: thrown }, 'an error could not be sent as it is');
      post('error', id, { header: { code: error.code } });
    }
  };
  const serveStream = async (id: number, answers: AsyncIterable<Reply>, run: Run): Promise<void> => {
    for await (const answer of answers) {
      if (run.isAborted()) return;
      post('chunk', id, answer);
    }
    if (!run.isAborted()) post('end', id);
  };
  const serve = async (
    id: number,
    method: string,
    run: Run,
    call: Call,
    handler: Exclude<Handler, { kind: 'event' }>,
  ): Promise<void> => {
    try {
      if (handler.kind === 'stream') await serveStream(id, handler.answer(call), run);
      else {
        const answer = await handler.answer(call);
        if (!run.isAborted()) post('response', id, answer);
      }
    } catch (thrown) {
      const error = toQflError(thrown);
      if (error.code === 'internal') logger.error({ err: thrown, method }, 'a call failed');
      if (!run.isAborted()) postError(id, error);
    } finally {
      running.delete(id);
    }
  };
  const accept = ({ id, header, payload }: Message): void => {
    const { m: method, h } = parseRequest(header);
    const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
    if (handler === undefined || handler.kind === 'event')
      return postError(id, new QflError('not_found', { detail: 'unknown method' }));
    if (running.has(id)) throw new QflError('protocol', { detail: 'a call id used twice' });
    if (running.size >= limits.callsMax)
      return postError(id, new QflError('overloaded', { detail: 'too many calls at once' }));
    const run = createRun();
    running.set(id, run);
    const call: Call = {
      header: h,
      payload,
      get signal() {
        return run.signal();
      },
    };
    void serve(id, method, run, call, handler);
  };
  const acceptEvent = ({ header, payload }: Message): void => {
    const { m: method, h } = parseRequest(header);
    const handler = Object.hasOwn(handlers, method) ? handlers[method] : undefined;
    if (handler?.kind !== 'event') throw new QflError('protocol', { detail: 'unknown event' });
    handler.accept({ header: h, payload });
  };
  const settle = ({ type, id, header, payload }: Message): void => {
    const wait = waiting.get(id);
    // A late answer to a call that was given up.
    if (wait === undefined) return;
    const error = type === 'error' ? fromWire(header) : undefined;
    if (wait.kind === 'plain') {
      if (type !== 'response' && error === undefined)
        throw new QflError('protocol', { detail: 'a stream where one answer was due' });
      waiting.delete(id);
      return wait.settle(error ?? { header, payload });
    }
    if (type === 'response') throw new QflError('protocol', { detail: 'one answer where a stream was due' });
    if (type !== 'chunk') waiting.delete(id);
    wait.push(error ?? (type === 'end' ? 'end' : { header, payload }));
  };

  return {
    request,
    stream,
    notify: (event, message) =>
      post('event', 0, { header: { m: event, h: message.header }, payload: message.payload ?? EMPTY }),
    receive(message) {
      if (message.type === 'request') accept(message);
      else if (message.type === 'event') acceptEvent(message);
      else if (message.type === 'cancel') running.get(message.id)?.abort();
      else settle(message);
    },
    close(error) {
      if (closed !== undefined) return;
      closed = error;
      for (const wait of waiting.values()) {
        if (wait.kind === 'plain') wait.settle(error);
        else wait.push(error);
      }
      waiting.clear();
      for (const run of running.values()) run.abort();
      running.clear();
    },
  };
};

const parseRequest = (header: unknown): z.infer<typeof RequestHeader> => {
  const parsed = RequestHeader.safeParse(header);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a request without a method' });
  return parsed.data;
};
