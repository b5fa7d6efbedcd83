import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { verifyCoupled } from '../../../coordinator/planning/verify-coupled.ts';
import { Block } from '../../../coordinator/solvers/coupled/block.ts';
import { coupledBound, SHARE_SCALE, solveLinear } from '../../../coordinator/solvers/coupled/bound.ts';
import { type CoupledInstance, coupledCost } from '../../../coordinator/solvers/coupled/instance.ts';
import { Mixer } from '../../../coordinator/solvers/coupled/mixing.ts';
import { Replica, smallInstanceOf } from '../../../coordinator/solvers/coupled/replica.ts';
import { solveCoupled } from '../../../coordinator/solvers/coupled/solve.ts';
import { greedyCoupled, makeCoupled } from '../../bench/coupled.ts';

const solve = (instance: CoupledInstance, seed = 1, timeMs = 60) =>
  solveCoupled(instance, { timeMs, seed, nowMs: () => performance.now() });

const problemOf = (instance: CoupledInstance) => ({
  ...instance,
  couplings: Array.from(instance.weights, (weight, at) => ({
    first: instance.first[at] ?? -1,
    second: instance.second[at] ?? -1,
    weight,
  })),
});

const anyInstance: fc.Arbitrary<CoupledInstance> = fc
  .record({ tasks: fc.integer({ min: 1, max: 6 }), sites: fc.integer({ min: 1, max: 3 }) })
  .chain(({ tasks, sites }) => {
    const pair = fc.tuple(fc.nat(tasks - 1), fc.nat(tasks - 1), fc.integer({ min: -20, max: 20 }));
    return fc.record({
      tasks: fc.constant(tasks),
      sites: fc.constant(sites),
      costs: fc
        .array(
          fc.oneof(
            { weight: 9, arbitrary: fc.integer({ min: -5, max: 30 }) },
            { weight: 1, arbitrary: fc.constant(Infinity) },
          ),
          { minLength: tasks * sites, maxLength: tasks * sites },
        )
        // The last site takes whatever is left: there is always a plan.
        .map((costs) =>
          Float64Array.from(costs, (cost, at) => (at % sites === sites - 1 && cost === Infinity ? 31 : cost)),
        ),
      slots: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: sites, maxLength: sites }),
      pairs: fc.array(pair, { maxLength: 8 }).map((pairs) => pairs.filter(([a, b]) => a !== b)),
      step: fc.integer({ min: 0, max: 5 }),
    });
  })
  .map(({ tasks, sites, costs, slots, pairs, step }) => ({
    tasks,
    sites,
    costs,
    slotCosts: slots.map((count, site) =>
      Array.from({ length: site === sites - 1 ? tasks : count }, (_, at) => at * step),
    ),
    first: Int32Array.from(pairs, ([a]) => a),
    second: Int32Array.from(pairs, ([, b]) => b),
    weights: Float64Array.from(pairs, ([, , weight]) => weight),
  }));

const bruteForce = (instance: CoupledInstance): number => {
  const siteOf = new Int32Array(instance.tasks);
  let best = Infinity;
  for (let code = 0; code < instance.sites ** instance.tasks; code += 1) {
    let rest = code;
    for (let task = 0; task < instance.tasks; task += 1) {
      siteOf[task] = rest % instance.sites;
      rest = Math.floor(rest / instance.sites);
    }
    best = Math.min(best, coupledCost(instance, siteOf));
  }
  return best;
};

test('small instances: the optimum, and a bound that its certificate proves', () => {
  fc.assert(
    fc.property(anyInstance, (instance) => {
      const { siteOf, cost, bound } = solve(instance);
      expect(cost).toBe(bruteForce(instance));
      const check = verifyCoupled(problemOf(instance), siteOf, {
        scale: SHARE_SCALE,
        shares: bound.shares,
        prices: bound.prices,
      });
      expect(check).toMatchObject({ faults: [], cost });
      expect(check.bound).toBeGreaterThanOrEqual(bound.bound);
      expect(bound.bound).toBeLessThanOrEqual(cost);
    }),
    { numRuns: 60 },
  );
});

test('no bound is above the optimum, whatever the instance, and its certificate proves it', () => {
  fc.assert(
    fc.property(anyInstance, fc.integer({ min: 1, max: 60 }), (instance, iterationsMax) => {
      const optimum = bruteForce(instance);
      const bound = coupledBound(instance, {
        iterationsMax,
        deadlineMs: Infinity,
        nowMs: () => 0,
        target: optimum,
      });
      expect(bound.bound).toBeLessThanOrEqual(optimum);
      const { tasks, sites } = instance;
      const waiting = Int32Array.from({ length: tasks }, () => sites - 1);
      const check = verifyCoupled(problemOf(instance), waiting, { scale: SHARE_SCALE, ...bound });
      expect(check).toMatchObject({ faults: [], bound: bound.bound });
    }),
    { numRuns: 3_000 },
  );
});

test('without couplings the bound is the optimum at once, and the search knows that it is done', () => {
  const instance = { ...makeCoupled(60, 5, 2), first: Int32Array.of(), second: Int32Array.of() };
  const { cost, flowCost, proven, bound } = solve({ ...instance, weights: Float64Array.of() }, 1, 60_000);
  expect({ cost, proven }).toEqual({ cost: flowCost, proven: true });
  expect(bound.bound).toBe(cost);
});

describe('the parts of the search on small instances', () => {
  const walk = (instance: CoupledInstance, seed: number, temperature: number): Replica => {
    const start = solveLinear(instance.tasks, instance.slotCosts, instance.costs).siteOf;
    const replica = new Replica(smallInstanceOf(instance), start);
    replica.run(temperature, 200, seed);
    return replica;
  };
  const anySeed = fc.integer({ min: 1, max: 1_000_000 });

  test('a replica knows its cost and never leaves the rules', () => {
    fc.assert(
      fc.property(anyInstance, anySeed, (instance, seed) => {
        const replica = walk(instance, seed, 10);
        expect(replica.cost).toBe(coupledCost(instance, replica.siteOf));
        expect(replica.bestCost).toBe(coupledCost(instance, replica.best));
        expect(replica.cost).toBeLessThan(Infinity);
      }),
      { numRuns: 500 },
    );
  });

  test('a deal knows its cost and never leaves the rules', () => {
    let moved = 0;
    fc.assert(
      fc.property(
        anyInstance,
        anySeed,
        fc.double({ min: 0.1, max: 50, noNaN: true }),
        (instance, seed, heat) => {
          const replica = walk(instance, seed, 20);
          const block = new Block(smallInstanceOf(instance));
          let noise = seed;
          for (let deal = 0; deal < 12 && instance.sites > 1; deal += 1) {
            const first = deal % instance.sites;
            const before = Int32Array.from(replica.siteOf);
            noise = block.deal(replica, first, (first + 1) % instance.sites, heat, noise);
            moved += replica.siteOf.some((site, task) => site !== before[task]) ? 1 : 0;
            expect(replica.cost).toBe(coupledCost(instance, replica.siteOf));
            expect(replica.cost).toBeLessThan(Infinity);
          }
        },
      ),
      { numRuns: 500 },
    );
    expect(moved).toBeGreaterThan(500);
  });

  test('deals draw plans as often as Gibbs says', () => {
    const temperature = 15;
    const made = makeCoupled(6, 3, 3);
    const slotCosts = made.slotCosts.map((slots, site) => slots.map((_, at) => 4 * at * site));
    const instance = { ...made, slotCosts };
    const likely = new Map<string, number>();
    for (let code = 0; code < 3 ** 6; code += 1) {
      const siteOf = Array.from({ length: 6 }, (_, task) => Math.floor(code / 3 ** task) % 3);
      const odds = Math.exp(-coupledCost(instance, siteOf) / temperature);
      if (odds > 0) likely.set(siteOf.join(''), odds);
    }
    const total = [...likely.values()].reduce((sum, odds) => sum + odds, 0);
    const replica = walk(instance, 7, 20);
    const block = new Block(smallInstanceOf(instance));
    const drawn = new Map<string, number>();
    const deals = 300_000;
    let noise = 12_345;
    for (let deal = 0; deal < deals; deal += 1) {
      noise = block.deal(replica, deal % 3, (deal + 1) % 3, temperature, noise);
      const plan = replica.siteOf.join('');
      drawn.set(plan, (drawn.get(plan) ?? 0) + 1);
    }
    const apart = [...likely].reduce(
      (sum, [plan, odds]) => sum + Math.abs(odds / total - (drawn.get(plan) ?? 0) / deals) / 2,
      0,
    );
    expect(apart).toBeLessThan(0.02);
  });

  test('a mixture is as good as it says, fits, and is no worse than either plan', () => {
    let mixed = 0;
    fc.assert(
      fc.property(anyInstance, anySeed, (instance, seed) => {
        const [base, other] = [walk(instance, seed, 20), walk(instance, seed + 1, 20)];
        const mixer = new Mixer(smallInstanceOf(instance));
        const gain = mixer.mix(base.siteOf, other.siteOf);
        if (gain === 0) return;
        mixed += 1;
        expect(coupledCost(instance, mixer.mixed)).toBe(base.cost + gain);
        expect(base.cost + gain).toBeLessThanOrEqual(Math.min(base.cost, other.cost));
      }),
      { numRuns: 1_000 },
    );
    expect(mixed).toBeGreaterThan(50);
  });
});

test('a larger one: better than the flow plan and greedy, a near bound, and by a clock that counts looks the same twice', () => {
  const instance = makeCoupled(80, 6, 5);
  const solveByLooks = () => {
    let looks = 0;
    return solveCoupled(instance, { timeMs: 1_500, seed: 3, nowMs: () => (looks += 1) });
  };
  const { siteOf, cost, flowCost, bound } = solveByLooks();
  expect(cost).toBeLessThan(flowCost);
  expect(cost).toBeLessThan(coupledCost(instance, greedyCoupled(instance)));
  expect(bound.bound).toBeGreaterThan(0.93 * cost);
  expect(solveByLooks()).toMatchObject({ siteOf, cost });
});

describe('the checker', () => {
  const instance = makeCoupled(10, 3, 7);
  const { siteOf, bound } = solve(instance);
  const certificate = { scale: SHARE_SCALE, shares: bound.shares, prices: bound.prices };

  test('names a site with too many tasks, a share out of range, a price that is no integer', () => {
    const crowded = Int32Array.from(siteOf, () => 0);
    expect(verifyCoupled(problemOf(instance), crowded, certificate).faults.join()).toContain(
      'more tasks than slots',
    );
    const shares = Int32Array.from(bound.shares, () => SHARE_SCALE + 1);
    expect(verifyCoupled(problemOf(instance), siteOf, { ...certificate, shares }).faults.join()).toContain(
      'out of range',
    );
    const prices = Float64Array.from(bound.prices, () => Number.NaN);
    expect(verifyCoupled(problemOf(instance), siteOf, { ...certificate, prices }).faults.join()).toContain(
      'integers',
    );
  });

  test('a forged bound is caught: prices too high for what the slots give back', () => {
    const prices = Float64Array.from(bound.prices, (price) => price + 10_000 * SHARE_SCALE);
    const { bound: proven } = verifyCoupled(problemOf(instance), siteOf, { ...certificate, prices });
    expect(proven).toBeLessThan(bound.bound);
  });
});

describe('what is refused', () => {
  const instance = makeCoupled(4, 2, 1);
  test.each<[string, Partial<CoupledInstance>, string]>([
    [
      'a coupling to a missing task',
      { first: Int32Array.of(9), second: Int32Array.of(0), weights: Float64Array.of(1) },
      'invalid_request',
    ],
    [
      'a task coupled to itself',
      { first: Int32Array.of(1), second: Int32Array.of(1), weights: Float64Array.of(1) },
      'invalid_request',
    ],
    ['a cost that is no number', { costs: new Float64Array(8).fill(Number.NaN) }, 'invalid_request'],
    ['costs that do not add exactly', { costs: new Float64Array(8).fill(2 ** 42) }, 'invalid_request'],
    ['no sites', { sites: 0, costs: new Float64Array(0), slotCosts: [] }, 'invalid_request'],
    ['fewer slots than tasks', { slotCosts: [[0], [0]] }, 'site_unavailable'],
  ])('%s', (_name, change, code) => {
    expect(() => solve({ ...instance, ...change })).toThrow(expect.objectContaining({ code }));
  });
});
