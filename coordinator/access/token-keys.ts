/**
 * The keys that sign access tokens: each for one algorithm only (RFC 8725, section 3.1), kept in the encrypted store, renewed before they are old.
 * A key that was replaced still verifies for as long as a token of it can live.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { DAY_MS } from '../../shared/clock.ts';
import { assert } from '../../shared/errors.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';

export const TokenAlgorithm = z.enum(['RS256', 'EdDSA']);
export type TokenAlgorithm = z.infer<typeof TokenAlgorithm>;

const StoredKey = z.strictObject({
  kid: z.string().regex(/^[0-9a-f]{16}$/),
  algorithm: TokenAlgorithm,
  /** PKCS #8, PEM. */
  privateKey: z.string(),
  createdMs: z.int(),
  /** When a newer one took its place; null while it signs. */
  retiredMs: z.int().nullable(),
});
type StoredKey = z.infer<typeof StoredKey>;

export interface TokenKey {
  readonly kid: string;
  readonly algorithm: TokenAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export interface TokenKeys {
  /** The key that signs now; a new one when the old one is due. */
  signing(): Promise<TokenKey>;
  /** Of a `kid`, while its tokens may still be valid. */
  find(kid: string): TokenKey | undefined;
  /** Public keys as a JWK set (RFC 7517). */
  jwks(): { readonly keys: readonly Record<string, unknown>[] };
  /** A new signing key at once; tokens of the old one are refused from now on when `forget`. */
  rotate(forget?: boolean): Promise<TokenKey>;
}

export interface TokenKeysOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  readonly algorithm: () => TokenAlgorithm;
  readonly lifeDays: () => number;
  /** How long a token of a retired key may still be shown. */
  readonly tokenLifeMs: () => number;
}

const RSA_BITS = 2_048;
/** Renewed at five sixths of their life: day 75 of 90. */
const RENEWED_AT = 5 / 6;
const generate = promisify(generateKeyPair);

const makePair = async (algorithm: TokenAlgorithm): Promise<string> => {
  const privateKeyEncoding = { type: 'pkcs8', format: 'pem' } as const;
  const publicKeyEncoding = { type: 'spki', format: 'pem' } as const;
  const { privateKey } =
    algorithm === 'RS256'
      ? await generate('rsa', { modulusLength: RSA_BITS, privateKeyEncoding, publicKeyEncoding })
      : await generate('ed25519', { privateKeyEncoding, publicKeyEncoding });
  return privateKey;
};

const opened = ({ kid, algorithm, privateKey }: StoredKey): TokenKey => {
  const key = createPrivateKey(privateKey);
  return { kid, algorithm, privateKey: key, publicKey: createPublicKey(key) };
};

export const openTokenKeys = async (options: TokenKeysOptions): Promise<TokenKeys> => {
  const { store, clock, random, algorithm, lifeDays, tokenLifeMs } = options;
  const records = createRecordStore(store, 'tokenkey/', StoredKey);
  const stored = new Map<string, StoredKey>();
  const keys = new Map<string, TokenKey>();
  for await (const record of records.list()) {
    stored.set(record.kid, record);
    keys.set(record.kid, opened(record));
  }
  const isUsable = ({ retiredMs }: StoredKey): boolean =>
    retiredMs === null || clock.nowMs() - retiredMs <= tokenLifeMs();
  const current = (): StoredKey | undefined =>
    [...stored.values()]
      .filter((key) => key.retiredMs === null && key.algorithm === algorithm())
      .toSorted((a, b) => b.createdMs - a.createdMs)[0];
  let making: Promise<TokenKey> | undefined;
  const make = async (forget: boolean): Promise<TokenKey> => {
    const nowMs = Math.trunc(clock.nowMs());
    const made: StoredKey = {
      kid: randomHex(random, 8),
      algorithm: algorithm(),
      privateKey: await makePair(algorithm()),
      createdMs: nowMs,
      retiredMs: null,
    };
    const gone = [...stored.values()].filter((key) => forget || !isUsable(key));
    const retired = [...stored.values()]
      .filter((key) => !gone.includes(key))
      .map((key) => ({ ...key, retiredMs: key.retiredMs ?? nowMs }));
    await store.write([
      records.putting(made.kid, made),
      ...retired.map((key) => records.putting(key.kid, key)),
      ...gone.map(({ kid }) => records.deleting(kid)),
    ]);
    for (const { kid } of gone) {
      stored.delete(kid);
      keys.delete(kid);
    }
    for (const key of [made, ...retired]) stored.set(key.kid, key);
    const key = opened(made);
    keys.set(made.kid, key);
    return key;
  };
  const rotate = async (forget = false): Promise<TokenKey> => {
    await making?.catch(() => undefined);
    making = make(forget);
    try {
      return await making;
    } finally {
      making = undefined;
    }
  };
  const isDue = ({ createdMs }: StoredKey): boolean =>
    clock.nowMs() - createdMs >= lifeDays() * DAY_MS * RENEWED_AT;
  return {
    async signing() {
      if (making !== undefined) return making;
      const key = current();
      if (key === undefined || isDue(key)) return rotate();
      const found = keys.get(key.kid);
      assert(found !== undefined, 'a stored key is open');
      return found;
    },
    find(kid) {
      const record = stored.get(kid);
      return record !== undefined && isUsable(record) ? keys.get(kid) : undefined;
    },
    jwks: () => ({
      keys: [...stored.values()].filter(isUsable).map(({ kid, algorithm: alg }) => ({
        ...keys.get(kid)?.publicKey.export({ format: 'jwk' }),
        kid,
        alg,
        use: 'sig',
      })),
    }),
    rotate,
  };
};
