/** What the API document says beside the schemas: the operation each route needs, the errors it may answer, and which tag it belongs to. */
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { OPERATIONS, isOperation } from '../access/operations.ts';
import { Problem, PROBLEM_CONTENT_TYPE } from './problem.ts';

const PROBLEM_SCHEMA = z.toJSONSchema(Problem, { target: 'openapi-3.0', io: 'output' });

const problem = (description: string) => ({
  description,
  content: { [PROBLEM_CONTENT_TYPE]: { schema: PROBLEM_SCHEMA } },
});

/** Example bodies of a route, by `METHOD path` as it was registered. */
export type Examples = Readonly<Record<string, { readonly body?: unknown; readonly response?: unknown }>>;

type Transform = typeof jsonSchemaTransform;

const tagOf = (url: string): string => {
  const [, first = '', second = ''] = url.split('/');
  return first === 'v1' ? second : first === '.well-known' ? 'auth' : first;
};

/** Answers that every route of that kind may give beside its own. */
const errorsOf = (access: unknown, hasBody: boolean): Record<string, unknown> => ({
  ...(hasBody ? { 400: problem('The request is not valid; `errors` says where') } : {}),
  ...(access === 'public'
    ? {}
    : { 401: problem('No valid key or sign-in'), 403: problem('The role may not do that') }),
  429: problem('Too many requests; `Retry-After` says when to come back'),
});

const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? { ...value } : {};

/** The transform of @fastify/swagger, with the above added. */
export const documenting =
  (examples: Examples): Transform =>
  (input) => {
    const made = jsonSchemaTransform(input);
    const { route } = input;
    const access: unknown = route.config?.access;
    const { schema } = made;
    if (schema === undefined || schema.hide === true) return made;
    const method = [route.method].flat()[0] ?? 'GET';
    const example = examples[`${method} ${route.url}`];
    const body = asRecord(schema.body);
    const response = Object.fromEntries(
      Object.entries(asRecord(schema.response)).map(([status, one]) => [
        status,
        example?.response === undefined ? one : { ...asRecord(one), example: example.response },
      ]),
    );
    const operation = typeof access === 'string' && isOperation(access) ? access : undefined;
    return {
      ...made,
      schema: {
        ...schema,
        tags: schema.tags ?? [tagOf(route.url)],
        ...(access === 'public' ? { security: [] } : {}),
        ...(operation === undefined
          ? {}
          : {
              description: `Operation \`${operation}\` (permission \`${OPERATIONS[operation].permission}\`).`,
            }),
        ...(schema.body === undefined || example?.body === undefined
          ? {}
          : { body: { ...body, example: example.body } }),
        response: { ...response, ...errorsOf(access, schema.body !== undefined) },
      },
    };
  };
