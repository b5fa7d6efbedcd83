/**
 * Counts distinct persons of a cohort. Each person adds 0 or 1 whatever they have in the records, so adding or removing one person moves the
 * count by at most one: the sensitivity the noise is made for.
 */
import type { Cohort } from './cohort.ts';
import type { CohortTree } from './cohort-tree.ts';
import type { Records } from './store.ts';
import { walkPersons, type WalkRules } from './walk.ts';

export type CountRules = WalkRules;

/** Distinct persons of the cohort: linked records count once, and a person of whom any record opted out not at all. */
export const countDistinctPatients = async (
  records: Records,
  cohort: Cohort | CohortTree,
  rules: CountRules = {},
): Promise<bigint> => {
  const tree: CohortTree = 'kind' in cohort ? cohort : { kind: 'rows', rows: cohort };
  let count = 0n;
  for await (const _ of walkPersons(records, { tree, sources: [], needsPatient: false }, rules)) count += 1n;
  return count;
};
