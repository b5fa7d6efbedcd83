/** Small planning instances and the plain truth about them. */
import fc from 'fast-check';
import { SiteId } from '../../../shared/ids.ts';
import { optionCost, type PlanningTask, type Problem } from '../../../coordinator/planning/problem.ts';

export const siteIdOf = (at: number): SiteId => SiteId.parse(`site-${at}`);

const taskArbitrary = (sites: number, at: number): fc.Arbitrary<PlanningTask> =>
  fc
    .record({
      costs: fc.array(fc.option(fc.integer({ min: -5, max: 30 }), { freq: 4 }), {
        minLength: sites,
        maxLength: sites,
      }),
      preference: fc.integer({ min: -3, max: 0 }),
      waitingCost: fc.integer({ min: 0, max: 60 }),
    })
    .map(({ costs, preference, waitingCost }) => ({
      taskId: `t${at}`,
      waitingCost,
      options: costs.flatMap((latency, site) =>
        latency === null ? [] : [{ siteId: siteIdOf(site), cost: { latency, preference } }],
      ),
    }));

export const problemArbitrary: fc.Arbitrary<Problem> = fc
  .record({ sites: fc.integer({ min: 1, max: 4 }), tasks: fc.integer({ min: 0, max: 6 }) })
  .chain(({ sites, tasks }) =>
    fc.record({
      sites: fc
        .array(fc.array(fc.integer({ min: -4, max: 20 }), { maxLength: 4 }), {
          minLength: sites,
          maxLength: sites,
        })
        .map((all) =>
          all.map((costs, at) => ({ siteId: siteIdOf(at), slotCosts: costs.toSorted((a, b) => a - b) })),
        ),
      tasks: fc.tuple(...Array.from({ length: tasks }, (_, at) => taskArbitrary(sites, at))),
    }),
  );

/** The cheapest cost over every assignment there is. */
export const bruteForceCost = ({ tasks, sites }: Problem): number => {
  const slots = new Map(sites.map(({ siteId, slotCosts }) => [siteId, slotCosts]));
  const used = new Map<SiteId, number>();
  const from = (at: number): number => {
    const task = tasks[at];
    if (task === undefined) return 0;
    let best = task.waitingCost + from(at + 1);
    for (const option of task.options) {
      const load = used.get(option.siteId) ?? 0;
      const slot = slots.get(option.siteId)?.[load];
      if (slot === undefined) continue;
      used.set(option.siteId, load + 1);
      best = Math.min(best, optionCost(option) + slot + from(at + 1));
      used.set(option.siteId, load);
    }
    return best;
  };
  return from(0);
};
