/** What happens around every request: its id, security headers, rate limits, one log line, its metrics. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { HttpAppOptions, ZodFastify } from './app.ts';
import { QflError } from '../errors.ts';
import { addressKey, createRateLimiter, type RateLimiter } from './rate-limit.ts';

const HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
};
const API_CSP = "default-src 'none'; frame-ancestors 'none'";
const HSTS = 'max-age=31536000';

const routeOf = (request: FastifyRequest): string => request.routeOptions.url ?? '(none)';

const isDocuments = (request: FastifyRequest): boolean => routeOf(request).startsWith('/docs');

const installHeaders = (app: ZodFastify, isTls: boolean): void => {
  app.addHook('onRequest', async (request, reply) => {
    void reply.headers({ ...HEADERS, 'x-request-id': request.id });
    if (isTls) void reply.header('strict-transport-security', HSTS);
    // The documents page brings its own policy and may be cached; answers may not.
    if (!isDocuments(request)) {
      void reply.headers({ 'content-security-policy': API_CSP, 'cache-control': 'no-store' });
    }
  });
};

/** @throws QflError `rate_limited` */
const take = (limiter: RateLimiter, key: string, reply: FastifyReply): void => {
  const verdict = limiter.take(key);
  void reply.headers({
    'ratelimit-limit': verdict.limit,
    'ratelimit-remaining': verdict.remaining,
    'ratelimit-reset': verdict.resetS,
  });
  if (verdict.allowed) return;
  void reply.header('retry-after', verdict.retryAfterS);
  throw new QflError('rate_limited', {
    detail: `More than ${verdict.limit} requests in the window.`,
    next: `Try again in ${verdict.retryAfterS} s.`,
    facts: { retryAfterS: verdict.retryAfterS },
  });
};

const installRateLimits = (app: ZodFastify, { rateLimit, clock }: HttpAppOptions): void => {
  const byAddress = createRateLimiter(rateLimit, clock);
  const byKey = createRateLimiter(rateLimit, clock);
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.rateLimit === false || isDocuments(request)) return;
    take(byAddress, addressKey(request.ip), reply);
  });
  // After the key was verified: whoever knows only a key's id can neither use up its limit nor escape their own.
  app.addHook('preValidation', async (request, reply) => {
    if (request.principal !== null && request.routeOptions.config.rateLimit !== false) {
      take(byKey, request.principal.id, reply);
    }
  });
};

const installRecord = (app: ZodFastify, { metrics, clock }: HttpAppOptions): void => {
  const begunMs = new WeakMap<FastifyRequest, number>();
  const end = (request: FastifyRequest, status: number): void => {
    const begun = begunMs.get(request);
    if (begun === undefined) return;
    begunMs.delete(request);
    const durationMs = clock.monotonicMs() - begun;
    const { method } = request;
    metrics?.http.end({ method, route: routeOf(request), status }, durationMs / 1000);
    const line = {
      requestId: request.id,
      method,
      route: routeOf(request),
      status,
      durationMs: Math.round(durationMs),
    };
    request.log.info(line, 'request');
  };
  app.addHook('onRequest', async (request, reply) => {
    begunMs.set(request, clock.monotonicMs());
    metrics?.http.begin();
    // `close` and not `onResponse`: it also comes for answers that were taken over (event streams) or cut.
    reply.raw.once('close', () => end(request, reply.raw.writableFinished ? reply.raw.statusCode : 499));
  });
};

export const installLimits = (app: ZodFastify, options: HttpAppOptions): void => {
  installRecord(app, options);
  installHeaders(app, options.tls !== undefined);
  installRateLimits(app, options);
};
