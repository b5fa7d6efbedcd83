/** Server-sent events: one open stream of an answer, with back pressure, keep-alives, and an end that the server can bring. */
import { once } from 'node:events';
import type { FastifyReply } from 'fastify';
import { QflError } from '../errors.ts';

const HEARTBEAT_MS = 15_000;

export interface SseStream {
  /** Aborted when the client went away (reason `cancelled`) or the program stops (reason `cut`). */
  readonly signal: AbortSignal;
  /** Writes one event and waits until the socket takes more. Does nothing after the client went away. */
  send(data: string, event?: string): Promise<void>;
  end(): void;
}

/** All open streams of a program, so that shutting down can end them. */
export class OpenStreams {
  readonly #streams = new Set<AbortController>();

  add(controller: AbortController): () => void {
    this.#streams.add(controller);
    return () => this.#streams.delete(controller);
  }

  get size(): number {
    return this.#streams.size;
  }

  /** Tells every stream to end; each then writes its last event. */
  abortAll(): void {
    const reason = new QflError('cut', {
      detail: 'The program is stopping.',
      next: 'Ask again in a moment.',
    });
    for (const stream of this.#streams) stream.abort(reason);
  }
}

/** Takes the reply over as an event stream; headers that were set on it are sent. */
export const openSse = (reply: FastifyReply, streams: OpenStreams): SseStream => {
  const { raw } = reply;
  const controller = new AbortController();
  const remove = streams.add(controller);
  reply.hijack();
  const headers = Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined);
  raw.writeHead(200, {
    ...Object.fromEntries(headers),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.flushHeaders();
  const heartbeat = setInterval(() => raw.write(': keep-alive\n\n'), HEARTBEAT_MS);
  raw.once('close', () => {
    clearInterval(heartbeat);
    remove();
    if (!raw.writableFinished) controller.abort(new QflError('cancelled'));
  });
  return {
    signal: controller.signal,
    async send(data, event) {
      if (raw.destroyed || raw.writableEnded) return;
      const name = event === undefined ? '' : `event: ${event}\n`;
      const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
      if (raw.write(`${name}${lines.join('')}\n`)) return;
      // `close` also ends the wait: a client that went away never drains.
      await Promise.race([once(raw, 'drain'), once(raw, 'close')]).catch(() => undefined);
    },
    end: () => {
      if (!raw.writableEnded) raw.end();
    },
  };
};
