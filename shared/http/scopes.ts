/** Who may do what with the audit log, by name, until accounts bring a table of their own: routes name a scope, never a role. */
import { OPERATOR_ROLE } from './control.ts';

export const SCOPES = {
  'audit:read': ['admin', 'auditor', OPERATOR_ROLE],
  'audit:change': ['admin', OPERATOR_ROLE],
  'directory:read': 'any-key',
  'lockdown:release': ['admin', OPERATOR_ROLE],
} as const;
