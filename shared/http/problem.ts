/** Problem documents, RFC 9457: how every error leaves our own HTTP routes. The only translator beside `openai-errors.ts`. */
import { z } from 'zod';
import { isErrorCode, QflError } from '../errors.ts';

export const PROBLEM_CONTENT_TYPE = 'application/problem+json';

const FieldError = z.object({ path: z.string(), message: z.string() });
export type FieldError = z.infer<typeof FieldError>;

export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  /** Our stable code; `type` is `urn:qfl:error:` and the code. */
  code: z.string(),
  detail: z.string().optional(),
  /** What to do next. */
  next: z.string().optional(),
  facts: z.record(z.string(), z.unknown()).optional(),
  /** Which parts of the request are wrong. */
  errors: z.array(FieldError).optional(),
  requestId: z.string().optional(),
});
export type Problem = z.infer<typeof Problem>;

/** An error as HTTP sees it: usually the catalogue's, sometimes with a status that only HTTP knows (405, 415). */
export interface HttpFault {
  readonly error: QflError;
  readonly status: number;
  readonly title: string;
  readonly fields: readonly FieldError[];
}

export const faultOf = (error: QflError, rest: Partial<Omit<HttpFault, 'error'>> = {}): HttpFault => ({
  error,
  status: error.status,
  title: error.title,
  fields: [],
  ...rest,
});

export const problemOf = ({ error, status, title, fields }: HttpFault, requestId?: string): Problem => ({
  type: `urn:qfl:error:${error.code}`,
  title,
  status,
  code: error.code,
  ...(error.detail === undefined ? {} : { detail: error.detail }),
  ...(error.next === undefined ? {} : { next: error.next }),
  ...(error.facts === undefined ? {} : { facts: error.facts }),
  ...(fields.length === 0 ? {} : { errors: [...fields] }),
  ...(requestId === undefined ? {} : { requestId }),
});

/** A problem document received from one of our programs as the error it was; anything else as `undefined`. */
export const errorOfProblem = (body: unknown): QflError | undefined => {
  const parsed = Problem.safeParse(body);
  if (!parsed.success || !isErrorCode(parsed.data.code)) return undefined;
  const { code, detail, next, facts, errors = [], title } = parsed.data;
  const fields = errors.map(({ path, message }) => `${path}: ${message}`).join('; ');
  const text = [detail, fields].filter((part) => part !== undefined && part !== '').join(' ');
  return new QflError(code, {
    detail: text === '' ? title : text,
    ...(next === undefined ? {} : { next }),
    ...(facts === undefined ? {} : { facts }),
  });
};
