/**
 * Access tokens: JSON Web Tokens (RFC 7519, RFC 8725) that live an hour. What a token says is only who and which session; what that person may do
 * is asked of the account at every request, so a changed role or a revoked session counts at once.
 */
import { compactVerify, errors, jwtVerify, SignJWT } from 'jose';
import type { JWK, KeyObject } from 'jose';
import { z } from 'zod';
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

export const AccessClaims = z.looseObject({ sub: AccountId, sid: SessionId, jti: z.string() });
export type AccessClaims = z.infer<typeof AccessClaims>;

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
      try {
        const { payload } = await jwtVerify(
          token,
          ({ kid = '', alg }) => {
            const key = keys.find(kid);
            // One algorithm per key: what the token's header asks for does not choose how it is checked.
            if (key === undefined || key.algorithm !== alg) throw new errors.JWKSNoMatchingKey();
            return key.publicKey;
          },
          {
            algorithms: ['RS256', 'EdDSA'],
            issuer,
            audience: AUDIENCE,
            typ: TYPE,
            clockTolerance: TOLERANCE_S,
            requiredClaims: ['sub', 'sid', 'jti', 'exp', 'iat'],
            currentDate: new Date(clock.nowMs()),
          },
        );
        return AccessClaims.parse(payload);
      } catch (error) {
        throw notAccepted(error);
      }
    },
  };
};

/**
 * The same check for any compact JWS: valid under `key` and in this algorithm only.
 * @returns the payload
 * @throws QflError `unauthenticated`
 */
export const verifyCompact = async (
  jws: string,
  key: KeyObject | JWK,
  algorithm: TokenAlgorithm,
): Promise<Uint8Array> => {
  try {
    return (await compactVerify(jws, key, { algorithms: [algorithm] })).payload;
  } catch (error) {
    throw notAccepted(error);
  }
};
