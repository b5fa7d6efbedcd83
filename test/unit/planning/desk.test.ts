/** The desk poses what an event touches and nothing else; parts planned by themselves make the whole plan. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planningComponents } from '../../../coordinator/planning/components.ts';
import { createDesk, type DeskRequest, type DeskTuning } from '../../../coordinator/planning/desk.ts';
import { createPredictor } from '../../../coordinator/planning/predictor.ts';
import { solvePortfolio } from '../../../coordinator/planning/portfolio.ts';
import type { Problem } from '../../../coordinator/planning/problem.ts';
import { STRATEGY_WEIGHTS } from '../../../coordinator/planning/strategies.ts';
import { fullProblemArbitrary, siteIdOf } from './instances.ts';

const [a, b, c, d] = [siteIdOf(0), siteIdOf(1), siteIdOf(2), siteIdOf(3)];
const tuning: DeskTuning = {
  weights: STRATEGY_WEIGHTS.balanced,
  deferred: true,
  queuePerSlot: 4,
  coupled: true,
};
const request = (taskId: string, rest: Partial<DeskRequest> = {}): DeskRequest => ({
  taskId,
  model: 'm',
  allowedSites: [a, b],
  excludedSites: [],
  arrivedMs: 0,
  deadlineMs: 60_000,
  ...rest,
});
const site = (siteId: typeof a, busySlots: number, rest: object = {}) => ({
  siteId,
  models: ['m'],
  slots: 1,
  busySlots,
  ...rest,
});
const deskWith = (...requests: readonly DeskRequest[]) => {
  const desk = createDesk(createPredictor(), () => 1);
  for (const one of requests) desk.add(one);
  return desk;
};
const names = (posed: readonly { readonly requests: readonly DeskRequest[] }[]) =>
  posed.map(({ requests }) => requests.map(({ taskId }) => taskId));

describe('what is planned again', () => {
  it('is the component of tasks, sites and couplings that an event touches', () => {
    const desk = deskWith(
      request('a1'),
      request('a2'),
      request('c1', { allowedSites: [c] }),
      request('c2', { allowedSites: [c] }),
      request('d1', { allowedSites: [d] }),
    );
    const full = [a, b, c, d].map((siteId) => site(siteId, 1));
    expect(desk.pose(0, full, tuning).posed).toEqual([]);
    // A slot at c: only those that may go there.
    const free = full.map((one) => (one.siteId === c ? { ...one, busySlots: 0 } : one));
    const first = desk.pose(1, free, tuning).posed;
    expect(names(first)).toEqual([['c1', 'c2']]);
    const [posed] = first;
    // While it is planned, nothing of it is posed again, and what is new there waits.
    desk.add(request('c3', { allowedSites: [c] }));
    expect(names(desk.pose(2, free, tuning).posed).flat()).not.toContain('c3');
    const { commits } = desk.settle(posed!, solvePortfolio(posed!.problem, { seed: 1, timeMs: 0 }), free);
    expect(commits).toHaveLength(1);
    // Nothing changed for the others: they are left alone, until something does.
    expect(desk.pose(3, full, tuning).posed).toEqual([]);
    const atD = full.map((one) => (one.siteId === d ? { ...one, busySlots: 0 } : one));
    expect(names(desk.pose(4, atD, tuning).posed)).toEqual([['d1']]);
  });

  it('is at most so many at once, and who waits for a full site keeps nobody from a free one', () => {
    const turnMax = 5;
    const stuck = Array.from({ length: turnMax + 3 }, (_, at) =>
      request(`stuck${at}`, { allowedSites: [a], priority: 9 }),
    );
    const desk = deskWith(
      ...stuck,
      request('free', { allowedSites: [b] }),
      request('lost', { allowedSites: [d] }),
    );
    const [atA, atB] = [site(a, 1), site(b, 0)];
    const first = desk.pose(0, [atA, atB], { ...tuning, turnMax });
    expect(names(first.posed)).toEqual([['free']]);
    expect(first.refused.map(({ taskId }) => taskId)).toEqual(['lost']);
    // Once there is room, all come, a turn each.
    const served: string[] = [];
    for (let nowMs = 1; nowMs <= 2 * stuck.length; nowMs += 1) {
      const now = [site(a, nowMs % 2), atB];
      const { posed } = desk.pose(nowMs, now, { ...tuning, turnMax });
      for (const one of posed) {
        expect(one.requests.length).toBeLessThanOrEqual(turnMax);
        const { commits } = desk.settle(one, solvePortfolio(one.problem, { seed: 1, timeMs: 0 }), now);
        served.push(...commits.map(({ request: { taskId } }) => taskId));
      }
    }
    expect(served.toSorted()).toEqual(stuck.map(({ taskId }) => taskId).toSorted());
  });

  it('an affinity token ties two parts together, and a lost site touches its part', () => {
    const token = 'f'.repeat(32);
    const desk = deskWith(
      request('x', { allowedSites: [a], affinity: token }),
      request('y', { allowedSites: [c], affinity: token }),
      request('z', { allowedSites: [d] }),
    );
    const immediate = { ...tuning, deferred: false };
    const sites = [a, c, d].map((siteId) => site(siteId, 0));
    expect(names(desk.pose(0, sites, immediate).posed)).toEqual([['x', 'y'], ['z']]);
  });

  it('a site lost while its part is planned: what was placed there is posed again with what is left', () => {
    const desk = deskWith(request('x'));
    const sites = [site(a, 0), site(b, 0, { slots: 0 })];
    const immediate = { ...tuning, deferred: false };
    const [posed] = desk.pose(0, sites, immediate).posed;
    const plan = solvePortfolio(posed!.problem, { seed: 1, timeMs: 0 });
    expect(plan.assignments[0]?.siteId).toBe(a);
    const left = [site(b, 0)];
    expect(desk.settle(posed!, plan, left)).toEqual({ commits: [], refused: [] });
    const [again] = desk.pose(1, left, immediate).posed;
    expect(again?.requests.map(({ taskId }) => taskId)).toEqual(['x']);
    expect(desk.decide(1, left, immediate).commits).toEqual([]);
  });

  it('emergencies go first and into the slots kept for them; the others get what is left', () => {
    const desk = deskWith(
      request('ward', { allowedSites: [a], priority: 4 }),
      request('emergency', { allowedSites: [a], priority: 9 }),
    );
    const immediate = { ...tuning, deferred: false, queuePerSlot: 0 };
    const sites = [site(a, 2, { slots: 2, emergencySlots: 1 })];
    const { commits, refused } = desk.decide(0, sites, immediate);
    expect(commits.map(({ request: { taskId } }) => taskId)).toEqual(['emergency']);
    expect(refused.map(({ taskId }) => taskId)).toEqual(['ward']);
    const held = deskWith(request('ward', { allowedSites: [a], priority: 4 }));
    expect(held.decide(0, sites, tuning).commits).toEqual([]);
    expect(held.open()).toHaveLength(1);
  });
});

/** The parts of a problem, each a problem of its own. */
const partsOf = ({ tasks, sites, couplings = [] }: Problem): Problem[] =>
  planningComponents(
    tasks.map(({ options }) => options.map(({ siteId }) => siteId)),
    couplings,
  ).map((component) => {
    const at = new Map(component.map((task, index) => [task, index]));
    const own = component.map((task) => tasks[task]!);
    const used = new Set(own.flatMap(({ options }) => options.map(({ siteId }) => siteId)));
    return {
      tasks: own,
      sites: sites.filter(({ siteId }) => used.has(siteId)),
      couplings: couplings.flatMap(({ first, second, weight }) =>
        at.has(first) ? [{ first: at.get(first)!, second: at.get(second)!, weight }] : [],
      ),
    };
  });

it('the parts planned by themselves cost what the whole plan costs', () => {
  fc.assert(
    fc.property(fullProblemArbitrary, (problem) => {
      const linear: Problem = {
        tasks: problem.tasks,
        sites: problem.sites.map(({ siteId, slotCosts }) => ({ siteId, slotCosts })),
      };
      const whole = solvePortfolio(linear, { seed: 1, timeMs: 0 });
      const parts = partsOf(linear).map((part) => solvePortfolio(part, { seed: 1, timeMs: 0 }));
      const sum = parts.reduce((total, { cost }) => total + cost.total, 0);
      expect(sum).toBe(whole.cost.total);
      expect(partsOf(problem).flatMap(({ tasks }) => tasks)).toHaveLength(problem.tasks.length);
    }),
  );
});
