/**
 * The exact vector behind a `concepts` question, before noise: patients per cell. Adding or removing one person, with everything about
 * them, moves at most k cells by one each: √k in Euclidean length (k = 1 for "with" and "without").
 */
import { assert } from '../../shared/errors.ts';
import type { ConceptCells, ConceptCohort, ConceptId } from '../../shared/wire/stats/ask.ts';
import type { Records } from '../records/store.ts';
import { type Concept, type ConceptList, requireConcepts } from './list.ts';
import { type Demographics, type PersonConcepts, personsWithConcepts, type PersonRules } from './persons.ts';
import { createCut, type Cut } from './truncate.ts';

export interface ConceptPlan {
  /** Every term that must be looked at; `PersonConcepts.has` holds positions in it. */
  readonly concepts: readonly Concept[];
  /** Public names of the cells, in order. */
  readonly cells: readonly string[];
  /** How many cells one person can move. */
  readonly k: number;
  readonly inCohort: (person: PersonConcepts) => boolean;
  /** The cells a person of the cohort is counted in, before the cut. */
  readonly cellsOf: (person: PersonConcepts) => readonly number[];
}

export const SHARE_CELLS = ['with', 'without'] as const;

const demographicsHold = (
  { sex, bornFrom, bornBefore }: ConceptCohort,
  { gender, birthDate }: Demographics,
): boolean =>
  (sex === null || gender === sex) &&
  (bornFrom === null || (birthDate !== undefined && birthDate >= bornFrom)) &&
  (bornBefore === null || (birthDate !== undefined && birthDate < bornBefore));

/** Terms that every patient of the cohort has would only fill their k places. */
const cellConcepts = (list: ConceptList, cohort: ConceptCohort, cells: ConceptCells): readonly Concept[] => {
  if (cells.count === 'share') return [];
  const given = new Set<ConceptId>([...cohort.all.flat(), ...cohort.none]);
  return list.ofGroup(cells.group).filter(({ id }) => !given.has(id));
};

/** @throws QflError `invalid_request` when a term is not in the list */
export const planConcepts = (list: ConceptList, cohort: ConceptCohort, cells: ConceptCells): ConceptPlan => {
  const shareTerms = cells.count === 'share' ? cells.of : [];
  const named = requireConcepts(list, [...cohort.all.flat(), ...cohort.none, ...shareTerms.flat()]);
  const counted = cellConcepts(list, cohort, cells);
  const concepts = [...new Set([...counted, ...named])];
  const at = new Map(concepts.map(({ id }, position) => [id, position]));
  const hasAny = ({ has }: PersonConcepts, ids: readonly ConceptId[]): boolean =>
    ids.some((id) => has.has(at.get(id) ?? -1));
  return {
    concepts,
    cells: cells.count === 'share' ? SHARE_CELLS : counted.map(({ id }) => id),
    k: cells.count === 'share' ? 1 : Math.min(cells.k, counted.length),
    inCohort: (person) =>
      cohort.all.every((ids) => hasAny(person, ids)) &&
      !hasAny(person, cohort.none) &&
      person.demographics.some((one) => demographicsHold(cohort, one)),
    cellsOf: (person) =>
      cells.count === 'share'
        ? [shareTerms.every((ids) => hasAny(person, ids)) ? 0 : 1]
        : [...person.has].filter((position) => position < counted.length).toSorted((a, b) => a - b),
  };
};

/** Seams for fault injection; production passes none. */
export interface HistogramRules extends PersonRules {
  readonly cut?: Cut;
}

export interface CountOptions extends HistogramRules {
  readonly signal?: AbortSignal | undefined;
  /** Only persons of these data blocks; everybody where the site keeps none. */
  readonly blocks?: readonly string[] | undefined;
}

/** @throws QflError `cancelled` when the signal fires; the charge is kept */
export const countConcepts = async (
  records: Records,
  plan: ConceptPlan,
  scope: string,
  rules: CountOptions = {},
): Promise<readonly bigint[]> => {
  const cut = rules.cut ?? createCut(scope, plan.k);
  const counts = plan.cells.map(() => 0n);
  for await (const person of personsWithConcepts(records, plan.concepts, rules, rules.blocks)) {
    rules.signal?.throwIfAborted();
    if (!plan.inCohort(person)) continue;
    for (const cell of cut(person.person, plan.cellsOf(person), plan.cells)) {
      assert(counts[cell] !== undefined, 'a cell of a person is a cell of the plan');
      counts[cell] += 1n;
    }
  }
  return counts;
};
