/** What the coordinator's API says about people, sessions, roles and decisions that need two. */
import { z } from 'zod';
import { OPERATION_NAMES } from '../access/operations.ts';
import { RoleName } from '../http/role-name.ts';
import { AccountId, DepartmentId, KeyId, SessionId } from '../ids.ts';
import { DataClass } from './envelope.ts';

export const Username = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^[a-z0-9][a-z0-9._@+-]{1,63}$/, 'an account name is 2–64 characters of a–z, 0–9 and "._@+-"');

const passwordText = z.string().min(1).max(1_024);
const codeText = z.string().min(6).max(32);
const OperationName = z.enum(OPERATION_NAMES as [string, ...string[]]);

export const AccountShown = z.strictObject({
  id: AccountId,
  username: Username,
  role: RoleName,
  department: DepartmentId,
  dataClass: DataClass,
  status: z.enum(['active', 'disabled']),
  secondFactor: z.boolean(),
  /** Name of the identity provider; null for a password. */
  provider: z.string().nullable(),
  locked: z.boolean(),
  createdMs: z.int(),
  lastSignInMs: z.int().nullable(),
  version: z.int(),
});
export type AccountShown = z.infer<typeof AccountShown>;

export const AccountPage = z.strictObject({ accounts: z.array(AccountShown), next: z.string().nullable() });
export const AccountListQuery = z.strictObject({
  role: RoleName.optional(),
  status: z.enum(['active', 'disabled']).optional(),
  after: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(500).default(100),
});
export const AccountRequest = z.strictObject({
  username: Username,
  role: RoleName,
  department: DepartmentId.default('operations' as DepartmentId),
  dataClass: DataClass.optional(),
  /** Left out: a one-time password is made and shown once. */
  password: passwordText.optional(),
});
export const AccountMade = z.strictObject({
  account: AccountShown,
  /** Shown once; to be changed at the first sign-in. */
  oneTimePassword: z.string().nullable(),
});
export const AccountChange = z.strictObject({
  role: RoleName.optional(),
  department: DepartmentId.optional(),
  dataClass: DataClass.optional(),
  status: z.enum(['active', 'disabled']).optional(),
});

export const SetupRequest = z.strictObject({
  code: z.string().min(1).max(100),
  username: Username,
  password: passwordText,
});
export const SignInRequest = z.strictObject({
  username: z.string().min(1).max(200),
  password: passwordText,
  /** Of the second factor, or an unused recovery code. */
  code: codeText.optional(),
});
/** What a sign-in or a refresh gives. */
export const Tokens = z.strictObject({
  tokenType: z.literal('Bearer'),
  accessToken: z.string(),
  accessExpiresMs: z.int(),
  refreshToken: z.string(),
  refreshExpiresMs: z.int(),
  session: SessionId,
  /** True until the second factor that the role needs is set up: only the own account may be looked after. */
  restricted: z.boolean(),
  /** True after a one-time password: a new one has to be set first. */
  mustChangePassword: z.boolean(),
});
export type Tokens = z.infer<typeof Tokens>;
export const RefreshRequest = z.strictObject({ refreshToken: z.string().min(1).max(300) });
export const PasswordChange = z.strictObject({ current: passwordText, next: passwordText });
export const TotpBegun = z.strictObject({ secret: z.string(), uri: z.string() });
export const TotpConfirm = z.strictObject({ code: codeText });
export const TotpConfirmed = z.strictObject({ recoveryCodes: z.array(z.string()) });
export const Whoami = z.strictObject({
  kind: z.enum(['account', 'key', 'operator']),
  id: z.string(),
  name: z.string(),
  role: RoleName,
  department: DepartmentId,
  dataClass: DataClass,
  scopes: z.array(OperationName).nullable(),
  session: SessionId.nullable(),
  restricted: z.boolean(),
});
export const SessionShown = z.strictObject({
  id: SessionId,
  account: AccountId,
  username: Username,
  method: z.string(),
  createdMs: z.int(),
  usedMs: z.int(),
  expiresMs: z.int(),
});
export const SessionPage = z.strictObject({ sessions: z.array(SessionShown) });
export const Revoked = z.strictObject({ sessions: z.int(), keys: z.int() });

export const ServiceKeyShown = z.strictObject({
  id: KeyId,
  name: z.string(),
  role: RoleName,
  department: DepartmentId,
  dataClass: DataClass,
  createdMs: z.int(),
  expiresMs: z.int().nullable(),
  revoked: z.boolean(),
  scopes: z.array(OperationName).nullable(),
});
export const ServiceKeyPage = z.strictObject({ keys: z.array(ServiceKeyShown) });
export const ServiceKeyRequest = z.strictObject({
  name: z.string().min(1).max(100),
  role: RoleName,
  department: DepartmentId.default('operations' as DepartmentId),
  dataClass: DataClass.default('internal'),
  expiresMs: z.int().positive().optional(),
  scopes: z.array(OperationName).min(1).max(100).optional(),
});
export const ServiceKeyMade = z.strictObject({ key: z.string(), record: ServiceKeyShown });

export const RolesShown = z.strictObject({
  roles: z.array(z.strictObject({ role: RoleName, grants: z.array(z.string()) })),
  table: z.array(
    z.strictObject({ role: RoleName, operation: OperationName, highestDataClass: DataClass.nullable() }),
  ),
});

export const ProviderShown = z.strictObject({
  providers: z.array(z.strictObject({ name: z.string(), startUrl: z.string() })),
});
