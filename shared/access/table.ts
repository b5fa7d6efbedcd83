/**
 * Who may do what with data of which class: one table, role × operation × data class, made from `security.role_permissions` and
 * `security.role_data_classes` of the configuration. Deny by default: a role, an operation or a class that is not in it is refused.
 */
import { OPERATOR_ROLE } from '../http/roles.ts';
import type { DataClass } from '../wire/envelope.ts';
import { isOperation, isPermission, type Operation, OPERATION_NAMES, OPERATIONS } from './operations.ts';

export const DATA_CLASSES: readonly DataClass[] = ['public', 'internal', 'confidential', 'restricted'];
export const classRank = (dataClass: DataClass): number => DATA_CLASSES.indexOf(dataClass);

export interface AccessTable {
  /** Every role there is; the operator's own is not among them. */
  readonly roles: readonly string[];
  allows(role: string, operation: Operation, dataClass: DataClass): boolean;
  /** The highest class of data with which this role may do it; null when it may not at all. */
  bound(role: string, operation: Operation): DataClass | null;
  /** Permissions and single operations of a role, as configured. */
  grants(role: string): readonly string[];
}

export interface AccessConfig {
  /** Names of permissions, single operations, or `all`. */
  readonly rolePermissions: ReadonlyMap<string, readonly string[]>;
  readonly roleDataClasses: ReadonlyMap<string, DataClass>;
}

/** Roles that are there without being named in the configuration, which may replace them. */
const BUILT_IN_PERMISSIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ['auditor', ['view', 'audit']],
  ['viewer', ['view']],
  ['user', ['query']],
]);
const BUILT_IN_CLASSES: ReadonlyMap<string, DataClass> = new Map([
  ['doctor', 'restricted'],
  ['admin', 'restricted'],
  ['nurse', 'confidential'],
  ['researcher', 'internal'],
  ['auditor', 'confidential'],
  ['viewer', 'internal'],
  ['user', 'internal'],
]);
/** Of a role that is configured without a class. */
const CLASS_DEFAULT: DataClass = 'public';

export const isGrant = (name: string): boolean => name === 'all' || isPermission(name) || isOperation(name);

/** `all` is everything but the machine itself. */
const granted = (grants: readonly string[], operation: Operation): boolean => {
  const { permission } = OPERATIONS[operation];
  if (permission === 'signed_in' || grants.includes(operation) || grants.includes(permission)) return true;
  return grants.includes('all') && permission !== 'machine';
};

export const createAccessTable = ({ rolePermissions, roleDataClasses }: AccessConfig): AccessTable => {
  const permissions = new Map([...BUILT_IN_PERMISSIONS, ...rolePermissions]);
  const classes = new Map([...BUILT_IN_CLASSES, ...roleDataClasses]);
  const bound = (role: string, operation: Operation): DataClass | null => {
    if (role === OPERATOR_ROLE) return 'restricted';
    const grants = permissions.get(role);
    if (grants === undefined || !granted(grants, operation)) return null;
    const highest = classes.get(role) ?? CLASS_DEFAULT;
    const { dataClass } = OPERATIONS[operation];
    return dataClass !== 'carried' && classRank(dataClass) > classRank(highest) ? null : highest;
  };
  return {
    roles: [...permissions.keys()].toSorted(),
    bound,
    allows(role, operation, dataClass) {
      const highest = bound(role, operation);
      return highest !== null && classRank(dataClass) <= classRank(highest);
    },
    grants: (role) => permissions.get(role) ?? [],
  };
};

/** The whole table, a row per role and operation: what `/v1/roles` shows. */
export const tableRows = (
  table: AccessTable,
): readonly {
  readonly role: string;
  readonly operation: Operation;
  readonly highestDataClass: DataClass | null;
}[] =>
  table.roles.flatMap((role) =>
    OPERATION_NAMES.map((operation) => ({
      role,
      operation,
      highestDataClass: table.bound(role, operation),
    })),
  );
