/**
 * The HTTP face of both programs: Fastify with zod schemas as the single source of validation, types and OpenAPI (`/docs`),
 * limits, RFC 9457 problems (OpenAI's shape under `/v1/chat`, `/v1/models`, `/v1/embeddings`), and access that every route declares.
 * Bodies, query strings and authorization headers are never logged.
 */
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import {
  fastify,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
} from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Clock } from '../clock.ts';
import { QflError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { type HttpAccess, installBearer } from './bearer.ts';
import { installIdempotency } from './idempotency.ts';
import { faultFrom } from './faults.ts';
import { installLimits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import { isOpenAiPath, openAiError } from './openai-errors.ts';
import { documenting, type Examples } from './openapi.ts';
import { type HttpFault, PROBLEM_CONTENT_TYPE, problemOf } from './problem.ts';
import type { RateLimit } from './rate-limit.ts';
import { createRouteTable } from './routes.ts';
import { OpenStreams } from './sse.ts';
import { assertBindable, type TlsMaterial, tlsServerOptions } from './tls.ts';

export type ZodFastify = FastifyInstance<
  Server,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export interface HttpAppOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly title: string;
  readonly version: string;
  readonly bodyLimitBytes: number;
  /** Per address before a key is checked, and per key after. */
  readonly rateLimit: RateLimit;
  /** Without it every route that is not public answers 401. */
  readonly access?: HttpAccess | undefined;
  readonly metrics?: Metrics | undefined;
  /** Shown in the API document. */
  readonly examples?: Examples | undefined;
  readonly tls?: TlsMaterial | undefined;
  /** Addresses of reverse proxies whose X-Forwarded-For is believed; none by default. */
  readonly trustedProxies?: readonly string[] | undefined;
}

export interface HttpApp {
  /** Register routes here; each needs `config.access`. */
  readonly fastify: ZodFastify;
  /** Event streams opened with `openSse` belong here. */
  readonly streams: OpenStreams;
  /** @throws QflError `config_invalid` (no TLS and not loopback), `conflict` (address in use) */
  listen(address: { readonly host: string; readonly port: number }): Promise<HttpAddress>;
  /** Stops taking requests, waits up to `deadlineMs` for answers, then ends streams, then connections. */
  close(deadlineMs?: number): Promise<void>;
}

export interface HttpAddress {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 120_000;
const PARAMETER_CHARS_MAX = 200;
const CLOSE_DEADLINE_MS = 10_000;
/** What a stream gets to write its last event. */
const LAST_EVENT_MS = 500;
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

const createServer = (
  tls: TlsMaterial | undefined,
  handler: Parameters<typeof createHttpServer>[1],
): Server => {
  const limits = { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS };
  return tls === undefined
    ? createHttpServer(limits, handler)
    : createHttpsServer({ ...limits, ...tlsServerOptions(tls) }, handler);
};

/** The caller's request id when it is harmless, else one of ours. */
const requestIdOf = (header: string | string[] | undefined): string =>
  typeof header === 'string' && REQUEST_ID.test(header) ? header : randomUUID();

const createFastify = ({ logger, tls, bodyLimitBytes, trustedProxies }: HttpAppOptions): ZodFastify => {
  const loggerInstance: FastifyBaseLogger = logger;
  const app = fastify({
    loggerInstance,
    // Its own request log would hold URLs, and URLs hold identifiers; `limits.ts` logs the route instead.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: bodyLimitBytes,
    genReqId: ({ headers }) => requestIdOf(headers['x-request-id']),
    trustProxy: trustedProxies === undefined || trustedProxies.length === 0 ? false : [...trustedProxies],
    routerOptions: { maxParamLength: PARAMETER_CHARS_MAX },
    serverFactory: (handler) => createServer(tls, handler),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  return app;
};

const installDocuments = async (app: ZodFastify, options: HttpAppOptions): Promise<void> => {
  const { title, version } = options;
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title, version },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
    transform: documenting(options.examples ?? {}),
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
};

/** Sends a fault in the shape that the path promises. */
const sendFault = (request: FastifyRequest, reply: FastifyReply, fault: HttpFault): FastifyReply => {
  if (fault.status === 401) void reply.header('www-authenticate', 'Bearer');
  void reply.code(fault.status);
  if (isOpenAiPath(request.url)) {
    return reply.type('application/json').serializer(JSON.stringify).send(openAiError(fault));
  }
  return reply.type(PROBLEM_CONTENT_TYPE).serializer(JSON.stringify).send(problemOf(fault, request.id));
};

const installFaults = (app: ZodFastify): void => {
  const table = createRouteTable(app);
  app.setErrorHandler((error, request, reply) => {
    const fault = faultFrom(error);
    if (fault.status >= 500) {
      request.log.error({ code: fault.error.code, err: fault.error.cause ?? fault.error }, 'request failed');
    }
    return sendFault(request, reply, fault);
  });
  app.setNotFoundHandler((request, reply) => {
    const { fault, allow } = table.missing(request.url);
    if (allow !== undefined) void reply.header('allow', allow);
    return sendFault(request, reply, fault);
  });
};

const listen = async (
  app: ZodFastify,
  tls: TlsMaterial | undefined,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<HttpAddress> => {
  assertBindable(host, tls);
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw new QflError('conflict', {
      detail: `${host}:${port} cannot be listened on`,
      next: 'Stop what uses the port, or choose another.',
      cause,
    });
  }
  const bound = app.server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  const scheme = tls === undefined ? 'http' : 'https';
  return {
    url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${boundPort}`,
    host,
    port: boundPort,
  };
};

const close = async (app: ZodFastify, streams: OpenStreams, deadlineMs: number): Promise<void> => {
  const closing = app.close();
  const isClosedWithin = (waitMs: number): Promise<boolean> =>
    Promise.race([closing.then(() => true), delay(waitMs, false, { ref: false })]);
  if (!(await isClosedWithin(deadlineMs))) {
    streams.abortAll();
    if (!(await isClosedWithin(LAST_EVENT_MS))) app.server.closeAllConnections();
  }
  await closing;
};

/** Builds the app; routes are added by the caller before `listen`. */
export const createHttpApp = async (options: HttpAppOptions): Promise<HttpApp> => {
  const app = createFastify(options);
  const streams = new OpenStreams();
  app.decorateRequest('principal', null);
  installFaults(app);
  installLimits(app, options);
  await installDocuments(app, options);
  installBearer(app, options.access);
  installIdempotency(app, options.clock);
  return {
    fastify: app,
    streams,
    listen: (address) => listen(app, options.tls, address),
    close: (deadlineMs = CLOSE_DEADLINE_MS) => close(app, streams, deadlineMs),
  };
};
