/** Plans the question "measures": which vectors leave under which noise, and how they are read from the records. */
import { assert, QflError } from '../../../shared/errors.ts';
import type { MeasuresQuery } from '../../../shared/wire/stats.ts';
import type { LedgerLimits } from '../../budget/ledger.ts';
import { type CohortTree, leavesOf, parseCohortTree } from '../../records/cohort-tree.ts';
import { requireBlocks } from '../../records/blocks.ts';
import type { Records } from '../../records/store.ts';
import { walkPersons, type WalkRules } from '../../records/walk.ts';
import type {
  ExactVector,
  PlannedMeasurement,
  PlannedRelease,
  Planner,
  PublicFacts,
} from '../measurement.ts';
import { type Accumulator, accumulatorOf, addPerson } from './accumulate.ts';
import { vectorsOf } from './layout.ts';
import { epsilonOfVector, mechanismFor } from './price.ts';

const releasesOf = ({ measures, microEpsilon }: MeasuresQuery, { limits }: PublicFacts): PlannedRelease[] =>
  measures.flatMap((measure) => {
    const vectors = vectorsOf(measure);
    return vectors.map((vector) => ({
      cells: vector.cells,
      ...(vector.keysMax === undefined ? {} : { keysMax: vector.keysMax }),
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

/** Types of rows whose own codes are asked for. */
const namedTypes = ({ measures }: MeasuresQuery, accumulators: readonly Accumulator[]): ReadonlySet<string> =>
  new Set(
    measures.flatMap((measure, at) =>
      measure.measure === 'keyed_table' && measure.by.some(({ variable }) => variable === 'code')
        ? (accumulators[at]?.source?.of.resource ?? [])
        : [],
    ),
  );

const requireNames = async (records: Records, types: Iterable<string>): Promise<void> => {
  for (const resource of types)
    if (!(await records.keepsValues(resource)))
      throw new QflError('not_ready', {
        detail: `the records of type ${resource} of this site were imported before their codes were kept for tables of unknown keys`,
        next: 'Import them again with "qfl agent import DIR"; until then name the codes.',
        facts: { resource, missing: 'name' },
      });
};

/** Keys that only the records know charge delta; a site that reserves none has none to charge. */
const requireDelta = ({ measures }: MeasuresQuery, { thresholdDeltaMillionths }: LedgerLimits): void => {
  if (thresholdDeltaMillionths !== undefined || measures.every(({ measure }) => measure !== 'keyed_table'))
    return;
  throw new QflError('budget_exceeded', {
    detail:
      'keys that only the records know are released above a threshold, which charges a delta, and this site reserves none',
    next: 'Name the values to tell apart; or the site sets privacy.threshold_delta_share in its configuration, such as 0.1.',
    facts: { setting: 'privacy.threshold_delta_share', mechanism: 'thresholded_histogram' },
  });
};

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
  blocks?: readonly string[],
): Promise<readonly ExactVector[]> => {
  const accumulators = query.measures.map(accumulatorOf);
  const walk = {
    tree: parseCohortTree(query.cohort),
    sources: accumulators.flatMap(({ source }) => source ?? []),
    needsPatient: accumulators.some(({ needsPatient }) => needsPatient),
    blocks,
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
    requireDelta(query, facts.limits);
    await requireBlocks(records, facts.blocks);
    if (usesValues(tree, accumulators, query)) await requireValues(records);
    await requireNames(records, namedTypes(query, accumulators));
    const releases = releasesOf(query, facts);
    return {
      releases,
      blocks: facts.blocks,
      async evaluate(signal) {
        const vectors = await evaluateMeasures(records, query, {}, signal, facts.blocks);
        assert(vectors.length === releases.length, 'one vector per release');
        return vectors;
      },
    };
  };
