/**
 * `chat`: what the federation adds to a streamed chat. Asking agent → coordinator → serving agent → back end, as three real processes,
 * against a direct call to the same back end in the same run. Back end: `../shared/bench/gateway/mock-backend.mjs`, 20 tokens 2 ms apart
 * after 20 ms. Closed loop at fixed concurrency; rounds interleave the two targets and change their order, and what is added is the
 * median over rounds of each round's own difference.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'undici';
import { eventually, projectRoot } from '../fixtures/processes.ts';
import { backendConfig, call, type Federation, startFederation } from '../process/federation.ts';

const MOCK = join(projectRoot, '../shared/bench/gateway/mock-backend.mjs');
const MODEL = 'mock-model';
const ROUNDS = 5;
/** Streams in each cell. */
const CELLS = [
  { concurrency: 1, streams: 60 },
  { concurrency: 16, streams: 480 },
  { concurrency: 64, streams: 960 },
] as const;
const WARM_UP_STREAMS = 200;
const SLOTS = 256;
/** Nothing of the limits that protect a hospital may shape a measurement. */
const LIMITS = `limits:
  requests_per_minute: 10000000
  chats_in_flight: 1024
`;
let asked = 0;
/** Each asks for itself: the same words again and again would look like one long conversation and be kept at one site. */
const bodyOf = (): string =>
  JSON.stringify({
    model: MODEL,
    metadata: { conversation_id: String((asked += 1)) },
    temperature: 0,
    max_tokens: 32,
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      { role: 'system', content: 'You are a clinical assistant.' },
      { role: 'user', content: 'Summarise the note. '.padEnd(600, 'lorem ipsum dolor ') },
    ],
  });
const FIRST_TOKEN = Buffer.from('"content":"');
const TICKS_PER_SECOND = 100;

type TargetName = 'direct' | 'federation';
interface Target {
  readonly name: TargetName;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
}
interface Sample {
  readonly isWhole: boolean;
  readonly firstTokenMs: number;
  readonly totalMs: number;
}
interface Cell {
  readonly streamsPerSecond: number;
  readonly failed: number;
  readonly firstTokenMs: Percentiles;
  readonly totalMs: Percentiles;
}
interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

export interface ChatBenchRow {
  readonly concurrency: number;
  readonly streams: number;
  readonly failed: number;
  readonly direct: Omit<Cell, 'failed'>;
  readonly federation: Omit<Cell, 'failed'>;
  /** Median over rounds of what the federation adds in a round. */
  readonly addedFirstTokenMs: Percentiles;
  readonly addedTotalMs: Percentiles;
  /** Median over rounds of federation / direct. */
  readonly streamRateRatio: number;
  /** Processor time of a process for one stream. */
  readonly cpuMsPerStream: Readonly<Record<string, number>>;
}
export interface ChatBenchResult {
  readonly bench: 'chat';
  readonly rounds: number;
  readonly processors: number;
  readonly rows: readonly ChatBenchRow[];
  /** Highest resident set of each process after all rounds. */
  readonly rssPeakMiB: Readonly<Record<string, number>>;
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });

const startBackend = async (): Promise<{ url: string; stop(): void }> => {
  const port = await freePort();
  const child = spawn(process.execPath, [MOCK, `--port=${port}`, `--model=${MODEL}`], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  await eventually('the back end answers', async () => (await call(`${url}/health`)).status === 200);
  return { url, stop: () => void child.kill() };
};

/** One stream, timed at the first token and at the end. */
const streamOnce = async (pool: Pool, headers: Target['headers']): Promise<Sample> => {
  const startMs = performance.now();
  const { statusCode, body } = await pool.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
    body: bodyOf(),
  });
  let firstTokenMs = Number.NaN;
  let tail = '';
  for await (const bytes of body as AsyncIterable<Buffer>) {
    if (Number.isNaN(firstTokenMs) && bytes.includes(FIRST_TOKEN)) firstTokenMs = performance.now() - startMs;
    tail = (tail + bytes.toString('latin1')).slice(-64);
  }
  const isWhole = statusCode === 200 && !Number.isNaN(firstTokenMs) && tail.includes('[DONE]');
  return { isWhole, firstTokenMs, totalMs: performance.now() - startMs };
};

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
const percentiles = (values: readonly number[]): Percentiles => {
  const sorted = values.toSorted((left, right) => left - right);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) };
};
const median = (values: readonly number[]): number =>
  percentile(
    values.toSorted((left, right) => left - right),
    0.5,
  );

/** Closed loop: `concurrency` clients, each asking again when its answer has ended. */
const measure = async ({ origin, headers }: Target, concurrency: number, streams: number): Promise<Cell> => {
  const pool = new Pool(origin, { connections: concurrency, pipelining: 1 });
  const samples: Sample[] = [];
  let issued = 0;
  const client = async (): Promise<void> => {
    while (issued < streams) {
      issued += 1;
      samples.push(await streamOnce(pool, headers));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, () => streamOnce(pool, headers)));
  const startMs = performance.now();
  await Promise.all(Array.from({ length: concurrency }, client));
  const tookMs = performance.now() - startMs;
  await pool.close();
  const whole = samples.filter(({ isWhole }) => isWhole);
  return {
    streamsPerSecond: (whole.length / tookMs) * 1_000,
    failed: samples.length - whole.length,
    firstTokenMs: percentiles(whole.map(({ firstTokenMs }) => firstTokenMs)),
    totalMs: percentiles(whole.map(({ totalMs }) => totalMs)),
  };
};

/** Processor time and peak memory of a process, as Linux counts them. */
const usageOf = (pid: number): { cpuMs: number; rssPeakMiB: number } => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return {
    cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND,
    rssPeakMiB: Number(peak) / 1_024,
  };
};

type Pids = Readonly<Record<string, number>>;
const each = (pids: Pids, read: (pid: number) => number): Record<string, number> =>
  Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, read(pid)]));

interface Round {
  readonly direct: Cell;
  readonly federation: Cell;
  readonly cpuMs: Record<string, number>;
}

const runRound = async (
  targets: readonly Target[],
  pids: Pids,
  { concurrency, streams }: (typeof CELLS)[number],
): Promise<Round> => {
  const cells: Partial<Record<TargetName, Cell>> = {};
  let cpuMs: Record<string, number> = {};
  for (const target of targets) {
    const before = each(pids, (pid) => usageOf(pid).cpuMs);
    cells[target.name] = await measure(target, concurrency, streams);
    if (target.name === 'federation')
      cpuMs = Object.fromEntries(
        Object.entries(pids).map(([name, pid]) => [name, usageOf(pid).cpuMs - (before[name] ?? 0)]),
      );
  }
  return { direct: cells.direct!, federation: cells.federation!, cpuMs };
};

const medianCell = (cells: readonly Cell[]): Omit<Cell, 'failed'> => ({
  streamsPerSecond: median(cells.map(({ streamsPerSecond }) => streamsPerSecond)),
  firstTokenMs: {
    p50: median(cells.map(({ firstTokenMs }) => firstTokenMs.p50)),
    p99: median(cells.map(({ firstTokenMs }) => firstTokenMs.p99)),
  },
  totalMs: {
    p50: median(cells.map(({ totalMs }) => totalMs.p50)),
    p99: median(cells.map(({ totalMs }) => totalMs.p99)),
  },
});

const rowOf = ({ concurrency, streams }: (typeof CELLS)[number], rounds: readonly Round[]): ChatBenchRow => {
  const added = (of: (cell: Cell) => number): number =>
    median(rounds.map(({ direct, federation }) => of(federation) - of(direct)));
  const processes = Object.keys(rounds[0]?.cpuMs ?? {});
  return {
    concurrency,
    streams: streams * rounds.length,
    failed: rounds.reduce((sum, { direct, federation }) => sum + direct.failed + federation.failed, 0),
    direct: medianCell(rounds.map(({ direct }) => direct)),
    federation: medianCell(rounds.map(({ federation }) => federation)),
    addedFirstTokenMs: {
      p50: added(({ firstTokenMs }) => firstTokenMs.p50),
      p99: added(({ firstTokenMs }) => firstTokenMs.p99),
    },
    addedTotalMs: { p50: added(({ totalMs }) => totalMs.p50), p99: added(({ totalMs }) => totalMs.p99) },
    streamRateRatio: median(
      rounds.map(({ direct, federation }) => federation.streamsPerSecond / direct.streamsPerSecond),
    ),
    cpuMsPerStream: Object.fromEntries(
      processes.map((name) => [
        name,
        // The warm-up of a cell is as many streams as there are clients.
        median(rounds.map(({ cpuMs }) => (cpuMs[name] ?? 0) / (streams + concurrency))),
      ]),
    ),
  };
};

const openFederation = async (backendUrl: string): Promise<Federation> =>
  startFederation({
    within: process.cwd(),
    logLevel: 'warn',
    coordinatorConfig: LIMITS,
    sites: [
      { name: 'asking', config: LIMITS },
      { name: 'serving', config: LIMITS + backendConfig('mock', `${backendUrl}/v1`, SLOTS) },
    ],
  });

const measureAll = async (backendUrl: string, federation: Federation): Promise<ChatBenchResult> => {
  const asking = federation.site('asking');
  const key = await asking.key('doctor');
  const targets: Target[] = [
    { name: 'direct', origin: backendUrl, headers: {} },
    { name: 'federation', origin: asking.url, headers: { authorization: `Bearer ${key}` } },
  ];
  const pids = {
    asking: asking.program.pid,
    coordinator: federation.coordinator.program.pid,
    serving: federation.site('serving').program.pid,
  };
  for (const target of targets) {
    const { failed } = await measure(target, 16, WARM_UP_STREAMS);
    if (failed > 0) throw new Error(`${target.name}: ${failed} of ${WARM_UP_STREAMS} streams failed`);
  }
  const rounds = new Map<(typeof CELLS)[number], Round[]>(CELLS.map((cell) => [cell, []]));
  for (let round = 0; round < ROUNDS; round += 1)
    for (const cell of CELLS)
      rounds.get(cell)?.push(await runRound(round % 2 === 0 ? targets : targets.toReversed(), pids, cell));
  return {
    bench: 'chat',
    rounds: ROUNDS,
    processors: availableParallelism(),
    rows: [...rounds].map(([cell, done]) => rowOf(cell, done)),
    rssPeakMiB: each(pids, (pid) => usageOf(pid).rssPeakMiB),
  };
};

const ms = (value: number): string => value.toFixed(1).padStart(8);
const table = ({ rows, rounds, processors, rssPeakMiB }: ChatBenchResult): string =>
  [
    `streamed chats through three processes against a direct call; ${rounds} rounds, ${processors} processors; times in ms`,
    'clients   direct/s   feder./s  ratio   first p50 (added)   first p99 (added)   total p50 (added)   CPU/stream asking coord. serving  failed',
    ...rows.map((row) =>
      [
        String(row.concurrency).padStart(7),
        row.direct.streamsPerSecond.toFixed(1).padStart(10),
        row.federation.streamsPerSecond.toFixed(1).padStart(10),
        row.streamRateRatio.toFixed(3).padStart(6),
        `${ms(row.federation.firstTokenMs.p50)} (${row.addedFirstTokenMs.p50.toFixed(1)})`.padStart(19),
        `${ms(row.federation.firstTokenMs.p99)} (${row.addedFirstTokenMs.p99.toFixed(1)})`.padStart(19),
        `${ms(row.federation.totalMs.p50)} (${row.addedTotalMs.p50.toFixed(1)})`.padStart(19),
        Object.values(row.cpuMsPerStream)
          .map((value) => value.toFixed(2).padStart(6))
          .join(' ')
          .padStart(34),
        String(row.failed).padStart(7),
      ].join(' '),
    ),
    `peak memory: ${Object.entries(rssPeakMiB)
      .map(([name, value]) => `${name} ${value.toFixed(0)} MiB`)
      .join(', ')}`,
  ].join('\n');

/** Prints a table, or one JSON object with `json`. */
export const run = async ({ json }: { readonly json: boolean }): Promise<ChatBenchResult> => {
  const backend = await startBackend();
  let federation: Federation | undefined;
  try {
    federation = await openFederation(backend.url);
    const result = await measureAll(backend.url, federation);
    console.log(json ? JSON.stringify(result) : table(result));
    return result;
  } finally {
    await federation?.close();
    backend.stop();
  }
};
