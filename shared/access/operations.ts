/**
 * Everything anybody can do, by name. Each HTTP route and socket event declares one of these; roles are given permissions, and a permission is a
 * set of operations. `dataClass` is the class of what the operation shows or changes; `carried` where the request itself says it.
 */
import type { DataClass } from '../wire/envelope.ts';

/** `signed_in` belongs to every role of the table; the rest has to be given. `planning` and `basic_planning` are words of configurations: nothing asks for them yet. */
export const PERMISSIONS = [
  'signed_in',
  'query',
  'measurement',
  'planning',
  'basic_planning',
  'view',
  'audit',
  'administration',
  'machine',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

interface Rule {
  readonly permission: Permission;
  readonly dataClass: DataClass | 'carried';
}

const rule = (permission: Permission, dataClass: Rule['dataClass'] = 'internal'): Rule => ({
  permission,
  dataClass,
});

export const OPERATIONS = {
  // One's own account and what every signed-in person or program may see
  'self.read': rule('signed_in', 'public'),
  'self.change': rule('signed_in', 'public'),
  'status.read': rule('signed_in', 'public'),
  'policy.read': rule('signed_in', 'public'),
  'privacy.read': rule('signed_in', 'public'),
  // Questions
  'chat.ask': rule('query', 'carried'),
  'models.read': rule('query', 'public'),
  'statistics.ask': rule('measurement', 'carried'),
  'records.ask': rule('measurement', 'carried'),
  // Plans and tasks
  'plans.read': rule('audit'),
  'tasks.read': rule('signed_in', 'public'),
  'tasks.create': rule('query', 'public'),
  'tasks.transfer': rule('administration', 'confidential'),
  // Sealed rounds
  'rounds.read': rule('signed_in', 'public'),
  /** Who may train is decided by role beside it (`executors/train.ts`). */
  'rounds.change': rule('query'),
  // Trained models: at the coordinator the registry, at a site what it fetched of it
  'registry.read': rule('signed_in', 'public'),
  'registry.change': rule('administration'),
  'models.change': rule('administration'),
  /** Somebody's features go in. */
  'models.predict': rule('query', 'confidential'),
  // The federation
  'sites.read': rule('view'),
  'sites.change': rule('administration'),
  'policy.change': rule('administration'),
  'settings.read': rule('view'),
  'budgets.read': rule('view'),
  'budgets.raise': rule('administration'),
  'proposals.read': rule('administration'),
  'proposals.decide': rule('administration'),
  // People and programs
  'accounts.read': rule('administration', 'confidential'),
  'accounts.change': rule('administration', 'confidential'),
  'keys.read': rule('administration'),
  'keys.change': rule('administration'),
  'roles.read': rule('view'),
  // The key directory, and the program's own keys in it
  'directory.read': rule('signed_in', 'public'),
  'directory.change': rule('administration'),
  // Evidence
  'audit.read': rule('audit', 'confidential'),
  'audit.export': rule('audit', 'confidential'),
  /** Holds, erasure, retention. */
  'audit.change': rule('administration', 'confidential'),
  'privacy.history': rule('audit'),
  'usage.read': rule('view'),
  // Emergency
  'lockdown.read': rule('signed_in', 'public'),
  'lockdown.start': rule('administration'),
  'lockdown.release': rule('administration'),
  // Records at a site
  'records.change': rule('administration', 'restricted'),
  'receipts.read': rule('administration'),
  /** Names files and folders of the machine: only somebody on it may. */
  'machine.files': rule('machine', 'restricted'),
} as const satisfies Record<string, Rule>;

export type Operation = keyof typeof OPERATIONS;
export const OPERATION_NAMES = Object.keys(OPERATIONS) as readonly Operation[];

export const isOperation = (name: string): name is Operation => Object.hasOwn(OPERATIONS, name);
export const isPermission = (name: string): name is Permission =>
  PERMISSIONS.some((permission) => permission === name);
