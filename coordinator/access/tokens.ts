/**
 * Access tokens: JSON Web Tokens (RFC 7519, RFC 8725) that live an hour. What a token says is only who and which session; what that person may do
 * is asked of the account at every request, so a changed role or a revoked session counts at once.
 */
import { compactVerify, errors, SignJWT } from 'jose';
import type { JWK, KeyObject } from 'jose';
import { z } from 'zod';
import { fromUtf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { SECOND_MS } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { AccountId, SessionId } from '../../shared/ids.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { TokenAlgorithm, TokenKeys } from './token-keys.ts';

export const AUDIENCE = 'qfl-coordinator';
const TYPE = 'at+jwt';
/** Our own clock signs and checks: a leap of it is all there is to allow for. */
const TOLERANCE_S = 5;

/** Just what `issue` writes: a claim that nobody here knows could mean something that is not looked at. */
const Claims = z.strictObject({
  sub: AccountId,
  sid: SessionId,
  jti: z.string(),
  iss: z.string(),
  aud: z.string(),
  /** Seconds. */
  iat: z.int(),
  exp: z.int(),
});
export type AccessClaims = Pick<z.infer<typeof Claims>, 'sub' | 'sid' | 'jti'>;

export interface AccessTokens {
  issue(
    account: AccountId,
    session: SessionId,
  ): Promise<{ readonly token: string; readonly expiresMs: number }>;
  /** @throws QflError `unauthenticated`, in the same words whatever is wrong */
  verify(token: string): Promise<AccessClaims>;
}

export interface AccessTokensOptions {
  readonly keys: TokenKeys;
  readonly issuer: string;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  readonly lifeMs: () => number;
}

const notAccepted = (cause: unknown): QflError =>
  new QflError('unauthenticated', {
    detail: 'The token is not accepted.',
    next: 'Sign in again: "qfl login".',
    cause,
  });

const assertClaim = (holds: boolean, claim: string): void => {
  if (!holds) throw new errors.JWTInvalid(`the claim ${claim} does not hold`);
};

export const looksLikeToken = (text: string): boolean => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);

export const createAccessTokens = (options: AccessTokensOptions): AccessTokens => {
  const { keys, issuer, clock, random, lifeMs } = options;
  return {
    async issue(account, session) {
      const key = await keys.signing();
      const nowS = Math.floor(clock.nowMs() / SECOND_MS);
      const expiresS = nowS + Math.floor(lifeMs() / SECOND_MS);
      const token = await new SignJWT({ sid: session })
        .setProtectedHeader({ alg: key.algorithm, kid: key.kid, typ: TYPE })
        .setSubject(account)
        .setIssuer(issuer)
        .setAudience(AUDIENCE)
        .setJti(randomHex(random, 16))
        .setIssuedAt(nowS)
        .setExpirationTime(expiresS)
        .sign(key.privateKey);
      return { token, expiresMs: expiresS * SECOND_MS };
    },
    async verify(token) {
      const { payload, type } = await verifyCompact(token, (kid) => keys.find(kid));
      try {
        const claims = Claims.parse(JSON.parse(fromUtf8(payload)));
        const nowS = clock.nowMs() / SECOND_MS;
        assertClaim(type === TYPE, 'typ');
        assertClaim(claims.iss === issuer, 'iss');
        assertClaim(claims.aud === AUDIENCE, 'aud');
        assertClaim(nowS < claims.exp + TOLERANCE_S, 'exp');
        return claims;
      } catch (error) {
        throw notAccepted(error);
      }
    },
  };
};

export interface VerifyingKey {
  readonly publicKey: KeyObject | JWK;
  readonly algorithm: TokenAlgorithm;
}

/**
 * A compact JWS (RFC 7515), valid under the key of its `kid` and in the one algorithm of that key: what its header asks for does not choose how it is
 * checked. Every token goes through here, and so do the published vectors.
 * @throws QflError `unauthenticated`, in the same words whatever is wrong
 */
export const verifyCompact = async (
  jws: string,
  find: (kid: string) => VerifyingKey | undefined,
): Promise<{ readonly payload: Uint8Array; readonly type: string | undefined }> => {
  try {
    const { payload, protectedHeader } = await compactVerify(
      jws,
      ({ kid = '', alg }) => {
        const key = find(kid);
        if (key === undefined || key.algorithm !== alg) throw new errors.JWKSNoMatchingKey();
        return key.publicKey;
      },
      { algorithms: ['RS256', 'EdDSA'] },
    );
    return { payload, type: protectedHeader.typ };
  } catch (error) {
    throw notAccepted(error);
  }
};
