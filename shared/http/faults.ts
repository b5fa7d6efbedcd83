/** Whatever a route threw, as the fault that leaves: our own errors as they are, the framework's by name, the rest hidden. */
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { QflError } from '../errors.ts';
import { faultOf, type FieldError, type HttpFault } from './problem.ts';

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

const statusOf = (error: unknown): number =>
  error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : 500;

const PLACES: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'headers',
};

const fieldsOf = (error: unknown): readonly FieldError[] => {
  if (!hasZodFastifySchemaValidationErrors(error)) return [];
  const place = PLACES[error.validationContext ?? ''] ?? 'request';
  return error.validation.map(({ instancePath, message }) => ({
    path: [place, ...instancePath.split('/').filter((part) => part !== '')].join('.'),
    message: message ?? 'is not valid',
  }));
};

const UNSUPPORTED_MEDIA = 415;

export const faultFrom = (error: unknown): HttpFault => {
  if (error instanceof QflError) return faultOf(error);
  const fields = fieldsOf(error);
  if (fields.length > 0) {
    const detail = `${fields.length === 1 ? 'One part' : `${fields.length} parts`} of the request cannot be accepted.`;
    return faultOf(new QflError('invalid_request', { detail }), { fields });
  }
  if (codeOf(error) === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return faultOf(new QflError('too_large', { next: 'Send less in one request.' }));
  }
  const status = statusOf(error);
  if (status === UNSUPPORTED_MEDIA) {
    const detail = 'The content type is not understood here.';
    return faultOf(new QflError('invalid_request', { detail, next: 'Send application/json.' }), { status });
  }
  // What the framework refuses before a route runs: malformed JSON, a bad URL, headers that do not add up.
  if (status >= 400 && status < 500) {
    return faultOf(
      new QflError('invalid_request', { detail: 'The request could not be read.', cause: error }),
    );
  }
  return faultOf(new QflError('internal', { cause: error }));
};
