/**
 * `live [--rate N] [--seconds S] [--sites N]`: the live planner (not the network) under N queries a second for S seconds, on the real clock and event loop: time from
 * asking for a place to having one, time spent planning, and the longest the event loop was kept. Sites are simulated by timers; services
 * take 50 ms to 2 s, at the default rate most slots are in use, and tokens run out at times; every fourth query belongs to a conversation. At the end ten thousand
 * ask at once, and the longest wait of the event loop through that is told by itself.
 */
import { Worker } from 'node:worker_threads';
import { parseArgs } from 'node:util';
import { percentile } from '../../coordinator/metrics.ts';
import { threadCpuMs } from '../../coordinator/planning/cpu.ts';
import { createLivePlanner } from '../../coordinator/planning/live.ts';
import { createPlanningThreads } from '../../coordinator/planning/threads.ts';
import type { PlacementRequest, Planner } from '../../coordinator/relay/placement.ts';
import { systemClock } from '../../shared/clock.ts';
import { watchLoopDelay } from '../../shared/health/monitor.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { type Seeded, seeded } from '../../shared/seeded.ts';

export const usage = '[--rate N] [--seconds S] [--sites N]';

const [RATE, SECONDS, SITES] = [200, 10, 10];
/** What was asked of planning. */
const ASKED_P95_MS = 3_000;
const SLOTS = 16;
/** Fewer than the slots' worth of the longest questions: at times tokens bind and slots do not. */
const TOKENS = 16_000;
const CANDIDATES = 3;
const [TALK_EVERY, TALKS] = [4, 50];
const [BURST, BURST_PER_TURN] = [10_000, 100];
/** What the event loop may wait. */
const LOOP_MAX_MS = 20;

export interface LiveRow {
  readonly rate: number;
  readonly sites: number;
  readonly placed: number;
  readonly refused: number;
  readonly planningMsP50: number | null;
  readonly planningMsP95: number | null;
  readonly placementMsP95: number | null;
  readonly loopDelayMsMax: number;
  /** Processor time that one turn of the event loop took at most; null where the system does not tell. */
  readonly turnCpuMsMax: number | null;
  /** Of a thread that does nothing, meanwhile: what the machine adds. */
  readonly idleDelayMsMax: number;
  readonly cpuShare: number;
  /** Plans by solver. */
  readonly solvers: Readonly<Record<string, number>>;
  readonly burst: {
    readonly asked: number;
    readonly placed: number;
    readonly overloaded: number;
    readonly refused: number;
    readonly loopDelayMsMax: number;
    readonly turnCpuMsMax: number | null;
    readonly idleDelayMsMax: number;
  };
  readonly standIns: number;
}

const optionOf = (text: string | undefined, otherwise: number): number => {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new QflError('invalid_request', { detail: 'rate, seconds and sites are above 0' });
  return value;
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const presenceOf = (sites: readonly SiteId[]) => ({
  online: () => sites,
  telemetry: () => ({
    atMs: 0,
    source: 'measured' as const,
    draining: false,
    records: false,
    budgetTenths: null,
    models: [{ id: 'm', slots: SLOTS, tokensMax: TOKENS, inFlight: 0, waiting: 0, firstTokenMs: null }],
  }),
  telemetryAgeMs: () => 1_000,
});

const failed = (error: unknown): void => {
  throw error;
};

/** A thread that does nothing but watch its own event loop: what the machine, busy with others, makes anybody wait. */
const IDLE = `
  const { parentPort } = require('node:worker_threads');
  const { monitorEventLoopDelay } = require('node:perf_hooks');
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  parentPort.on('message', (what) => {
    if (what === 'reset') delay.reset();
    else parentPort.postMessage(Math.max(0, delay.max / 1e6 - 1));
  });`;

interface Delays {
  readonly ownMs: number;
  /** Most processor time between two turns of a 1 ms timer: what this program holds the loop for, whatever else the machine does; null where it is not told. */
  readonly turnCpuMs: number | null;
  /** Of the idle thread meanwhile. */
  readonly idleMs: number;
}

const watchTurns = (): (() => number | null) => {
  let [last, most] = [threadCpuMs(), 0];
  const timer = setInterval(() => {
    const now = threadCpuMs();
    if (now !== null && last !== null) most = Math.max(most, now - last);
    last = now;
  }, 1);
  return () => {
    clearInterval(timer);
    return last === null ? null : most;
  };
};

/** Longest waits of the event loop during `work`. */
const longestDelay = async <T>(work: () => Promise<T>): Promise<{ result: T; delays: Delays }> => {
  const idle = new Worker(IDLE, { eval: true });
  const delay = watchLoopDelay(1);
  await pause(300);
  delay.takeLongestMs();
  idle.postMessage('reset', []);
  const turns = watchTurns();
  const result = await work();
  const turnCpuMs = turns();
  const ownMs = delay.takeLongestMs() ?? Number.NaN;
  delay.close();
  const idleMs = await new Promise<number>((resolve) => {
    idle.once('message', (value: unknown) => resolve(Number(value)));
    idle.postMessage('tell', []);
  });
  await idle.terminate();
  return { result, delays: { ownMs, turnCpuMs, idleMs } };
};

const questions = (random: Seeded, sites: readonly SiteId[]) => (): PlacementRequest => {
  const first = random.below(sites.length);
  const isTalk = random.below(TALK_EVERY) === 0;
  return {
    model: 'm',
    candidates: Array.from(
      { length: Math.min(CANDIDATES, sites.length) },
      (_, at) => sites[(first + at) % sites.length]!,
    ),
    priority: random.below(10),
    sizeBucketBytes: 2 ** (8 + random.below(6)),
    ...(isTalk ? { affinity: random.below(TALKS).toString(16).padStart(32, '0') } : {}),
    expiresMs: systemClock.nowMs() + 60_000,
  };
};

/** Ten thousand within a moment, as they come over many connections: some in every turn of the event loop. Who finds no room is told so at once. */
const burst = async (planner: Planner, question: () => PlacementRequest): Promise<readonly string[]> => {
  const asked: Promise<string>[] = [];
  for (let turn = 0; turn < BURST; turn += BURST_PER_TURN) {
    for (let at = 0; at < BURST_PER_TURN; at += 1)
      asked.push(
        planner.place(question()).then(
          (placement) => {
            placement?.done(null);
            return placement === undefined ? 'refused' : 'placed';
          },
          (error: unknown) => toQflError(error).code,
        ),
      );
    await new Promise((resolve) => setImmediate(resolve));
  }
  return Promise.all(asked);
};

const load = async (rate: number, seconds: number, siteCount: number): Promise<LiveRow> => {
  const random = seeded(1);
  const sites = Array.from({ length: siteCount }, (_, at) => SiteId.parse(`site-${at}`));
  const question = questions(random, sites);
  const planSeconds: number[] = [];
  const threads = createPlanningThreads(systemClock, { failed });
  const planner = createLivePlanner({
    presence: presenceOf(sites),
    clock: systemClock,
    meters: { planned: (took) => void planSeconds.push(took) },
    threads,
    tuning: () => ({ strategy: 'adaptive', queueFactor: 1 }),
    failed,
  });
  const placementMs: number[] = [];
  let refused = 0;
  const ask = async (): Promise<void> => {
    const begunMs = systemClock.monotonicMs();
    const placement = await planner.place(question());
    if (placement === undefined) return void (refused += 1);
    placementMs.push(systemClock.monotonicMs() - begunMs);
    await pause(50 * 40 ** random.uniform());
    placement.done(20);
  };
  const asked: Promise<void>[] = [];
  const cpu = process.cpuUsage();
  const { delays } = await longestDelay(async () => {
    const startMs = systemClock.monotonicMs();
    while (systemClock.monotonicMs() - startMs < seconds * 1_000) {
      const due = Math.floor(((systemClock.monotonicMs() - startMs) * rate) / 1_000);
      while (asked.length < due) asked.push(ask());
      await pause(2);
    }
  });
  const { user, system } = process.cpuUsage(cpu);
  const planMs = planSeconds.map((took) => took * 1_000);
  const placed = placementMs.length;
  await Promise.all(asked);
  const crowd = await longestDelay(() => burst(planner, question));
  const { solvers } = planner.observatory.report();
  planner.close();
  await threads.close();
  const counted = (outcome: string): number => crowd.result.filter((one) => one === outcome).length;
  return {
    rate,
    sites: siteCount,
    placed,
    refused,
    planningMsP50: percentile(planMs, 0.5),
    planningMsP95: percentile(planMs, 0.95),
    placementMsP95: percentile(placementMs.slice(0, placed), 0.95),
    loopDelayMsMax: delays.ownMs,
    turnCpuMsMax: delays.turnCpuMs,
    idleDelayMsMax: delays.idleMs,
    cpuShare: (user + system) / 1e6 / seconds,
    solvers,
    burst: {
      asked: crowd.result.length,
      placed: counted('placed'),
      overloaded: counted('overloaded'),
      refused: counted('refused'),
      loopDelayMsMax: crowd.delays.ownMs,
      turnCpuMsMax: crowd.delays.turnCpuMs,
      idleDelayMsMax: crowd.delays.idleMs,
    },
    standIns: threads.stats.standIns,
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
        `event loop kept at most ${shown(row.loopDelayMsMax)} ms (asked: ${LOOP_MAX_MS} ms), ${shown(row.turnCpuMsMax)} ms of it by this program's own work; an idle thread beside it waited ${shown(row.idleDelayMsMax)} ms; ${(row.cpuShare * 100).toFixed(0)} % of one processor, threads included`,
        `plans by solver: ${Object.entries(row.solvers)
          .map(([solver, count]) => `${solver} ${count}`)
          .join(', ')}; stand-ins ${row.standIns}`,
        `${row.burst.asked} at once: ${row.burst.placed} placed, ${row.burst.overloaded} told that it is full, ${row.burst.refused} refused; event loop kept at most ${shown(row.burst.loopDelayMsMax)} ms, ${shown(row.burst.turnCpuMsMax)} ms by its own work; an idle thread waited ${shown(row.burst.idleDelayMsMax)} ms`,
      ].join('\n'),
    );
  return row;
};
