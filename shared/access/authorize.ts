/** The one decision: may this principal do that, with data of this class, from this address? Pure. */
import { QflError } from '../errors.ts';
import type { DataClass } from '../wire/envelope.ts';
import { type Operation, OPERATIONS } from './operations.ts';
import type { Principal } from './principal.ts';
import { type AccessTable, classRank } from './table.ts';

export interface AccessRules {
  readonly table: AccessTable;
  /** May administration come from here? */
  readonly isAdminAddress: (address: string) => boolean;
}

const forbid = (detail: string, next?: string): never => {
  throw new QflError('forbidden', { detail, ...(next === undefined ? {} : { next }) });
};

/**
 * The class an operation is checked with when the request carries none of its own: that of what it shows. Operations whose class is carried are
 * checked again in the journey, once the body is read.
 */
export const classOfOperation = (operation: Operation): DataClass => {
  const { dataClass } = OPERATIONS[operation];
  return dataClass === 'carried' ? 'public' : dataClass;
};

/**
 * @param dataClass of the data that the request carries or shows
 * @throws QflError `forbidden`
 */
export const authorizePrincipal = (
  { table, isAdminAddress }: AccessRules,
  principal: Principal,
  operation: Operation,
  address: string,
  dataClass: DataClass = classOfOperation(operation),
): void => {
  const { role, scopes, isRestricted } = principal;
  if (isRestricted && OPERATIONS[operation].permission !== 'signed_in')
    forbid(
      `the role "${role}" needs a second factor, and this account has none yet`,
      'Set one up first: "qfl account totp", or POST /v1/auth/totp.',
    );
  if (scopes !== null && OPERATIONS[operation].permission !== 'signed_in' && !scopes.includes(operation))
    forbid(`this key is limited to ${scopes.join(', ')}`, 'Use a key that has the scope.');
  const bound = table.bound(role, operation);
  if (bound === null)
    forbid(
      `the role "${role}" may not do ${operation}`,
      'Use an account or a key whose role may, or ask the administrator.',
    );
  else if (classRank(dataClass) > classRank(bound))
    forbid(`the role "${role}" may do ${operation} with data up to ${bound}, not ${dataClass}`);
  if (OPERATIONS[operation].permission === 'administration' && !isAdminAddress(address))
    forbid('administration is not allowed from this address', 'See security.admin_allowed_addresses.');
};
