/** Conditional requests (RFC 9110, section 13): a version as an ETag, and changes that apply only to the version that was read. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { QflError } from '../errors.ts';

/** @param state what else the answer shows and no version counts, in lower-case letters: with another one it is another answer */
export const etagOf = (version: number, state?: string): string =>
  `"${version}${state === undefined ? '' : `-${state}`}"`;

export const sendEtag = (reply: FastifyReply, version: number, state?: string): void =>
  void reply.header('etag', etagOf(version, state));

/** True when the caller has this version already: answer 304. */
export const isUnchanged = (request: FastifyRequest, version: number, state?: string): boolean =>
  request.headers['if-none-match']?.split(/\s*,\s*/).includes(etagOf(version, state)) === true;

/**
 * The version of `If-Match`; undefined when the caller does not care. A change is of the version: what else the answer showed does not hinder it.
 * @throws QflError `invalid_request` for something that is no version
 */
export const wantedVersion = (request: FastifyRequest): number | undefined => {
  const given = request.headers['if-match'];
  if (given === undefined || given === '*') return undefined;
  const [, version] = /^"(\d{1,15})(?:-[a-z]+)?"$/.exec(given) ?? [];
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
