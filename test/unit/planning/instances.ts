/** Small planning instances and the plain truth about them. */
import fc from 'fast-check';
import { SiteId } from '../../../shared/ids.ts';
import { optionCost, type PlanningTask, type Problem } from '../../../coordinator/planning/problem.ts';

export const siteIdOf = (at: number): SiteId => SiteId.parse(`site-${at}`);

const taskArbitrary = (sites: number, at: number): fc.Arbitrary<PlanningTask> =>
  fc
    .record({
      costs: fc.array(fc.option(fc.integer({ min: 0, max: 30 }), { freq: 4 }), {
        minLength: sites,
        maxLength: sites,
      }),
      preference: fc.integer({ min: -8, max: 0 }),
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

/** With tokens, budgets and couplings that bind as often as not. */
export const fullProblemArbitrary: fc.Arbitrary<Problem> = problemArbitrary.chain(({ tasks, sites }) =>
  fc
    .record({
      needs: fc.array(fc.tuple(fc.nat(6), fc.nat(3), fc.nat(4), fc.nat(4)), {
        minLength: tasks.length,
        maxLength: tasks.length,
      }),
      rooms: fc.array(fc.tuple(fc.option(fc.nat(14)), fc.option(fc.nat(7))), {
        minLength: sites.length,
        maxLength: sites.length,
      }),
      pairs: fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.integer({ min: -15, max: 15 })), { maxLength: 5 }),
    })
    .map(({ needs, rooms, pairs }) => ({
      sites: sites.map((site, at) => ({
        ...site,
        tokensMax: rooms[at]![0] ?? undefined,
        microEpsilonMax: rooms[at]![1] ?? undefined,
      })),
      tasks: tasks.map((task, at) => {
        const [tokens, microEpsilon, money, privacy] = needs[at]!;
        return {
          ...task,
          options: task.options.map((option) => ({
            ...option,
            tokens,
            microEpsilon,
            cost: { ...option.cost, money, privacy },
          })),
        };
      }),
      couplings: pairs
        .filter(([first, second]) => first !== second && Math.max(first, second) < tasks.length)
        .map(([first, second, weight]) => ({ first, second, weight })),
    })),
);

/** The cheapest cost over every assignment that keeps slots, tokens and budget, couplings counted as the definition says. */
export const bruteForceFull = (problem: Problem): number => {
  const { tasks, sites, couplings = [] } = problem;
  const siteOf: (SiteId | null)[] = tasks.map(() => null);
  const fits = (): boolean =>
    sites.every(({ siteId, slotCosts, tokensMax = Infinity, microEpsilonMax = Infinity }) => {
      const here = tasks.flatMap((task, at) =>
        siteOf[at] === siteId ? task.options.filter((option) => option.siteId === siteId) : [],
      );
      const sum = (of: (option: (typeof here)[number]) => number | undefined): number =>
        here.reduce((total, option) => total + (of(option) ?? 0), 0);
      return (
        here.length <= slotCosts.length &&
        sum(({ tokens }) => tokens) <= tokensMax &&
        sum(({ microEpsilon }) => microEpsilon) <= microEpsilonMax
      );
    });
  const cost = (): number => {
    const own = tasks.map(({ options, waitingCost }, at) => {
      const option = options.find(({ siteId }) => siteId === siteOf[at]);
      return option === undefined ? waitingCost : optionCost(option);
    });
    const slots = sites.flatMap(({ siteId, slotCosts }) =>
      slotCosts.slice(0, siteOf.filter((site) => site === siteId).length),
    );
    const tied = couplings.map(({ first, second, weight }) =>
      siteOf[first] === siteOf[second] ? weight : 0,
    );
    return [...own, ...slots, ...tied].reduce((sum, part) => sum + part, 0);
  };
  const from = (at: number): number => {
    const task = tasks[at];
    if (task === undefined) return fits() ? cost() : Infinity;
    return Math.min(
      ...[null, ...task.options.map(({ siteId }) => siteId)].map((siteId) => {
        siteOf[at] = siteId;
        return from(at + 1);
      }),
    );
  };
  return from(0);
};
