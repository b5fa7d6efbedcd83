/** Which cells a question of `ask` has and under which noise, from the question and the public list alone: the same at every site. */
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import type { DiscreteGaussian } from '../../../shared/privacy/mechanism.ts';
import type { TallyQuery } from '../../../shared/wire/stats/ask.ts';
import { type ConceptPlan, planConcepts } from '../../concepts/histogram.ts';
import { type Concept, type ConceptList, requireSameList } from '../../concepts/list.ts';
import { askMechanism } from './mechanism.ts';
import type { AskQuery } from './question.ts';

export interface AskRelease {
  readonly cells: readonly string[];
  readonly mechanism: DiscreteGaussian;
}

export const YES_NO_CELLS = ['yes', 'no'] as const;

/** The terms a shard may name, in list order; empty for yes and no. */
export const tallyTerms = (list: ConceptList, { answers }: TallyQuery): readonly Concept[] =>
  answers.form === 'terms' ? list.ofGroup(answers.group) : [];

/** Terms a shard may name at most. */
export const tallyK = ({ answers }: TallyQuery, cells: number): number =>
  answers.form === 'terms' ? Math.min(answers.k, cells) : 1;

export const conceptsRelease = ({ cells, k }: ConceptPlan, micro: number): AskRelease => ({
  cells,
  mechanism: askMechanism(microEpsilon(micro), BigInt(k)),
});

/** A patient changes the answer of one shard: at most k entries go and k others come, √(2k) in Euclidean length. */
export const tallyRelease = (list: ConceptList, query: TallyQuery): AskRelease => {
  const cells = query.answers.form === 'terms' ? tallyTerms(list, query).map(({ id }) => id) : YES_NO_CELLS;
  const sensitivitySquared = BigInt(2 * tallyK(query, cells.length));
  return { cells, mechanism: askMechanism(microEpsilon(query.microEpsilon), sensitivitySquared) };
};

/** @throws QflError `conflict` for another list, `invalid_request` for a term that is not in it */
export const releaseOf = (list: ConceptList, query: AskQuery): AskRelease => {
  requireSameList(list, query.list);
  return query.kind === 'concepts'
    ? conceptsRelease(planConcepts(list, query.cohort, query.cells), query.microEpsilon)
    : tallyRelease(list, query);
};
