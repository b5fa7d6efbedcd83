/** Choice C at a site: the planner of `concepts`. No model; one noisy vector over every term of the list, zeros included. */
import { countConcepts, type HistogramRules, planConcepts } from '../../concepts/histogram.ts';
import { type ConceptList, requireSameList } from '../../concepts/list.ts';
import { requireBlocks } from '../../records/blocks.ts';
import type { Records } from '../../records/store.ts';
import type { Planner } from '../measurement.ts';
import { conceptsRelease } from './release.ts';

/** @param rules seams for fault injection; production passes none */
export const createConceptsPlanner =
  (records: Records, list: ConceptList, rules: HistogramRules = {}): Planner<'concepts'> =>
  async ({ list: asked, cohort, cells, microEpsilon }, { blocks }) => {
    requireSameList(list, asked);
    await requireBlocks(records, blocks);
    const plan = planConcepts(list, cohort, cells);
    return {
      releases: [conceptsRelease(plan, microEpsilon)],
      blocks,
      evaluate: async (signal) => [
        await countConcepts(records, plan, list.name.hash, { ...rules, signal, blocks }),
      ],
    };
  };
