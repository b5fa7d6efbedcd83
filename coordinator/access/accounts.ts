/**
 * People who sign in. An account is known by a random id; its name is personal, so it is kept only here, in the encrypted store, and the audit log
 * has a pseudonym instead. Nobody is there by default: the first administrator comes with the setup code.
 */
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { RoleName } from '../../shared/http/role-name.ts';
import { AccountId, DepartmentId } from '../../shared/ids.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import { Username } from '../../shared/wire/accounts.ts';
import { DataClass } from '../../shared/wire/envelope.ts';
import { createSerial } from '../../shared/serial.ts';

export const StoredAccount = z.strictObject({
  id: AccountId,
  username: Username,
  role: RoleName,
  department: DepartmentId,
  dataClass: DataClass,
  status: z.enum(['active', 'disabled']),
  /** Null: signs in through an identity provider only. */
  passwordHash: z.string().nullable(),
  passwordChangedMs: z.int().nullable(),
  /** Made by an administrator and shown once: its owner sets another before anything else. */
  passwordIsOneTime: z.boolean(),
  /** Base32; set but not `confirmed` until a code of it was shown once. */
  totp: z
    .strictObject({
      secret: z.string(),
      confirmed: z.boolean(),
      /** The newest time step that was used: a code works once. */
      lastStep: z.int(),
      /** SHA-256 of each unused recovery code, hex. */
      recovery: z.array(z.string()),
    })
    .nullable(),
  /** Who it is at an identity provider. */
  external: z.strictObject({ provider: z.string(), issuer: z.string(), subject: z.string() }).nullable(),
  createdMs: z.int(),
  /**
   * When somebody else last had it in hand: made it, reset it, opened it again or gave it another role. Whoever did that could be its owner for a while, so a
   * decision of two people does not count it as the second one at once. Kept from before this was noted: 0.
   */
  trustedSinceMs: z.int().nonnegative().default(0),
  lastSignInMs: z.int().nullable(),
  /** Grows with every change; an ETag. */
  version: z.int().positive(),
});
export type StoredAccount = z.infer<typeof StoredAccount>;

export interface NewAccount {
  readonly username: string;
  readonly role: string;
  readonly department: string;
  readonly dataClass: DataClass;
  readonly passwordHash: string | null;
  readonly passwordIsOneTime?: boolean;
  readonly external?: StoredAccount['external'];
}

export interface Accounts {
  /**
   * @param alongside what has to be written in the same step, or not at all
   * @throws QflError `conflict` when the name is taken, `too_large` when there are too many, `invalid_request`
   */
  create(account: NewAccount, alongside?: readonly StoreOperation[]): Promise<StoredAccount>;
  /** @throws QflError `not_found` */
  get(id: string): StoredAccount;
  byName(username: string): StoredAccount | undefined;
  byExternal(issuer: string, subject: string): StoredAccount | undefined;
  /** By name. */
  list(): readonly StoredAccount[];
  /**
   * Changes what `change` returns, as one durable step.
   * @param version when given, only if it is still this one
   * @throws QflError `conflict`, `not_found`
   */
  update(
    id: string,
    change: (account: StoredAccount) => Partial<Omit<StoredAccount, 'id' | 'version'>>,
    version?: number,
  ): Promise<StoredAccount>;
  readonly size: number;
}

export const ACCOUNTS_MAX = 10_000;
const PREFIX = 'account/';

export const normalName = (username: string): string => username.normalize('NFKC').trim().toLowerCase();

/** Reads every account into memory: each request asks for one. */
export const openAccounts = async (store: Store, clock: Clock, random: RandomBytes): Promise<Accounts> => {
  const records = createRecordStore(store, PREFIX, StoredAccount);
  const known = new Map<string, StoredAccount>();
  const names = new Map<string, string>();
  for await (const account of records.list()) {
    known.set(account.id, account);
    names.set(account.username, account.id);
  }
  /** One write after another: a version that was compared is still that one when it is written. */
  const inTurn = createSerial();
  const get = (id: string): StoredAccount => {
    const account = known.get(id);
    if (account === undefined)
      throw new QflError('not_found', { detail: 'There is no account with that id.' });
    return account;
  };
  const keep = async (
    account: StoredAccount,
    alongside: readonly StoreOperation[] = [],
  ): Promise<StoredAccount> => {
    await store.write([records.putting(account.id, account), ...alongside]);
    known.set(account.id, account);
    names.set(account.username, account.id);
    return account;
  };
  return {
    get,
    byName: (username) => known.get(names.get(normalName(username)) ?? ''),
    byExternal: (issuer, subject) =>
      [...known.values()].find(({ external }) => external?.issuer === issuer && external.subject === subject),
    list: () => [...known.values()].toSorted((a, b) => (a.username < b.username ? -1 : 1)),
    create: (account, alongside) =>
      inTurn(async () => {
        const username = normalName(account.username);
        if (names.has(username))
          throw new QflError('conflict', { detail: 'there is an account of that name already' });
        if (known.size >= ACCOUNTS_MAX)
          throw new QflError('too_large', {
            detail: `there are ${ACCOUNTS_MAX} accounts, the most there may be`,
          });
        const nowMs = Math.trunc(clock.nowMs());
        const parsed = StoredAccount.safeParse({
          ...account,
          id: randomHex(random, 8),
          username,
          status: 'active',
          external: account.external ?? null,
          passwordChangedMs: account.passwordHash === null ? null : nowMs,
          passwordIsOneTime: account.passwordIsOneTime ?? false,
          totp: null,
          createdMs: nowMs,
          trustedSinceMs: nowMs,
          lastSignInMs: null,
          version: 1,
        });
        if (!parsed.success)
          throw new QflError('invalid_request', {
            detail: parsed.error.issues
              .map(({ path, message }) => `${path.join('.')}: ${message}`)
              .join('; '),
          });
        return keep(parsed.data, alongside);
      }),
    update: (id, change, version) =>
      inTurn(async () => {
        const account = get(id);
        if (version !== undefined && version !== account.version)
          throw new QflError('conflict', {
            detail: 'the account was changed meanwhile',
            next: 'Read it again and repeat the change.',
          });
        return keep({ ...account, ...change(account), id: account.id, version: account.version + 1 });
      }),
    get size() {
      return known.size;
    },
  };
};
