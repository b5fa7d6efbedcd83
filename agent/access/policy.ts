/**
 * Who may ask what, and where a question of which class may travel. Deny by default: what no table allows is refused.
 */
import type { Principal } from '../../shared/access/principal.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { DataClass } from '../../shared/wire/envelope.ts';

/** `query`: chat · `measurement`: statistics over records · `planning`: explain and pin a site · `basic_planning`: choose priority. */
export type Permission = 'query' | 'measurement' | 'planning' | 'basic_planning' | 'all';

export const CLASSES: readonly DataClass[] = ['public', 'internal', 'confidential', 'restricted'];
const rank = (dataClass: DataClass): number => CLASSES.indexOf(dataClass);

/** The most sensitive class that each role may put into a question. */
const ROLE_CLASS: Readonly<Record<string, DataClass>> = {
  doctor: 'restricted',
  admin: 'restricted',
  nurse: 'confidential',
  researcher: 'internal',
};

const OTHER_PRIORITY = 4;
/** 0 (background) to 9 (emergency); a department that is not named is in the middle. */
export const priorityOf = (
  { departmentPriorities }: Pick<AccessPolicy, 'departmentPriorities'>,
  department: string,
): number =>
  Object.hasOwn(departmentPriorities, department)
    ? (departmentPriorities[department] ?? OTHER_PRIORITY)
    : OTHER_PRIORITY;

export interface AccessPolicy {
  readonly rolePermissions: Readonly<Record<string, readonly string[]>>;
  readonly departmentPriorities: Readonly<Record<string, number>>;
  /** Sites to which restricted questions may travel; nowhere by default. */
  readonly restrictedTravelsTo: readonly SiteId[];
  /** Sites from which restricted questions are accepted; none by default. */
  readonly restrictedAcceptedFrom: readonly SiteId[];
}

/** @throws QflError `forbidden` */
export const requirePermission = (
  policy: AccessPolicy,
  key: Pick<Principal, 'role'>,
  permission: Permission,
): void => {
  const granted = Object.hasOwn(policy.rolePermissions, key.role)
    ? (policy.rolePermissions[key.role] ?? [])
    : [];
  if (granted.includes(permission) || granted.includes('all')) return;
  throw new QflError('forbidden', {
    detail: `the role "${key.role}" has no "${permission}" permission here`,
    next: "Use a key whose role has it, or ask the site's administrator.",
  });
};

/**
 * The class of a question: the one it names, else its key's. A key may name a class up to its own, and its role's bound
 * holds as well.
 * @throws QflError `forbidden`
 */
export const classOf = (
  key: Pick<Principal, 'role' | 'dataClass'>,
  named: DataClass | undefined,
): DataClass => {
  const dataClass = named ?? key.dataClass;
  const bound = Object.hasOwn(ROLE_CLASS, key.role) ? ROLE_CLASS[key.role] : undefined;
  if (rank(dataClass) > rank(key.dataClass))
    throw new QflError('forbidden', { detail: `this key may send up to ${key.dataClass}, not ${dataClass}` });
  if (bound === undefined || rank(dataClass) > rank(bound))
    throw new QflError('forbidden', { detail: `the role "${key.role}" may not send ${dataClass} questions` });
  return dataClass;
};

/** May a question of this class go to `site`? */
export const mayTravel = (policy: AccessPolicy, dataClass: DataClass, site: SiteId): boolean =>
  dataClass !== 'restricted' || policy.restrictedTravelsTo.includes(site);

/** Is a question of this class accepted from `sender`? */
export const mayArrive = (policy: AccessPolicy, dataClass: DataClass, sender: SiteId): boolean =>
  dataClass !== 'restricted' || policy.restrictedAcceptedFrom.includes(sender);
