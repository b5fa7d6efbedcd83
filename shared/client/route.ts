/** A route as a value: method, path, and the schemas of what goes in and comes out. The client's functions and their types are made from such values. */
import type { z } from 'zod';
import type { Method } from '../http/client.ts';

/** How an answer comes: parsed JSON, bytes as they come, or server-sent events. */
export type AnswerForm = 'json' | 'bytes' | 'events';

export interface Route<
  Path extends string = string,
  Query extends z.ZodType | undefined = z.ZodType | undefined,
  Body extends z.ZodType | undefined = z.ZodType | undefined,
  Answer extends z.ZodType | Exclude<AnswerForm, 'json'> = z.ZodType | Exclude<AnswerForm, 'json'>,
> {
  readonly method: Method;
  /** With `:name` for each parameter. */
  readonly path: Path;
  readonly query: Query;
  readonly body: Body;
  /** Schema of a JSON answer, or the form of another. */
  readonly answer: Answer;
}

interface Parts<Query, Body, Answer> {
  readonly query?: Query;
  readonly body?: Body;
  readonly answer: Answer;
}

/** A `Route` with its types kept. */
export const route = <
  const Path extends string,
  Answer extends z.ZodType | Exclude<AnswerForm, 'json'>,
  Query extends z.ZodType | undefined = undefined,
  Body extends z.ZodType | undefined = undefined,
>(
  method: Method,
  path: Path,
  parts: Parts<Query, Body, Answer>,
): Route<Path, Query, Body, Answer> => ({
  method,
  path,
  query: parts.query as Query,
  body: parts.body as Body,
  answer: parts.answer,
});

/** Names of the parameters of a path. */
export type ParamsOf<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | ParamsOf<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never;

interface CallOptions {
  readonly signal?: AbortSignal;
  /** Change only this version: an ETag. */
  readonly ifMatch?: string;
  /** The same key with the same request is done once. */
  readonly idempotencyKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type WithParams<Path extends string> = [ParamsOf<Path>] extends [never]
  ? object
  : { readonly params: Readonly<Record<ParamsOf<Path>, string>> };
type WithQuery<Query> = Query extends z.ZodType ? { readonly query?: z.input<Query> } : object;
type WithBody<Body> = Body extends z.ZodType ? { readonly body: z.input<Body> } : object;

export type InputOf<One extends Route> = WithParams<One['path']> &
  WithQuery<One['query']> &
  WithBody<One['body']> &
  CallOptions;

/** What may be left out when nothing is needed. */
export type Arguments<One extends Route> =
  object extends InputOf<One> ? [input?: InputOf<One>] : [input: InputOf<One>];
