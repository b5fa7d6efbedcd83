/**
 * The HTTP client of the CLI and of joining agents: JSON, NDJSON and event streams over undici. An error that our programs
 * answered comes back as the `QflError` it was.
 */
import { readFileSync } from 'node:fs';
import { rootCertificates, type TLSSocket } from 'node:tls';
import { Agent, buildConnector, type Dispatcher, errors, request } from 'undici';
import { z } from 'zod';
import { fromUtf8 } from '../bytes.ts';
import { type ErrorCode, isErrorCode, QflError } from '../errors.ts';
import { openTls } from './connect.ts';
import { errorOfProblem } from './problem.ts';
import { type Environment, proxyFor } from './proxy.ts';
import { readLines, readSse, type SseEvent } from './stream-parse.ts';
import { isLoopback } from './tls.ts';

export interface HttpClientOptions {
  readonly baseUrl: string;
  readonly apiKey?: string | undefined;
  /** SHA-256 of the server's certificate, 64 hexadecimal characters. */
  readonly pinnedFingerprint?: string | undefined;
  /** PEM file of a private CA. */
  readonly caFile?: string | undefined;
  /** Where HTTPS_PROXY and NO_PROXY are read. */
  readonly env: Environment;
  /** Until the answer's first byte; and the longest silence inside an answer. */
  readonly timeoutMs: number;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Each call throws the server's own QflError, or `not_connected`, `unknown_key`, `timeout`, `cut`, `cancelled`, `protocol`. */
export interface HttpClient {
  json<Schema extends z.ZodType>(
    method: Method,
    path: string,
    schema: Schema,
    options?: CallOptions,
  ): Promise<z.output<Schema>>;
  ndjson<Schema extends z.ZodType>(
    method: Method,
    path: string,
    schema: Schema,
    options?: CallOptions,
  ): AsyncIterable<z.output<Schema>>;
  sse(method: Method, path: string, options?: CallOptions): AsyncIterable<SseEvent>;
  /** The answer's bytes, for downloads. */
  bytes(method: Method, path: string, options?: CallOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

const readCa = (file: string): readonly string[] => {
  try {
    return [...rootCertificates, readFileSync(file, 'utf8')];
  } catch (cause) {
    throw new QflError('config_invalid', { detail: `the CA file ${file} cannot be read`, cause });
  }
};

const checkBaseUrl = ({ baseUrl, pinnedFingerprint }: HttpClientOptions): URL => {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  const host = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
  if (url === undefined || !(url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(host)))) {
    throw new QflError('config_invalid', {
      detail: `${baseUrl} cannot be used as an address`,
      next: 'Use https://…; http:// only to this machine, because the key would travel readable.',
    });
  }
  if (pinnedFingerprint !== undefined && !/^[0-9a-f]{64}$/.test(pinnedFingerprint)) {
    throw new QflError('config_invalid', {
      detail: 'a fingerprint has 64 hexadecimal characters (0–9, a–f)',
    });
  }
  return url;
};

const handOver = async (opening: Promise<TLSSocket>, callback: buildConnector.Callback): Promise<void> => {
  let socket: TLSSocket;
  try {
    socket = await opening;
  } catch (error) {
    callback(error instanceof Error ? error : new Error('connection failed'), null);
    return;
  }
  callback(null, socket);
};

const createAgent = (options: HttpClientOptions, url: URL): Agent => {
  const { pinnedFingerprint, caFile, env, timeoutMs } = options;
  const ca = caFile === undefined ? undefined : readCa(caFile);
  const plain = buildConnector({ timeout: timeoutMs });
  const connect: buildConnector.connector = (where, callback) => {
    if (where.protocol !== 'https:') return plain(where, callback);
    const host = where.hostname.replace(/^\[|\]$/g, '');
    const target = { host, port: Number(where.port || 443), pinnedFingerprint, ca, timeoutMs };
    void handOver(openTls({ ...target, proxy: proxyFor(url, env) }), callback);
    return undefined;
  };
  return new Agent({ connect, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
};

const OpenAiBody = z.object({ error: z.object({ message: z.string(), code: z.string().nullish() }) });

const OPENAI_CODES: Readonly<Record<string, ErrorCode>> = {
  invalid_api_key: 'unauthenticated',
  model_not_found: 'not_found',
  rate_limit_exceeded: 'rate_limited',
};

const STATUS_CODES: Readonly<Record<number, ErrorCode>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  429: 'rate_limited',
  504: 'timeout',
};

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The error that an answer with status ≥ 400 stands for. */
export const errorOfAnswer = (status: number, body: string): QflError => {
  const json = parseJson(body);
  const problem = errorOfProblem(json);
  if (problem !== undefined) return problem;
  const openAi = OpenAiBody.safeParse(json);
  const fallback = STATUS_CODES[status] ?? (status < 500 ? 'invalid_request' : 'internal');
  if (!openAi.success) return new QflError(fallback, { detail: `The server answered ${status}.` });
  const { code, message } = openAi.data.error;
  const own = isErrorCode(code) ? code : (OPENAI_CODES[code ?? ''] ?? fallback);
  return new QflError(own, { detail: message });
};

const connectionError = (cause: unknown, baseUrl: string): QflError => {
  if (cause instanceof QflError) return cause;
  if (cause instanceof errors.HeadersTimeoutError || cause instanceof errors.BodyTimeoutError) {
    return new QflError('timeout', { detail: `${baseUrl} did not answer in time.`, cause });
  }
  if (cause instanceof Error && cause.name === 'AbortError') return new QflError('cancelled', { cause });
  return new QflError('not_connected', {
    detail: `${baseUrl} could not be reached.`,
    next: 'Check the address and that the program runs.',
    cause,
  });
};

async function* bodyOf(answer: Dispatcher.ResponseData): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of answer.body) if (chunk instanceof Uint8Array) yield chunk;
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'AbortError') throw new QflError('cancelled', { cause });
    throw new QflError('cut', { detail: 'The connection ended before the answer did.', cause });
  }
}

const readText = async (answer: Dispatcher.ResponseData): Promise<string> => {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of bodyOf(answer)) {
    bytes += piece.byteLength;
    if (bytes > ANSWER_BYTES_MAX)
      throw new QflError('too_large', { detail: 'The answer is larger than 64 MiB.' });
    pieces.push(piece);
  }
  return fromUtf8(Buffer.concat(pieces));
};

const parseAnswer = <Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> => {
  const parsed = schema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const paths = parsed.error.issues.map(({ path }) => path.join('.') || '(answer)');
  throw new QflError('protocol', {
    detail: `The server's answer is not understood (${[...new Set(paths)].join(', ')}).`,
    next: 'Client and server may be of different versions.',
  });
};

/** @throws QflError `config_invalid` for a bad address, fingerprint or CA file */
export const createHttpClient = (options: HttpClientOptions): HttpClient => {
  const url = checkBaseUrl(options);
  const agent = createAgent(options, url);

  const call = async (method: Method, path: string, { body, signal, headers }: CallOptions) => {
    const json = body === undefined ? undefined : JSON.stringify(body);
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(new URL(path, url), {
        method,
        dispatcher: agent,
        ...(signal === undefined ? {} : { signal }),
        ...(json === undefined ? {} : { body: json }),
        headers: {
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }),
          ...headers,
        },
      });
    } catch (cause) {
      throw connectionError(cause, url.origin);
    }
    if (answer.statusCode >= 400) throw errorOfAnswer(answer.statusCode, await readText(answer));
    return answer;
  };

  return {
    async json(method, path, schema, callOptions = {}) {
      return parseAnswer(schema, await readText(await call(method, path, callOptions)));
    },
    async *ndjson(method, path, schema, callOptions = {}) {
      const answer = await call(method, path, callOptions);
      for await (const line of readLines(bodyOf(answer))) if (line !== '') yield parseAnswer(schema, line);
    },
    async *sse(method, path, callOptions = {}) {
      const headers = { accept: 'text/event-stream', ...callOptions.headers };
      yield* readSse(bodyOf(await call(method, path, { ...callOptions, headers })));
    },
    async *bytes(method, path, callOptions = {}) {
      yield* bodyOf(await call(method, path, callOptions));
    },
    close: () => agent.destroy(),
  };
};
