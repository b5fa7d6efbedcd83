/**
 * The text that a hospital gets to join: `qfljoin1.` and base64url of token id(16) ‖ secret(32) ‖ fingerprint of the coordinator's
 * identity(32) ‖ site name. It pins whom the agent will talk to, so a swapped address leads nowhere.
 */
import { concat, fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';

const PREFIX = 'qfljoin1.';
const TOKEN_ID_END = 16;
const SECRET_END = TOKEN_ID_END + 32;
const FINGERPRINT_END = SECRET_END + 32;

export interface JoinToken {
  readonly site: SiteId;
  readonly tokenId: Uint8Array;
  readonly secret: Uint8Array;
  readonly fingerprint: Uint8Array;
}

export const encodeJoinToken = (token: JoinToken): string =>
  PREFIX + toBase64Url(concat(token.tokenId, token.secret, token.fingerprint, utf8(token.site)));

/** @throws QflError `token_refused` */
export const parseJoinToken = (text: string): JoinToken => {
  const refuse = (): never => {
    throw new QflError('token_refused', {
      detail: 'this is not a join token',
      next: 'Paste the whole text that "qfl site invite" printed.',
    });
  };
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) return refuse();
  const bytes = fromBase64Url(trimmed.slice(PREFIX.length));
  const site = SiteId.safeParse(fromUtf8(bytes.subarray(FINGERPRINT_END)));
  if (!site.success) return refuse();
  return {
    site: site.data,
    tokenId: bytes.subarray(0, TOKEN_ID_END),
    secret: bytes.subarray(TOKEN_ID_END, SECRET_END),
    fingerprint: bytes.subarray(SECRET_END, FINGERPRINT_END),
  };
};
