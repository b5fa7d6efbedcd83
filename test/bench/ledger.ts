/**
 * Durable charges per second: reserve (on disk), start, commit with a sealed answer (on disk), on this machine's disk, with the real
 * files and the encrypted LevelDB index. A charge is both records. Baseline: one at a time, in the same run on the same disk.
 *
 * Then as many charges as make a ledger of `charges` in all, 256 in flight, in ten slices: the last must be as fast as the first. At the end
 * the ledger is opened from its checkpoint, after a close and after a crash, and verified in full.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { CHECKPOINT_NAMES, readCheckpoints } from '../../agent/budget/checkpoint.ts';
import type { LedgerFolder } from '../../agent/budget/disk.ts';
import {
  type ChargeRequest,
  createLedger,
  DEFAULT_LIMITS,
  type Ledger,
  openLedger,
  type OpenOptions,
} from '../../agent/budget/ledger.ts';
import { nodeLedgerFolder } from '../../agent/budget/node-disk.ts';
import { systemClock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { microEpsilon } from '../../shared/privacy/epsilon.ts';
import { discreteLaplace } from '../../shared/privacy/mechanism.ts';
import { bufferedRandom } from '../../shared/privacy/random-bits.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';

export const usage = '[--charges N]';

const ANSWER_BYTES = 400;
const WARM_UP_CHARGES = 2_000;
const CHARGES_DEFAULT = 1_000_000;
const SLICES = 10;
const IN_FLIGHT = 256;

export interface LedgerBenchRow {
  readonly inFlight: number;
  readonly charges: number;
  readonly chargesPerSecond: number;
  readonly fsyncsPerCharge: number;
  readonly medianMs: number;
  readonly p99Ms: number;
}

export interface LedgerBenchResult {
  readonly name: 'ledger';
  readonly answerBytes: number;
  readonly rows: readonly LedgerBenchRow[];
  /** Against one at a time. */
  readonly speedUpAt256: number;
  /** Of equal numbers of charges, from the first to the last of the whole ledger. */
  readonly slices: readonly LedgerBenchRow[];
  readonly charges: number;
  /** Speed of the last slice against the first. */
  readonly flatness: number;
  readonly chargesPerSecond: number;
  readonly fsyncsPerCharge: number;
  readonly journalBytes: number;
  readonly records: number;
  /** From the checkpoint that the close wrote. */
  readonly openMs: number;
  /** From the last checkpoint before a crash, with the records after it replayed. */
  readonly openAfterCrashMs: number;
  readonly tailRecords: number;
  /** Every record and every key of the index. */
  readonly verifyMs: number;
}

/** Budgets that never refuse: the speed of charging is measured, not the refusal. */
const unlimited = { microEpsilon: microEpsilon(1e12), delta: '1e-5' };
const LIMITS = {
  ...DEFAULT_LIMITS,
  userDay: unlimited,
  askingSiteDay: unlimited,
  siteLifetime: unlimited,
  departmentDay: { [DepartmentId.parse('general')]: unlimited },
};

const countingFolder = (folder: LedgerFolder): LedgerFolder & { readonly syncs: () => number } => {
  let syncs = 0;
  const counted = async (name: string, how: 'open' | 'create') => {
    const file = await folder[how](name);
    if (file === undefined) return undefined;
    return {
      ...file,
      sync: () => {
        syncs += 1;
        return file.sync();
      },
    };
  };
  return {
    ...folder,
    open: (name) => counted(name, 'open'),
    create: async (name) => (await counted(name, 'create'))!,
    syncs: () => syncs,
  };
};

const mechanisms = [discreteLaplace(1n, rational(10n))];
const sender = SiteId.parse('south');
const asker = Pseudonym.parse('00'.repeat(16));
const department = DepartmentId.parse('general');
const envelopeHash = 'ab'.repeat(32);
const sealedAnswer = randomBytes(ANSWER_BYTES);

/** Ids as the asker makes them, outside what is measured. */
const queryIds = (count: number): QueryId[] =>
  Array.from({ length: count }, () => QueryId.parse(randomBytes(16).toString('hex')));

const requestOf = (queryId: QueryId): ChargeRequest => ({
  sender,
  queryId,
  envelopeHash,
  asker,
  department,
  mechanisms,
});

const chargeOnce = async (ledger: Ledger, queryId: QueryId): Promise<number> => {
  const request = requestOf(queryId);
  const startedMs = performance.now();
  const charge = await ledger.reserve(request);
  if (charge.status !== 'reserved') throw new Error('a new query is charged');
  charge.startComputing();
  await charge.commit(sealedAnswer);
  return performance.now() - startedMs;
};

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;

const measure = async (
  ledger: Ledger,
  syncs: () => number,
  inFlight: number,
  charges: number,
): Promise<LedgerBenchRow> => {
  const ids = queryIds(charges);
  const timesMs: number[] = [];
  const worker = async (): Promise<void> => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) timesMs.push(await chargeOnce(ledger, id));
  };
  const syncsBefore = syncs();
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  const sorted = timesMs.toSorted((left, right) => left - right);
  return {
    inFlight,
    charges,
    chargesPerSecond: charges / seconds,
    fsyncsPerCharge: (syncs() - syncsBefore) / charges,
    medianMs: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
  };
};

const sliced = async (
  ledger: Ledger,
  syncs: () => number,
  charges: number,
): Promise<readonly LedgerBenchRow[]> => {
  const rows: LedgerBenchRow[] = [];
  for (let slice = 0; slice < SLICES; slice += 1)
    rows.push(await measure(ledger, syncs, IN_FLIGHT, Math.floor(charges / SLICES)));
  return rows;
};

const timed = async <Value>(work: () => Promise<Value>): Promise<{ ms: number; value: Value }> => {
  const startedMs = performance.now();
  const value = await work();
  return { ms: performance.now() - startedMs, value };
};

/** What a crash leaves: files as they are, without what a close would write. */
const crashed = async (
  options: OpenOptions,
  folder: string,
): Promise<{ readonly openMs: number; readonly tailRecords: number }> => {
  // As if the newest checkpoint had not been written in time: the one before it, and all records since.
  const checkpoints = await Promise.all(
    CHECKPOINT_NAMES.map(async (name) => ({ name, atMs: (await stat(path.join(folder, name))).mtimeMs })),
  );
  const newest = checkpoints.toSorted((left, right) => right.atMs - left.atMs)[0]!;
  await rm(path.join(folder, newest.name));
  const [left] = await readCheckpoints(options);
  const { ms, value } = await timed(() => openLedger(options));
  const tailRecords = value.head().counter - (left?.checkpoint.head.counter ?? -1);
  await value.close();
  return { openMs: ms, tailRecords };
};

const benchIn = async (folder: string, charges: number): Promise<LedgerBenchResult> => {
  const ledgerFolder = path.join(folder, 'ledger');
  const disk = countingFolder(await nodeLedgerFolder(ledgerFolder));
  const place = { folder: disk, dataKey: randomBytes(32), clock: systemClock, site: SiteId.parse('north') };
  await createLedger({ ...place, limits: LIMITS });
  const level = await openLevelStore(path.join(folder, 'store'));
  const options = {
    ...place,
    store: encryptedStore(level, randomBytes(32), bufferedRandom(secureRandomBytes)),
  };
  const ledger = await openLedger(options);
  await measure(ledger, disk.syncs, 64, WARM_UP_CHARGES);
  const rows = [
    await measure(ledger, disk.syncs, 1, 1_000),
    await measure(ledger, disk.syncs, 32, 10_000),
    await measure(ledger, disk.syncs, IN_FLIGHT, 50_000),
  ];
  const slices = await sliced(ledger, disk.syncs, charges);
  const { counter, size } = ledger.head();
  await ledger.close();
  const opened = await timed(() => openLedger(options));
  await opened.value.close();
  const crash = await crashed(options, ledgerFolder);
  const whole = await timed(() => openLedger({ ...options, verifyAll: true }));
  await whole.value.close();
  await level.close();
  const [alone, , many] = rows;
  const seconds = slices.reduce((sum, row) => sum + row.charges / row.chargesPerSecond, 0);
  const measured = slices.reduce((sum, row) => sum + row.charges, 0);
  return {
    name: 'ledger',
    answerBytes: ANSWER_BYTES,
    rows,
    speedUpAt256: many!.chargesPerSecond / alone!.chargesPerSecond,
    slices,
    charges: measured,
    flatness: slices.at(-1)!.chargesPerSecond / slices[0]!.chargesPerSecond,
    chargesPerSecond: measured / seconds,
    fsyncsPerCharge: slices.reduce((sum, row) => sum + row.fsyncsPerCharge, 0) / slices.length,
    journalBytes: size,
    records: counter + 1,
    openMs: opened.ms,
    openAfterCrashMs: crash.openMs,
    tailRecords: crash.tailRecords,
    verifyMs: whole.ms,
  };
};

const line = (row: LedgerBenchRow): string =>
  [
    String(row.inFlight).padStart(9),
    row.chargesPerSecond.toFixed(0).padStart(11),
    row.fsyncsPerCharge.toFixed(4).padStart(15),
    row.medianMs.toFixed(2).padStart(11),
    row.p99Ms.toFixed(2).padStart(8),
  ].join(' ');

const table = (result: LedgerBenchResult): string =>
  [
    `durable charges (reserve + commit of a ${result.answerBytes}-byte sealed answer), baseline one at a time`,
    'in flight   charges/s   fsyncs/charge   median ms   p99 ms',
    ...result.rows.map(line),
    `256 in flight against one at a time: ${result.speedUpAt256.toFixed(1)} times`,
    `${result.charges} charges in ${SLICES} slices:`,
    ...result.slices.map(line),
    `all slices: ${result.chargesPerSecond.toFixed(0)} charges/s, ${result.fsyncsPerCharge.toFixed(4)} fsyncs a charge, last slice ${result.flatness.toFixed(2)} of the first`,
    `opened from its checkpoint: ${result.records} records in ${result.openMs.toFixed(0)} ms`,
    `opened after a crash: ${result.tailRecords} records replayed, ${result.openAfterCrashMs.toFixed(0)} ms`,
    `verified in full: ${result.verifyMs.toFixed(0)} ms`,
  ].join('\n');

const chargesOf = (args: readonly string[]): number => {
  const { values } = parseArgs({ args: [...args], options: { charges: { type: 'string' } } });
  const charges = Number(values.charges ?? CHARGES_DEFAULT);
  if (Number.isInteger(charges) && charges >= SLICES) return charges;
  throw new QflError('invalid_request', { detail: `charges are a whole number from ${SLICES}` });
};

/** Measures beside the program, on the disk that it would use, not on a memory file system. */
export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<LedgerBenchResult> => {
  const charges = chargesOf(args);
  const folder = await mkdtemp(path.join(process.cwd(), '.bench-ledger-'));
  try {
    const result = await benchIn(folder, charges);
    console.log(json ? JSON.stringify(result) : table(result));
    return result;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
