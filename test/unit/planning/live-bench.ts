/** A live planner over three sites, on a clock of the test. */
import { createLivePlanner } from '../../../coordinator/planning/live.ts';
import type { PlacementRequest } from '../../../coordinator/relay/placement.ts';
import { SiteId } from '../../../shared/ids.ts';
import { seeded } from '../../../shared/seeded.ts';
import type { Telemetry } from '../../../shared/wire/session.ts';

const siteOf = (name: string): SiteId => SiteId.parse(name);
export const [fast, slow, third] = [siteOf('fast'), siteOf('slow'), siteOf('third')];
export const request = (rest: Partial<PlacementRequest> = {}): PlacementRequest => ({
  model: 'm',
  candidates: [fast, slow, third],
  priority: 5,
  sizeBucketBytes: 256,
  ...rest,
});
export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param elapsedMs what the clock adds by itself */
export const plannerOver = (
  slots: ReadonlyMap<SiteId, number>,
  {
    elapsedMs = () => 0,
    meters,
    offer = () => ({}),
  }: {
    readonly elapsedMs?: () => number;
    readonly meters?: { planned(seconds: number): void };
    /** What a site says of its model beside its slots. */
    readonly offer?: (site: SiteId) => Partial<Telemetry['models'][number]>;
  } = {},
) => {
  let nowMs = 1_000;
  const online = new Set(slots.keys());
  const ages = new Map<SiteId, number>();
  const telemetry = (site: SiteId): Telemetry => ({
    atMs: 0,
    source: 'measured',
    draining: false,
    records: false,
    budgetTenths: null,
    models: [
      { id: 'm', slots: slots.get(site) ?? 0, inFlight: 0, waiting: 0, firstTokenMs: null, ...offer(site) },
    ],
  });
  const presence = {
    online: () => [...online],
    telemetry: (site: SiteId) => (online.has(site) ? telemetry(site) : undefined),
    telemetryAgeMs: (site: SiteId) => ages.get(site) ?? 0,
  };
  const planSeconds: number[] = [];
  const planner = createLivePlanner({
    presence,
    clock: { nowMs: () => nowMs + elapsedMs(), monotonicMs: () => nowMs + elapsedMs() },
    meters: meters ?? { planned: (seconds) => void planSeconds.push(seconds) },
    tuning: () => ({ strategy: 'balanced', queueFactor: 1 }),
    failed: (error) => {
      throw error;
    },
  });
  const pass = (ms: number) => void (nowMs += ms);
  return { planner, presence, online, ages, planSeconds, pass };
};

/** Serves a busy spell whose replay shows that waiting for the fast site pays. */
export const busySpell = async ({ planner, pass }: ReturnType<typeof plannerOver>): Promise<void> => {
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
