/** The public inference trace as requests of a simulated federation. What the trace does not say (sites, priorities, deadlines) is drawn by seed. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import type { SimulatedRequest, SimulatedSite } from '../../coordinator/planning/simulate.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';

export interface TraceRow {
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}

const rowOf = (line: string, at: number): TraceRow => {
  const [time = '', prompt = '', output = ''] = line.split(',');
  const atMs = Date.parse(`${time.trim().replace(' ', 'T').slice(0, 23)}Z`);
  const [promptTokens, outputTokens] = [Number(prompt), Number(output)];
  if (Number.isNaN(atMs) || !Number.isInteger(promptTokens) || !Number.isInteger(outputTokens))
    throw new QflError('invalid_request', {
      detail: `line ${at + 2} is not "TIMESTAMP,ContextTokens,GeneratedTokens"`,
    });
  return { atMs, promptTokens, outputTokens };
};

/** Plain or gzipped CSV, sorted by time; times from 0. @throws QflError `invalid_request` */
export const readTrace = (file: string): readonly TraceRow[] => {
  const bytes = readFileSync(file);
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  const [head, ...lines] = text.split('\n').filter((line) => line.trim() !== '');
  if (head?.startsWith('TIMESTAMP,ContextTokens,GeneratedTokens') !== true || lines.length === 0)
    throw new QflError('invalid_request', {
      detail: 'not a trace in the layout of the Azure LLM inference trace',
    });
  const rows = lines.map(rowOf).toSorted((a, b) => a.atMs - b.atMs);
  const startMs = rows[0]!.atMs;
  return rows.map((row) => ({ ...row, atMs: row.atMs - startMs }));
};

/** Per slot of a site of speed 1, before the rates are scaled to the load that was asked for. */
export const RATES = { overheadMs: 100, promptTokensPerSecond: 1_000, outputTokensPerSecond: 12 } as const;
export const SITES = 8;
/** Slots and speeds are drawn from these. */
const SLOTS = [2, 3, 4, 6] as const;
const SPEED = { least: 0.5, most: 2 } as const;
const BYTES_PER_TOKEN = 4;

/** Who asks, and until when an answer is of use, in mean service times after the question. */
export const CLASSES = [
  { name: 'emergency', share: 0.1, priority: 9, deadlineServices: 3 },
  { name: 'urgent', share: 0.3, priority: 6, deadlineServices: 6 },
  { name: 'routine', share: 0.6, priority: 3, deadlineServices: 15 },
] as const;

export interface Federation {
  readonly sites: readonly SimulatedSite[];
  readonly requests: readonly SimulatedRequest[];
  readonly meanServiceMs: number;
}

const bucketOf = (tokens: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, tokens * BYTES_PER_TOKEN)));

const baseServiceMs = ({ promptTokens, outputTokens }: TraceRow): number =>
  RATES.overheadMs +
  (1_000 * promptTokens) / RATES.promptTokensPerSecond +
  (1_000 * outputTokens) / RATES.outputTokensPerSecond;

/** Draws sites and classes, and scales all rates so that the trace takes `load` of what all slots can give. */
export const federationOf = (trace: readonly TraceRow[], load: number, seed: number): Federation => {
  const random = seeded(seed);
  const drawn = Array.from({ length: SITES }, (_, at) => ({
    siteId: SiteId.parse(`site-${at}`),
    slots: SLOTS[random.below(SLOTS.length)]!,
    speed: SPEED.least * (SPEED.most / SPEED.least) ** random.uniform(),
  }));
  const capacity = drawn.reduce((sum, { slots, speed }) => sum + slots * speed, 0);
  const spanMs = Math.max(1, trace.at(-1)!.atMs);
  const work = trace.reduce((sum, row) => sum + baseServiceMs(row), 0);
  const scale = (load * capacity * spanMs) / work;
  const meanSpeed = capacity / drawn.reduce((sum, { slots }) => sum + slots, 0);
  const meanServiceMs = (scale * work) / trace.length / meanSpeed;
  const classOf = () => {
    let draw = random.uniform();
    return CLASSES.find(({ share }) => (draw -= share) < 0) ?? CLASSES[2];
  };
  const requests = trace.map((row): SimulatedRequest => {
    const { priority, deadlineServices } = classOf();
    return {
      atMs: row.atMs,
      sizeBucketBytes: bucketOf(row.promptTokens),
      priority,
      deadlineMs: row.atMs + deadlineServices * meanServiceMs,
      serviceMs: Float64Array.from(drawn, ({ speed }) => (scale * baseServiceMs(row)) / speed),
    };
  });
  return { sites: drawn.map(({ siteId, slots }) => ({ siteId, slots })), requests, meanServiceMs };
};
