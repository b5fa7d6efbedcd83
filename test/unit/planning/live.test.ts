/** The live planner under a changing load, on a clock of the test: what it commits, what it holds open, what it says of itself. */
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createLivePlanner } from '../../../coordinator/planning/live.ts';
import { registerPlanningMetrics } from '../../../coordinator/planning/metrics.ts';
import { coherenceStatus, optimizationStatus, quantumStatus } from '../../../coordinator/planning/status.ts';
import type { Placement, PlacementRequest } from '../../../coordinator/relay/placement.ts';
import { SiteId } from '../../../shared/ids.ts';
import { seeded } from '../../../shared/seeded.ts';
import { planText } from '../../../shared/cli/plan.ts';
import { CoherenceStatus, OptimizationStatus, PlanRecord, QuantumStatus } from '../../../shared/wire/plan.ts';
import type { Telemetry } from '../../../shared/wire/session.ts';

const siteOf = (name: string): SiteId => SiteId.parse(name);
const [fast, slow, third] = [siteOf('fast'), siteOf('slow'), siteOf('third')];
const request = (rest: Partial<PlacementRequest> = {}): PlacementRequest => ({
  model: 'm',
  candidates: [fast, slow, third],
  priority: 5,
  sizeBucketBytes: 256,
  ...rest,
});
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const plannerOver = (slots: ReadonlyMap<SiteId, number>) => {
  let nowMs = 1_000;
  const online = new Set(slots.keys());
  const ages = new Map<SiteId, number>();
  const telemetry = (site: SiteId): Telemetry => ({
    atMs: 0,
    source: 'measured',
    draining: false,
    records: false,
    budgetTenths: null,
    models: [{ id: 'm', slots: slots.get(site) ?? 0, inFlight: 0, waiting: 0, firstTokenMs: null }],
  });
  const presence = {
    online: () => [...online],
    telemetry: (site: SiteId) => (online.has(site) ? telemetry(site) : undefined),
    telemetryAgeMs: (site: SiteId) => ages.get(site) ?? 0,
  };
  const planSeconds: number[] = [];
  const planner = createLivePlanner({
    presence,
    clock: { nowMs: () => nowMs, monotonicMs: () => nowMs },
    meters: { planned: (seconds) => void planSeconds.push(seconds) },
    tuning: () => ({ strategy: 'balanced', queueFactor: 1 }),
    failed: (error) => {
      throw error;
    },
  });
  const pass = (ms: number) => void (nowMs += ms);
  return { planner, presence, online, ages, planSeconds, pass };
};

/** Serves a busy spell whose replay shows that waiting for the fast site pays. */
const busySpell = async ({ planner, pass }: ReturnType<typeof plannerOver>): Promise<void> => {
  for (let at = 0; at < 10; at += 1)
    for (const [site, ms] of [
      [fast, 100],
      [slow, 1_500],
      [third, 1_200],
    ] as const)
      planner.predictor.observe(site, 'm', ms + (at % 3) * 10, 256);
  const predictedMs = new Map([
    [fast, 110],
    [slow, 130],
    [third, 120],
  ]);
  const random = seeded(7);
  for (let at = 0; at < 300; at += 1)
    planner.deferral.served({
      arrivedMs: at * 55,
      sizeBucketBytes: 256,
      priority: 5,
      deadlineMs: at * 55 + 600_000,
      predictedMs,
      site: fast,
      // What was predicted alike takes very different times: whoever was bound early waits behind the long ones.
      serviceMs: random.below(6) === 0 ? 600 : 20,
    });
  pass(40_000);
  (await planner.place(request()))?.done(null);
  for (let turn = 0; turn < 800 && planner.deferral.value === null; turn += 1) await pause(10);
};

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

  it('no figure stands still under a changing load', async () => {
    const bench = plannerOver(slots);
    const { planner, ages, pass } = bench;
    const registry = new Registry();
    registerPlanningMetrics(registry, planner);
    const seen = new Map<string, Set<number>>();
    const scrape = async () => {
      for (const { name, values } of await registry.getMetricsAsJSON())
        for (const { value } of values) seen.set(name, (seen.get(name) ?? new Set()).add(value));
    };
    await scrape();
    await busySpell(bench);
    const held: Placement[] = [];
    const take = (one: PlacementRequest) =>
      planner.place(one).then((placement) => placement && held.push(placement));
    // Equal predictions with wide errors: the ensemble cannot tell the sites apart.
    for (let at = 0; at < 80; at += 1)
      for (const site of [fast, slow, third])
        planner.predictor.observe(site, 'm', at % 2 === 0 ? 200 : 1_800, 256);
    for (let wave = 0; wave < 14; wave += 1) {
      for (let at = 0; at < 2 + (wave % 4); at += 1) {
        const affinity = wave % 2 === 0 ? String(wave % 10).repeat(32) : undefined;
        void take(request({ affinity, priority: at, expiresMs: 10_000_000 }));
      }
      for (const site of [fast, slow, third]) ages.set(site, 500 * (wave % 5));
      await pause(5);
      pass(1_500);
      for (const placement of held.splice(0, 2)) placement.done(5);
      await pause(60);
      await scrape();
    }
    planner.close();
    for (const name of [
      'superposition_tasks_active',
      'quantum_coherence_utilization',
      'entanglement_strength_avg',
      'interference_optimization_gain',
      'quantum_optimization_efficiency',
      'qfl_planning_waiting',
      'qfl_planning_planned',
      'qfl_planning_deferral_value_seconds',
    ]) {
      const measured = [...(seen.get(name) ?? [])].filter((value) => !Number.isNaN(value));
      // NaN, "does not apply now", is a value of its own.
      expect([name, (seen.get(name)?.size ?? 0) > 1]).toEqual([name, true]);
      expect([name, measured.length > 0]).toEqual([name, true]);
    }
  });
});
