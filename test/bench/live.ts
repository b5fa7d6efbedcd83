/**
 * `live [--rate N] [--seconds S] [--sites N]`: the live planner (not the network) under N queries a second for S seconds, on the real clock and event loop: time from
 * asking for a place to having one, time spent planning, and the longest the event loop was kept. Sites are simulated by timers; services
 * take 50 ms to 2 s, and at the default rate the slots are nearly all in use.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { percentile } from '../../coordinator/metrics.ts';
import { createLivePlanner } from '../../coordinator/planning/live.ts';
import { systemClock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';

export const usage = '[--rate N] [--seconds S] [--sites N]';

const [RATE, SECONDS, SITES] = [200, 10, 10];
/** What was asked of planning. */
const ASKED_P95_MS = 3_000;
const SLOTS = 16;
const CANDIDATES = 3;

export interface LiveRow {
  readonly rate: number;
  readonly sites: number;
  readonly placed: number;
  readonly refused: number;
  readonly planningMsP50: number | null;
  readonly planningMsP95: number | null;
  readonly placementMsP95: number | null;
  readonly loopDelayMsMax: number;
  readonly cpuShare: number;
}

const optionOf = (text: string | undefined, otherwise: number): number => {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new QflError('invalid_request', { detail: 'rate, seconds and sites are above 0' });
  return value;
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const load = async (rate: number, seconds: number, siteCount: number): Promise<LiveRow> => {
  const random = seeded(1);
  const sites = Array.from({ length: siteCount }, (_, at) => SiteId.parse(`site-${at}`));
  const planSeconds: number[] = [];
  const planner = createLivePlanner({
    presence: {
      online: () => sites,
      telemetry: () => ({
        atMs: 0,
        source: 'measured',
        draining: false,
        records: false,
        budgetTenths: null,
        models: [{ id: 'm', slots: SLOTS, inFlight: 0, waiting: 0, firstTokenMs: null }],
      }),
      telemetryAgeMs: () => 1_000,
    },
    clock: systemClock,
    meters: { planned: (took) => void planSeconds.push(took) },
    tuning: () => ({ strategy: 'adaptive', queueFactor: 1 }),
    failed: (error) => {
      throw error;
    },
  });
  const placementMs: number[] = [];
  let refused = 0;
  const ask = async (): Promise<void> => {
    const begunMs = systemClock.monotonicMs();
    const first = random.below(siteCount);
    const placement = await planner.place({
      model: 'm',
      candidates: Array.from(
        { length: Math.min(CANDIDATES, siteCount) },
        (_, at) => sites[(first + at) % siteCount]!,
      ),
      priority: random.below(10),
      sizeBucketBytes: 2 ** (8 + random.below(6)),
      expiresMs: systemClock.nowMs() + 60_000,
    });
    if (placement === undefined) return void (refused += 1);
    placementMs.push(systemClock.monotonicMs() - begunMs);
    await pause(50 * 40 ** random.uniform());
    placement.done(20);
  };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const cpu = process.cpuUsage();
  const startMs = systemClock.monotonicMs();
  const asked: Promise<void>[] = [];
  while (systemClock.monotonicMs() - startMs < seconds * 1_000) {
    const due = Math.floor(((systemClock.monotonicMs() - startMs) * rate) / 1_000);
    while (asked.length < due) asked.push(ask());
    await pause(2);
  }
  const { user, system } = process.cpuUsage(cpu);
  delay.disable();
  planner.close();
  await Promise.all(asked);
  const planMs = planSeconds.map((took) => took * 1_000);
  return {
    rate,
    sites: siteCount,
    placed: placementMs.length,
    refused,
    planningMsP50: percentile(planMs, 0.5),
    planningMsP95: percentile(planMs, 0.95),
    placementMsP95: percentile(placementMs, 0.95),
    loopDelayMsMax: delay.max / 1e6,
    cpuShare: (user + system) / 1e6 / seconds,
  };
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<LiveRow> => {
  const { values } = parseArgs({
    args: [...args],
    options: { rate: { type: 'string' }, seconds: { type: 'string' }, sites: { type: 'string' } },
  });
  const row = await load(
    optionOf(values.rate, RATE),
    optionOf(values.seconds, SECONDS),
    optionOf(values.sites, SITES),
  );
  const shown = (value: number | null): string => (value === null ? '–' : value.toFixed(2));
  if (json) console.log(JSON.stringify(row));
  else
    console.log(
      [
        `${row.rate} queries a second over ${row.sites} sites: ${row.placed} placed, ${row.refused} refused`,
        `planning p50 ${shown(row.planningMsP50)} ms, p95 ${shown(row.planningMsP95)} ms (asked: ${ASKED_P95_MS} ms)`,
        `from asking to a place p95 ${shown(row.placementMsP95)} ms`,
        `event loop kept at most ${shown(row.loopDelayMsMax)} ms; ${(row.cpuShare * 100).toFixed(0)} % of one processor`,
      ].join('\n'),
    );
  return row;
};
