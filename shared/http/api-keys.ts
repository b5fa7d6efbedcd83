/**
 * API keys: `qfl_<key id>_<secret>`. The store holds SHA-256 of the secret and never the secret. A plain hash is enough, where
 * a password would need a slow one: the secret is 32 random bytes, so guessing is hopeless at any speed, and every request
 * pays for the check.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import { equalConstantTime, fromHex, fromUtf8, toBase64Url, toHex, utf8 } from '../bytes.ts';
import { isOperation, type Operation } from '../access/operations.ts';
import type { Authenticator, Principal } from '../access/principal.ts';
import type { Clock } from '../clock.ts';
import { QflError } from '../errors.ts';
import { DepartmentId, KeyId } from '../ids.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import { RoleName } from './role-name.ts';
import type { Store } from '../store/port.ts';
import { DataClass } from '../wire/envelope.ts';

const SECRET_BYTES = 32;
/** Records kept in memory. */
const KNOWN_KEYS_MAX = 10_000;
const KEY_TEXT = /^qfl_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;

const Scope = z.custom<Operation>((name) => typeof name === 'string' && isOperation(name), {
  error: 'a scope is the name of an operation, such as "sites.read"',
});

const Stored = z.strictObject({
  id: KeyId,
  /** SHA-256 of the secret's text, hex. */
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
  name: z.string().min(1).max(100),
  role: RoleName,
  department: DepartmentId,
  /** The highest class of data this key may send. */
  dataClass: DataClass,
  createdMs: z.int().nonnegative(),
  expiresMs: z.int().nonnegative().nullable(),
  revoked: z.boolean(),
  /** Operations to which the key is limited; null: whatever its role may. */
  scopes: z.array(Scope).min(1).max(100).nullable().default(null),
});
type Stored = z.infer<typeof Stored>;

/** A key as lists show it. */
export type ApiKeyRecord = Omit<Stored, 'secretHash'>;

export interface MintRequest {
  readonly name: string;
  readonly role: string;
  readonly department: string;
  readonly dataClass: DataClass;
  readonly expiresMs?: number;
  readonly scopes?: readonly string[] | null;
}

export interface ApiKeys {
  /** The only moment at which the whole key exists here: show it once. @throws QflError `invalid_request` */
  mint(request: MintRequest): Promise<{ readonly key: string; readonly record: ApiKeyRecord }>;
  /** @throws QflError `unauthenticated`: same words and same work whether malformed, unknown, wrong, expired or revoked */
  verify(key: string): Promise<ApiKeyRecord>;
  /** @throws QflError `not_found` */
  get(id: string): Promise<ApiKeyRecord>;
  /** @throws QflError `not_found` */
  revoke(id: string): Promise<ApiKeyRecord>;
  list(): Promise<readonly ApiKeyRecord[]>;
}

export interface ApiKeysOptions {
  readonly store: Store;
  /** Where in the store, ending in `/`. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

const hashOf = (secret: string): Uint8Array => hash('sha256', utf8(secret), 'buffer');

/** Stands in for a record that is not there, so that an unknown id costs what a known one costs. */
const NOBODY = {
  id: '0'.repeat(16),
  secretHash: 'f'.repeat(64),
};

const recordOf = (stored: Stored): ApiKeyRecord => {
  const { id, name, role, department, dataClass, createdMs, expiresMs, revoked, scopes } = stored;
  return { id, name, role, department, dataClass, createdMs, expiresMs, revoked, scopes };
};

export const createApiKeys = ({ store, prefix, clock, random }: ApiKeysOptions): ApiKeys => {
  // Every request verifies a key: what was read once is kept until it is written. One process owns the store, so nobody else writes.
  const known = new Map<string, Stored>();
  let writes = 0;
  const read = async (id: string): Promise<Stored | undefined> => {
    const kept = known.get(id);
    if (kept !== undefined) return kept;
    const writesBefore = writes;
    const bytes = await store.get(prefix + id);
    if (bytes === undefined) return undefined;
    const stored = Stored.parse(JSON.parse(fromUtf8(bytes)));
    // A read that a write overtook may hold the old record: a revoked key must not live on in here.
    if (writes !== writesBefore) return stored;
    if (known.size >= KNOWN_KEYS_MAX) known.clear();
    known.set(id, stored);
    return stored;
  };
  const write = async (stored: Stored): Promise<void> => {
    writes += 1;
    try {
      await store.write([{ type: 'put', key: prefix + stored.id, value: utf8(JSON.stringify(stored)) }]);
    } finally {
      writes += 1;
      known.delete(stored.id);
    }
  };

  const mint: ApiKeys['mint'] = async (request) => {
    const secret = toBase64Url(random(SECRET_BYTES));
    const id = randomHex(random, 8);
    const stored = Stored.safeParse({
      ...request,
      id,
      secretHash: toHex(hashOf(secret)),
      createdMs: Math.trunc(clock.nowMs()),
      expiresMs: request.expiresMs ?? null,
      revoked: false,
      scopes: request.scopes ?? null,
    });
    if (!stored.success) {
      const faults = stored.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
      throw new QflError('invalid_request', { detail: faults.join('; ') });
    }
    await write(stored.data);
    return { key: `qfl_${id}_${secret}`, record: recordOf(stored.data) };
  };

  const verify: ApiKeys['verify'] = async (key) => {
    const [, id = NOBODY.id, secret = ''] = KEY_TEXT.exec(key) ?? [];
    const stored = await read(id);
    const matches = equalConstantTime(hashOf(secret), fromHex(stored?.secretHash ?? NOBODY.secretHash));
    const current =
      stored !== undefined &&
      !stored.revoked &&
      (stored.expiresMs === null || clock.nowMs() < stored.expiresMs);
    if (matches && current) return recordOf(stored);
    throw new QflError('unauthenticated', {
      detail: 'The API key is not accepted.',
      next: 'Send "Authorization: Bearer qfl_…" with a key of this program that is neither expired nor revoked.',
    });
  };

  const find = async (id: string): Promise<Stored> => {
    const stored = KeyId.safeParse(id).success ? await read(id) : undefined;
    if (stored === undefined)
      throw new QflError('not_found', { detail: 'There is no API key with that id.' });
    return stored;
  };

  const revoke: ApiKeys['revoke'] = async (id) => {
    const revoked = { ...(await find(id)), revoked: true };
    await write(revoked);
    return recordOf(revoked);
  };

  const list = async (): Promise<readonly ApiKeyRecord[]> => {
    const records: ApiKeyRecord[] = [];
    for await (const { value } of store.list({ prefix })) {
      records.push(recordOf(Stored.parse(JSON.parse(fromUtf8(value)))));
    }
    return records;
  };

  return { mint, verify, get: async (id) => recordOf(await find(id)), revoke, list };
};

/** Keys as a way to say who one is. */
export const keyAuthenticator = (keys: Pick<ApiKeys, 'verify'>): Authenticator => ({
  async verify(token): Promise<Principal> {
    const { id, name, role, department, dataClass, scopes } = await keys.verify(token);
    return {
      kind: 'key',
      id,
      name,
      role,
      department,
      dataClass,
      scopes,
      sessionId: null,
      isRestricted: false,
    };
  },
});
