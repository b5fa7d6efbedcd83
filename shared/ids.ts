/**
 * Branded ids: a `SiteId` is never a `QueryId`, and a raw string is neither. Each schema is the only way
 * to make one, so an id that exists has been checked.
 */
import { z } from 'zod';

/** A hospital site's name: chosen by the federation's operator, unique in it, lower-case DNS label. */
export const SiteId = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,38}[a-z0-9]$/,
    'a site name is 2–40 characters of a–z, 0–9 and "-", starting with a letter',
  )
  .brand<'SiteId'>();
export type SiteId = z.infer<typeof SiteId>;

/** 16 random bytes in lower-case hex; names a query from its first byte to its last receipt. */
export const QueryId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'a query id is 32 hexadecimal characters')
  .brand<'QueryId'>();
export type QueryId = z.infer<typeof QueryId>;

/** A task of the coordinator: 48 bits of time in ms, 80 random bits, in lower-case hex; ids sort by the order in which they were made. */
export const TaskId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'a task id is 32 hexadecimal characters')
  .brand<'TaskId'>();
export type TaskId = z.infer<typeof TaskId>;

/** A department of a hospital, as it appears in budgets and roles. */
export const DepartmentId = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, 'a department is 1–40 characters of a–z, 0–9 and "-"')
  .brand<'DepartmentId'>();
export type DepartmentId = z.infer<typeof DepartmentId>;

/** What a user is called outside their own hospital: a keyed hash, stable per site, never a name. */
export const Pseudonym = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'a pseudonym is 32 hexadecimal characters')
  .brand<'Pseudonym'>();
export type Pseudonym = z.infer<typeof Pseudonym>;

/** The public half of an API key: shown in lists and logs, useless without the secret half. */
export const KeyId = z
  .string()
  .regex(/^[0-9a-f]{16}$/, 'a key id is 16 hexadecimal characters')
  .brand<'KeyId'>();
export type KeyId = z.infer<typeof KeyId>;

/** An account of a person at the coordinator: random, so that it says nothing about them. */
export const AccountId = z
  .string()
  .regex(/^[0-9a-f]{16}$/, 'an account id is 16 hexadecimal characters')
  .brand<'AccountId'>();
export type AccountId = z.infer<typeof AccountId>;

/** A sign-in of one person at one place, from password to sign-out. */
export const SessionId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'a session id is 32 hexadecimal characters')
  .brand<'SessionId'>();
export type SessionId = z.infer<typeof SessionId>;

/** A sealed round: 16 random bytes in lower-case hex. */
export const RoundId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'a round id is 32 hexadecimal characters')
  .brand<'RoundId'>();
export type RoundId = z.infer<typeof RoundId>;

/** A set of pair keys between sites, from one change of the roster to the next. */
export const EpochId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'an epoch id is 32 hexadecimal characters')
  .brand<'EpochId'>();
export type EpochId = z.infer<typeof EpochId>;
