/** The access rules that a configuration means. */
import { addressFilter } from './addresses.ts';
import type { AccessRules } from './authorize.ts';
import { type AccessConfig, createAccessTable } from './table.ts';

export const accessRulesOf = (
  security: AccessConfig & { readonly adminAllowedAddresses: readonly string[] },
): AccessRules => ({
  table: createAccessTable(security),
  isAdminAddress: addressFilter(security.adminAllowedAddresses),
});
