/**
 * The text that a hospital gets to join: `qfljoin1.` and base64url of token id(16) ‖ secret(32) ‖ fingerprint of the coordinator's
 * identity(32) ‖ fingerprint of its self-signed TLS certificate (32, zeros without one) ‖ site name. It pins whom the agent will
 * talk to, so a swapped address leads nowhere.
 */
import { concat, fromBase64Url, fromHex, fromUtf8, toBase64Url, toHex, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';

const PREFIX = 'qfljoin1.';
const TOKEN_ID_END = 16;
const SECRET_END = TOKEN_ID_END + 32;
const FINGERPRINT_END = SECRET_END + 32;
const TLS_END = FINGERPRINT_END + 32;

export interface JoinToken {
  readonly site: SiteId;
  readonly tokenId: Uint8Array;
  readonly secret: Uint8Array;
  readonly fingerprint: Uint8Array;
  /** SHA-256 of the coordinator's self-signed certificate, hex. */
  readonly tlsFingerprint: string | undefined;
}

const NO_TLS = '0'.repeat(64);

export const encodeJoinToken = (token: JoinToken): string =>
  PREFIX +
  toBase64Url(
    concat(
      token.tokenId,
      token.secret,
      token.fingerprint,
      fromHex(token.tlsFingerprint ?? NO_TLS),
      utf8(token.site),
    ),
  );

const refuse = (): never => {
  throw new QflError('token_refused', {
    detail: 'this is not a join token',
    next: 'Paste the whole text that "qfl site invite" printed.',
  });
};

/** @throws QflError `token_refused` */
export const parseJoinToken = (text: string): JoinToken => {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) return refuse();
  const bytes = fromBase64Url(trimmed.slice(PREFIX.length));
  const site = SiteId.safeParse(fromUtf8(bytes.subarray(TLS_END)));
  if (!site.success) return refuse();
  const tls = toHex(bytes.subarray(FINGERPRINT_END, TLS_END));
  return {
    site: site.data,
    tokenId: bytes.subarray(0, TOKEN_ID_END),
    secret: bytes.subarray(TOKEN_ID_END, SECRET_END),
    fingerprint: bytes.subarray(SECRET_END, FINGERPRINT_END),
    tlsFingerprint: tls === NO_TLS ? undefined : tls,
  };
};
