/**
 * The typed client of the coordinator: `client.accounts.list({ query: { role: 'admin' } })`. Its functions are made from the table of routes, their types
 * from the same schemas that the coordinator validates with; answers are checked on the way in, and an error is the `QflError` that the server meant.
 *
 *     const coordinator = createCoordinatorClient({ baseUrl: 'https://…', apiKey, env: process.env, timeoutMs: 60_000 });
 *     for await (const account of allAccounts(coordinator)) …
 */
import type { z } from 'zod';
import { createHttpClient, type HttpClient, type HttpClientOptions } from '../http/client.ts';
import type { SseEvent } from '../http/stream-parse.ts';
import type { AccountShown } from '../wire/accounts.ts';
import { COORDINATOR_ROUTES } from './coordinator-routes.ts';
import type { Arguments, InputOf, Route } from './route.ts';

type AnswerOf<One extends Route> = One['answer'] extends z.ZodType
  ? Promise<z.output<One['answer']>>
  : One['answer'] extends 'bytes'
    ? AsyncIterable<Uint8Array>
    : AsyncIterable<SseEvent>;

type Routes = Readonly<Record<string, Readonly<Record<string, Route>>>>;
export type ClientOf<Table extends Routes> = {
  readonly [Noun in keyof Table]: {
    readonly [Verb in keyof Table[Noun]]: (
      ...input: Arguments<Table[Noun][Verb]>
    ) => AnswerOf<Table[Noun][Verb]>;
  };
};

export type CoordinatorClient = ClientOf<typeof COORDINATOR_ROUTES> & {
  /** What carries the calls, for what the table does not have. */
  readonly http: HttpClient;
  close(): Promise<void>;
};

interface AnyInput {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly ifMatch?: string;
  readonly idempotencyKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A path with its parameters filled in and its query behind it. */
export const addressOf = (path: string, { params = {}, query = {} }: AnyInput): string => {
  const filled = path.replaceAll(/:([A-Za-z]+)/g, (_whole, name: string) =>
    encodeURIComponent(params[name] ?? ''),
  );
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      search.set(name, String(value));
  return search.size === 0 ? filled : `${filled}?${search.toString()}`;
};

const callOf = ({ body, signal, ifMatch, idempotencyKey, headers = {} }: AnyInput) => ({
  ...(body === undefined ? {} : { body }),
  ...(signal === undefined ? {} : { signal }),
  headers: {
    ...headers,
    ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
    ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
  },
});

const perform = (http: HttpClient, { method, path, answer }: Route, input: AnyInput): unknown => {
  const address = addressOf(path, input);
  if (answer === 'bytes') return http.bytes(method, address, callOf(input));
  if (answer === 'events') return http.sse(method, address, callOf(input));
  return http.json(method, address, answer, callOf(input));
};

/** The client over a connection that is there already. */
export const clientOver = (http: HttpClient): CoordinatorClient => {
  const nouns = Object.entries<Readonly<Record<string, Route>>>(COORDINATOR_ROUTES).map(([noun, verbs]) => [
    noun,
    Object.fromEntries(
      Object.entries(verbs).map(([verb, one]) => [verb, (input: AnyInput = {}) => perform(http, one, input)]),
    ),
  ]);
  // The types say what the table says: both are made of the same routes.
  return { ...Object.fromEntries(nouns), http, close: () => http.close() } as CoordinatorClient;
};

/** @throws QflError `config_invalid` for a bad address, fingerprint or CA file */
export const createCoordinatorClient = (options: HttpClientOptions): CoordinatorClient =>
  clientOver(createHttpClient(options));

const PAGE = 500;

/** Every account, page by page. */
export async function* allAccounts(
  client: CoordinatorClient,
  query: Omit<NonNullable<InputOf<typeof COORDINATOR_ROUTES.accounts.list>['query']>, 'after' | 'limit'> = {},
): AsyncGenerator<AccountShown> {
  let after: string | undefined;
  do {
    const page = await client.accounts.list({
      query: { ...query, limit: PAGE, ...(after === undefined ? {} : { after }) },
    });
    yield* page.accounts;
    after = page.next ?? undefined;
  } while (after !== undefined);
}
