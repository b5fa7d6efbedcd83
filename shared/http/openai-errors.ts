/**
 * Errors in the shape that OpenAI clients read: `{ error: { message, type, param, code } }`. The clients decide by HTTP status
 * (401, 403, 404, 429 have classes of their own; 408, 409, 429 and 5xx are retried) and show `message`.
 */
import type { ErrorCode } from '../errors.ts';
import type { HttpFault } from './problem.ts';

export interface OpenAiErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

const OPENAI_ROUTE = /^\/v1\/(chat|models|embeddings|completions)(\/|\?|$)/;

/** Do errors of this path leave in OpenAI's shape? */
export const isOpenAiPath = (url: string): boolean => OPENAI_ROUTE.test(url);

const SPECIAL: Partial<Record<ErrorCode, { readonly type: string; readonly code: string }>> = {
  unauthenticated: { type: 'authentication_error', code: 'invalid_api_key' },
  not_found: { type: 'invalid_request_error', code: 'model_not_found' },
  rate_limited: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
};

const typeOf = (status: number): string => {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'api_error';
};

/** A fault in OpenAI's shape; `code` is our own where OpenAI has none, so that no reason is lost. */
export const openAiError = ({ error, status, title, fields }: HttpFault): OpenAiErrorBody => {
  const first = fields[0];
  const parts = [
    error.detail ?? title,
    ...fields.map(({ path, message }) => `${path}: ${message}`),
    ...(error.next === undefined ? [] : [error.next]),
  ];
  const sentences = parts.map((part) => (/[.!?]$/.test(part) ? part : `${part}.`));
  const { type, code } = SPECIAL[error.code] ?? { type: typeOf(status), code: error.code };
  return { error: { message: sentences.join(' '), type, param: first?.path ?? null, code } };
};
