/** How each kind of reference case is computed and compared. */
import { accountantCheckers } from './golden-accountant.ts';
import { analyticCheckers } from './golden-analytic.ts';
import type { Checker } from './golden-compare.ts';
import { ledgerCheckers } from './golden-ledger.ts';

export { Unsupported } from './golden-compare.ts';

export const checkers: Readonly<Record<string, Checker | undefined>> = {
  ...ledgerCheckers,
  ...analyticCheckers,
  ...accountantCheckers,
};
