import type { z } from 'zod';
import type { AccountShown, SessionShown } from '../../shared/wire/accounts.ts';
import type { StoredAccount } from '../access/accounts.ts';
import type { Session } from '../access/sessions.ts';
import type { Access } from '../access/start.ts';

/** An account as its administrators see it: no hash, no secret. */
export const showAccount = (account: StoredAccount, { lockout }: Pick<Access, 'lockout'>): AccountShown => ({
  id: account.id,
  username: account.username,
  role: account.role,
  department: account.department,
  dataClass: account.dataClass,
  status: account.status,
  secondFactor: account.totp?.confirmed === true,
  provider: account.external?.provider ?? null,
  locked: lockout.isAccountLocked(account.username),
  createdMs: account.createdMs,
  lastSignInMs: account.lastSignInMs,
  version: account.version,
});

export const showSession = (
  { id, account, method, createdMs, usedMs, expiresMs }: Session,
  { accounts }: Pick<Access, 'accounts'>,
): z.infer<typeof SessionShown> => ({
  id,
  account,
  username: accounts.get(account).username,
  method,
  createdMs,
  usedMs,
  expiresMs,
});
