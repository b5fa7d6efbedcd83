/** The live planner under a changing load, on a clock of the test: what it commits, what it holds open, what it says of itself. */
import { describe, expect, it } from 'vitest';
import { coherenceStatus, optimizationStatus, quantumStatus } from '../../../coordinator/planning/status.ts';
import type { Placement } from '../../../coordinator/relay/placement.ts';
import { planText } from '../../../shared/cli/plan.ts';
import { busySpell, fast, pause, plannerOver, request, slow, third } from './live-bench.ts';
import { CoherenceStatus, OptimizationStatus, PlanRecord, QuantumStatus } from '../../../shared/wire/plan.ts';

const slots = new Map([
  [fast, 1],
  [slow, 1],
  [third, 1],
]);

describe('the live planner', () => {
  it('commits at once while nothing is measured, and says why', async () => {
    const { planner, planSeconds } = plannerOver(slots);
    const placements = await Promise.all(
      [request(), request(), request(), request()].map((one) => planner.place(one)),
    );
    expect(placements.every((placement) => placement !== undefined)).toBe(true);
    const status = QuantumStatus.parse(quantumStatus(planner, planSeconds));
    expect(status.superposition).toMatchObject({ waiting: 0, deferral: { isOn: false, savedMs: null } });
    expect(status.superposition.deferral.why).toMatch(/not measured yet/);
    planner.close();
  });

  it('plans on when a site tells of itself what cannot be', async () => {
    for (const absurd of [{ serviceMs: 1e12 }, { firstTokenMs: 1e15 }, { tokenPriceMicros: 1e15 }]) {
      const { planner } = plannerOver(slots, { offer: (site) => (site === fast ? absurd : {}) });
      expect([absurd, await planner.place(request())]).toEqual([absurd, expect.anything()]);
      planner.close();
    }
  });

  it('switches deferral on only by measured value, then holds open what has no free slot, and lets go of it', async () => {
    const bench = plannerOver(slots);
    const { planner, planSeconds, pass } = bench;
    await busySpell(bench);
    expect(planner.deferral.isOn).toBe(true);
    expect(planner.deferral.value?.lowMs).toBeGreaterThan(0);
    expect(quantumStatus(planner, planSeconds).superposition.deferral.why).toMatch(/held open/);
    const first = await planner.place(request({ queryId: 'a'.repeat(32) }));
    expect(first?.site).toBe(fast);
    // The slow sites are free and not worth it: the second waits for the fast one.
    let second: Placement | undefined;
    const held = planner
      .place(request({ queryId: 'b'.repeat(32) }))
      .then((placement) => void (second = placement));
    await pause(20);
    expect(second).toBeUndefined();
    expect(planner.waiting).toBe(1);
    pass(80);
    first?.done(10);
    await held;
    expect(second?.site).toBe(fast);
    expect(planner.records.get('b'.repeat(32))).toMatchObject({ commit: 'slot', waitedMs: 80 });
    planner.close();
  });

  it('plans again at once when the site that was waited for is lost, and drops whoever hangs up', async () => {
    const bench = plannerOver(slots);
    const { planner, online } = bench;
    await busySpell(bench);
    await planner.place(request());
    const moved = planner.place(request());
    const gone = new AbortController();
    const dropped = planner.place(request({ signal: gone.signal }));
    await pause(10);
    expect(planner.waiting).toBe(2);
    gone.abort();
    expect(await dropped).toBeUndefined();
    planner.sitesChanged();
    online.delete(fast);
    planner.sitesChanged();
    expect([slow, third]).toContain((await moved)?.site);
    expect(planner.observatory.report().triggers.site_lost).toBe(1);
    expect(planner.observatory.report().replansMs).toHaveLength(1);
    expect(await planner.place(request({ candidates: [fast] }))).toBeUndefined();
    planner.close();
  });

  it('keeps a conversation where it is warm, places a prefix together, and explains it', async () => {
    const { planner, presence, planSeconds } = plannerOver(
      new Map([
        [fast, 4],
        [slow, 4],
      ]),
    );
    for (const site of [fast, slow])
      for (let at = 0; at < 10; at += 1) planner.predictor.observe(site, 'm', 500 + at, 256);
    const affinity = 'c'.repeat(32);
    const turns = await Promise.all(
      Array.from({ length: 3 }, (_, at) => planner.place(request({ affinity, queryId: `${at}`.repeat(32) }))),
    );
    expect(new Set(turns.map((turn) => turn?.site)).size).toBe(1);
    const [home] = turns.map((turn) => turn?.site);
    expect((await planner.place(request({ affinity })))?.site).toBe(home);
    const record = PlanRecord.parse(planner.records.get('1'.repeat(32)));
    expect(record).toMatchObject({ solver: 'coupled', batch: 3, site: home });
    expect(record.couplings.length).toBeGreaterThan(0);
    expect(record.bound).toBeLessThanOrEqual(record.cost);
    const text = planText(record);
    expect(text).toMatch(/sharing a site saves/);
    expect(text).toMatch(/excluded: not online/);
    expect(text).toMatch(new RegExp(`went to ${home}`));
    expect(CoherenceStatus.safeParse(coherenceStatus(planner, presence, presence.online())).success).toBe(
      true,
    );
    expect(OptimizationStatus.parse(optimizationStatus(planner)).solvers).toHaveProperty('coupled');
    expect(QuantumStatus.safeParse(quantumStatus(planner, planSeconds)).success).toBe(true);
    planner.close();
  });

  it('counts tokens as the sites report them, and those that went there since', async () => {
    const { planner } = plannerOver(
      new Map([
        [fast, 8],
        [slow, 8],
      ]),
      { offer: (site) => (site === fast ? { tokensMax: 1_200, tokensInUse: 0 } : {}) },
    );
    for (let at = 0; at < 10; at += 1) {
      planner.predictor.observe(fast, 'm', 100, 256);
      planner.predictor.observe(slow, 'm', 900, 256);
    }
    // A prompt of 256 bytes and an answer are 576 tokens: two fit, whether they come together or one after another.
    const two = await Promise.all([planner.place(request()), planner.place(request())]);
    expect(two.map((one) => one?.site)).toEqual([fast, fast]);
    expect((await planner.place(request({ queryId: 'd'.repeat(32) })))?.site).toBe(slow);
    expect(planner.records.get('d'.repeat(32))?.candidates.find(({ site }) => site === fast)).toMatchObject({
      busyTokens: 1_152,
      tokensMax: 1_200,
    });
    two[0]?.done(5);
    const three = await Promise.all([planner.place(request()), planner.place(request())]);
    expect(new Set(three.map((one) => one?.site))).toEqual(new Set([fast, slow]));
    planner.close();
  });

  it('keeps reserved slots for emergencies, and gives them to those', async () => {
    const { planner } = plannerOver(new Map([[fast, 0]]), { offer: () => ({ emergencySlots: 1 }) });
    const ward = planner.place(request({ candidates: [fast], priority: 7 }));
    const emergency = planner.place(request({ candidates: [fast], priority: 8 }));
    expect((await emergency)?.site).toBe(fast);
    expect(await ward).toBeUndefined();
    planner.close();
  });

  it('asks the cheaper of two like sites, stays home if it can, and says what that was worth', async () => {
    const prices = new Map([
      [slow, 40_000],
      [third, 2_000],
    ]);
    const slotsOfTwo = new Map([...prices.keys()].map((site) => [site, 4]));
    const { planner } = plannerOver(slotsOfTwo, {
      offer: (site) => ({ tokenPriceMicros: prices.get(site) ?? null }),
    });
    for (const site of prices.keys())
      for (let at = 0; at < 10; at += 1) planner.predictor.observe(site, 'm', 500, 256);
    const queryId = 'e'.repeat(32);
    expect((await planner.place(request({ queryId, sender: fast })))?.site).toBe(third);
    const record = planner.records.get(queryId);
    // 576 tokens at 0.002 a thousand; five milliseconds a thousandth.
    expect(record?.costParts.money).toBe(6);
    expect(record?.costParts.privacy).toBe(50);
    expect(record?.costParts).toMatchObject({ coupling: 0, waiting: 0 });
    const home = plannerOver(slotsOfTwo);
    for (let turn = 0; turn < 5; turn += 1) {
      const placement = await home.planner.place(request({ sender: slow, candidates: [slow, third] }));
      expect(placement?.site).toBe(slow);
      placement?.done(null);
    }
    planner.close();
    home.planner.close();
  });
});
