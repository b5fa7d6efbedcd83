/** Plans the question "measures": which vectors leave under which noise, and how they are read from the records. */
import { assert, QflError } from '../../../shared/errors.ts';
import type { MeasuresQuery } from '../../../shared/wire/stats.ts';
import { type CohortTree, leavesOf, parseCohortTree } from '../../records/cohort-tree.ts';
import type { Records } from '../../records/store.ts';
import { walkPersons, type WalkRules } from '../../records/walk.ts';
import type { PlannedMeasurement, PlannedRelease, Planner, PublicFacts } from '../measurement.ts';
import { type Accumulator, accumulatorOf, addPerson } from './accumulate.ts';
import { vectorsOf } from './layout.ts';
import { epsilonOfVector, mechanismFor } from './price.ts';

const releasesOf = ({ measures, microEpsilon }: MeasuresQuery, { limits }: PublicFacts): PlannedRelease[] =>
  measures.flatMap((measure) => {
    const vectors = vectorsOf(measure);
    return vectors.map((vector) => ({
      cells: vector.cells,
      mechanism: mechanismFor(
        measure,
        vector,
        epsilonOfVector(microEpsilon, measures, measure, vectors.length),
        limits,
      ),
    }));
  });

/** Does anything in the question look at measured values? */
const usesValues = (tree: CohortTree, accumulators: readonly Accumulator[], query: MeasuresQuery): boolean =>
  [...leavesOf(tree), ...accumulators.flatMap(({ source }) => source?.of ?? [])].some(({ where }) =>
    where.some(({ field }) => field === 'value'),
  ) ||
  query.measures.some((measure) =>
    ('of' in measure ? [measure.of] : 'by' in measure ? measure.by : []).some(
      ({ variable }) => variable === 'value',
    ),
  );

const requireValues = async (records: Records): Promise<void> => {
  if (await records.keepsValues('Observation')) return;
  throw new QflError('not_ready', {
    detail: 'the records of this site were imported before measured values were kept for statistics',
    next: 'Import them again with "qfl agent import DIR"; until then ask for figures that do not look at values.',
    facts: { resource: 'Observation', missing: 'value' },
  });
};

/** The exact vectors of a question; `rules` are seams for fault injection. */
export const evaluateMeasures = async (
  records: Records,
  query: MeasuresQuery,
  rules: WalkRules = {},
  signal?: AbortSignal,
): Promise<readonly (readonly bigint[])[]> => {
  const accumulators = query.measures.map(accumulatorOf);
  const walk = {
    tree: parseCohortTree(query.cohort),
    sources: accumulators.flatMap(({ source }) => source ?? []),
    needsPatient: accumulators.some(({ needsPatient }) => needsPatient),
  };
  for await (const person of walkPersons(records, walk, rules, signal)) addPerson(accumulators, person);
  return accumulators.flatMap((accumulator) => accumulator.vectors());
};

export const createMeasuresPlanner =
  (records: Records): Planner<'measures'> =>
  async (query, facts): Promise<PlannedMeasurement> => {
    // All that a question can be refused for is found here, before it is charged.
    const tree = parseCohortTree(query.cohort);
    const accumulators = query.measures.map(accumulatorOf);
    if (usesValues(tree, accumulators, query)) await requireValues(records);
    const releases = releasesOf(query, facts);
    return {
      releases,
      async evaluate(signal) {
        const vectors = await evaluateMeasures(records, query, {}, signal);
        assert(vectors.length === releases.length, 'one vector per release');
        return vectors;
      },
    };
  };
