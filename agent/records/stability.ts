/**
 * Operations that no public bound limits: one patient more or less could change any number of rows of the result, so no finite noise
 * would hide them. They have no form in a cohort; who asks for one by its usual name is told why (privacy.md §4).
 */
import { QflError } from '../../shared/errors.ts';

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^_?(join|include|revinclude|has|chain)$/i, 'a join lets one patient change the rows of others'],
  [
    /^_?(limit|count|top|first|last|offset|page|sample)$/i,
    'a limit over all rows lets one patient push out another',
  ],
  [/^_?(sort|order_?by|rank)$/i, 'an order over all rows moves every row when one patient comes or goes'],
  [/^_?(group_?by|partition_?by|having)$/i, 'groups that the data names would tell which groups there are'],
  [/^_?(distinct|dedupe|unique)$/i, 'which of equal rows stays depends on other patients'],
];

const NEXT =
  'Use conditions on single rows, and "rows" with a declared number per patient; bins must be public. Persons are never counted twice.';

const reasonOf = (name: string): string | undefined => REASONS.find(([pattern]) => pattern.test(name))?.[1];

/** @throws QflError `invalid_request` when a member of the object has the name of such an operation */
export const refuseUnstable = (value: unknown): void => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
  for (const name of Object.keys(value)) {
    const reason = reasonOf(name);
    if (reason !== undefined)
      throw new QflError('invalid_request', {
        detail: `"${name}" has no bound on what one patient changes: ${reason}`,
        next: NEXT,
        facts: { operation: name, stability: 'unbounded' },
      });
  }
};
