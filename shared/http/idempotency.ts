/**
 * `Idempotency-Key` for every POST with a principal (draft-ietf-httpapi-idempotency-key-header): the same key with the same request is done once, and
 * its answer given again. Kept in memory for ten minutes, because some answers hold a secret that is shown once: a retry after a restart is a new
 * request. Routes that keep keys of their own say so.
 */
import { hash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { utf8 } from '../bytes.ts';
import { type Clock, MINUTE_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import type { ZodFastify } from './app.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `own`: the route looks after `Idempotency-Key` itself. */
    idempotency?: 'own';
  }
}

const HEADER = 'idempotency-key';
const KEY = /^[\x21-\x7e]{1,128}$/;
const KEPT_MS = 10 * MINUTE_MS;
const ENTRIES_MAX = 1_000;
const ANSWER_BYTES_MAX = 64 * 1024;

interface Entry {
  readonly digest: string;
  readonly untilMs: number;
  answer:
    | {
        readonly status: number;
        readonly type: string;
        readonly etag: string | undefined;
        readonly body: string;
      }
    | undefined;
}

/** The key of a request as it is kept: bound to who asks and what; undefined where it has none. @throws QflError `invalid_request` */
const nameOf = (request: FastifyRequest): string | undefined => {
  const { principal, routeOptions } = request;
  const given = request.headers[HEADER];
  const isOurs = request.method === 'POST' && principal !== null && routeOptions.config.idempotency !== 'own';
  if (given === undefined || !isOurs) return undefined;
  if (typeof given !== 'string' || !KEY.test(given))
    throw new QflError('invalid_request', {
      detail: 'an Idempotency-Key is 1–128 visible ASCII characters',
      next: 'A random UUID will do.',
    });
  return hash('sha256', utf8(JSON.stringify([principal.id, request.url, given])), 'hex');
};

const replay = (
  reply: FastifyReply,
  { status, type, etag, body }: NonNullable<Entry['answer']>,
): FastifyReply => {
  if (etag !== undefined) void reply.header('etag', etag);
  return reply
    .code(status)
    .type(type)
    .header('idempotent-replayed', 'true')
    .serializer((text: string) => text)
    .send(body);
};

export const installIdempotency = (app: ZodFastify, clock: Pick<Clock, 'monotonicMs'>): void => {
  const entries = new Map<string, Entry>();
  const names = new WeakMap<FastifyRequest, string>();
  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [name, entry] of entries) {
      if (entry.untilMs > nowMs && entries.size <= ENTRIES_MAX) return;
      entries.delete(name);
    }
  };
  // After validation: what is refused for its form is not remembered.
  app.addHook('preHandler', async (request, reply) => {
    const name = nameOf(request);
    if (name === undefined) return undefined;
    sweep();
    const digest = hash('sha256', utf8(JSON.stringify(request.body ?? null)), 'hex');
    const known = entries.get(name);
    if (known === undefined) {
      entries.set(name, { digest, untilMs: clock.monotonicMs() + KEPT_MS, answer: undefined });
      names.set(request, name);
      return undefined;
    }
    if (known.digest !== digest)
      throw new QflError('conflict', {
        detail: 'this idempotency key belongs to another request',
        next: 'Use a new key for a new request; repeat a request with exactly the same body.',
      });
    if (known.answer === undefined)
      throw new QflError('conflict', { detail: 'the request with this key is still under way' });
    return replay(reply, known.answer);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const name = names.get(request);
    const entry = name === undefined ? undefined : entries.get(name);
    if (name === undefined || entry === undefined) return payload;
    names.delete(request);
    const isKept =
      reply.statusCode < 400 && typeof payload === 'string' && payload.length <= ANSWER_BYTES_MAX;
    // What failed may be tried again with the same key.
    if (!isKept) entries.delete(name);
    else {
      const etag = reply.getHeader('etag');
      const type = reply.getHeader('content-type');
      entry.answer = {
        status: reply.statusCode,
        type: typeof type === 'string' ? type : 'application/json',
        etag: typeof etag === 'string' ? etag : undefined,
        body: payload,
      };
    }
    return payload;
  });
};
