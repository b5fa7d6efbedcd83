/** Conditional requests (RFC 9110, section 13): a version as an ETag, and changes that apply only to the version that was read. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { QflError } from '../errors.ts';

export const etagOf = (version: number): string => `"${version}"`;

export const sendEtag = (reply: FastifyReply, version: number): void =>
  void reply.header('etag', etagOf(version));

/** True when the caller has this version already: answer 304. */
export const isUnchanged = (request: FastifyRequest, version: number): boolean =>
  request.headers['if-none-match']?.split(/\s*,\s*/).includes(etagOf(version)) === true;

/**
 * The version of `If-Match`; undefined when the caller does not care.
 * @throws QflError `invalid_request` for something that is no version
 */
export const wantedVersion = (request: FastifyRequest): number | undefined => {
  const given = request.headers['if-match'];
  if (given === undefined || given === '*') return undefined;
  const [, version] = /^"(\d{1,15})"$/.exec(given) ?? [];
  if (version === undefined)
    throw new QflError('invalid_request', {
      detail: 'If-Match holds one ETag, as an answer had it',
      next: 'Send it with its quotation marks, such as "3".',
    });
  return Number(version);
};

/** Ends the answer with 304 and no body, whatever the route's schema says of its body. */
export const notModified = (reply: FastifyReply): never => {
  void reply.code(304);
  return reply.send() as never;
};
