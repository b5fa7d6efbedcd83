/**
 * The audit log on this machine's disk, as the programs run it (encrypted LevelDB, Ed25519 and ML-DSA-44 checkpoints each second): durable
 * entries per second of 1 KB, time to be durable at 1,000 a second, inclusion proofs in a tree of ten million. Baselines in the same run on the
 * same disk: LevelDB batches of the same bytes without a tree, encryption or signature, and one entry after another.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { Level } from 'level';
import { type AuditLog, createAuditLog } from '../../shared/audit/audit-log.ts';
import { mldsa44Cosigner } from '../../shared/audit/cosignature.ts';
import { AppendLog } from '../../shared/audit/log.ts';
import { EMPTY_ROOT, inclusionPath, leafHash, rangeHash } from '../../shared/audit/merkle.ts';
import { verifyInclusion } from '../../shared/audit/merkle-verify.ts';
import { ed25519NoteSigner } from '../../shared/audit/note.ts';
import { TileCache, TileEdge, tileReader } from '../../shared/audit/tiles.ts';
import { toHex } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { lattice } from '../../shared/crypto/lattice/provider.ts';
import { QflError } from '../../shared/errors.ts';
import { bufferedRandom } from '../../shared/privacy/random-bits.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import type { Store } from '../../shared/store/port.ts';

const ORIGIN = 'qfl/bench/audit';
const LEAF_BYTES = 1_024;
const IN_FLIGHT = 1_024;
const ENTRIES = 60_000;
const ALONE = 500;
const BATCH = 256;
const PACE_PER_SECOND = 1_000;
const PACE_SECONDS = 10;
const PROOFS = 1_000;
const WARM_UP_PROOFS = 100;
const TREE_DEFAULT = 10_000_000;

export const usage = '[--tree ENTRIES]';

export interface AuditBenchResult {
  readonly name: 'audit';
  readonly leafBytes: number;
  readonly signing: string;
  readonly entriesPerSecond: number;
  readonly rawBatchPerSecond: number;
  readonly alonePerSecond: number;
  /** Of the log's rate to the baselines'. */
  readonly toRawBatch: number;
  readonly toAlone: number;
  readonly paced: { readonly perSecond: number; readonly medianMs: number; readonly p95Ms: number };
  /** Longest turn of the event loop while entries came at a steady pace and checkpoints were signed. */
  readonly eventLoopP99Ms: number;
  readonly eventLoopMaxMs: number;
  readonly tree: { readonly entries: number; readonly buildSeconds: number };
  /** `cpuMs`: processor time of one proof and its verification, all threads: what a busy machine does not change. */
  readonly proof: {
    readonly medianMs: number;
    readonly p95Ms: number;
    readonly maxMs: number;
    readonly cpuMs: number;
  };
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
const sortedOf = (values: readonly number[]): number[] => values.toSorted((left, right) => left - right);

/** An event whose leaf is 1 KB: many objects, as a statistic over many sites has. */
const eventOf = (at: number) => ({
  action: 'stats.served' as const,
  outcome: 'ok' as const,
  role: 'researcher',
  purpose: 'statistics',
  classification: 'confidential' as const,
  requestId: toHex(secureRandomBytes(16)),
  cost: at,
  objects: Array.from({ length: 10 }, (_, one) => ({
    kind: 'site',
    id: `hospital-${at % 997}-${one}-abcdefghijk-lmnopqrstuvwxyz-012`,
  })),
});

const openLog = async (store: Store): Promise<{ log: AppendLog; audit: AuditLog }> => {
  const log = await AppendLog.open({
    store,
    prefix: 'log/audit/',
    signer: ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 1)),
    cosigner: { by: mldsa44Cosigner(ORIGIN, Buffer.alloc(32, 2)), nowMs: () => Date.now() },
    create: true,
  });
  const random = bufferedRandom(secureRandomBytes);
  return { log, audit: createAuditLog({ log, source: 'coordinator', clock: systemClock, random }) };
};

const throughput = async (audit: AuditLog, entries: number, inFlight: number): Promise<number> => {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < entries) await audit.record(eventOf(next++));
  };
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, worker));
  return entries / ((performance.now() - startedMs) / 1_000);
};

/** The same bytes in LevelDB's own batches of 256, fsynced, and nothing else. */
const rawBatches = async (db: Level<string, Uint8Array>, entries: number): Promise<number> => {
  const values = Array.from({ length: 64 }, () => randomBytes(LEAF_BYTES));
  const startedMs = performance.now();
  for (let at = 0; at < entries; at += BATCH)
    await db.batch(
      Array.from({ length: BATCH }, (_, one) => ({
        type: 'put' as const,
        key: `raw/${String(at + one).padStart(16, '0')}`,
        value: values[one % values.length]!,
      })),
      { sync: true },
    );
  return entries / ((performance.now() - startedMs) / 1_000);
};

/** Open loop: an entry each millisecond, whether those before are durable or not. */
const paced = async (audit: AuditLog) => {
  const times: number[] = [];
  const pending: Promise<void>[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const startedMs = performance.now();
  let sent = 0;
  while (sent < PACE_PER_SECOND * PACE_SECONDS) {
    const due = Math.floor(((performance.now() - startedMs) * PACE_PER_SECOND) / 1_000);
    for (; sent < due && sent < PACE_PER_SECOND * PACE_SECONDS; sent += 1) {
      // From when it was due: a late start counts.
      const dueMs = startedMs + (sent * 1_000) / PACE_PER_SECOND;
      pending.push(audit.record(eventOf(sent)).then(() => void times.push(performance.now() - dueMs)));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(pending);
  const seconds = (performance.now() - startedMs) / 1_000;
  delay.disable();
  const sorted = sortedOf(times);
  return {
    row: { perSecond: sent / seconds, medianMs: quantile(sorted, 0.5), p95Ms: quantile(sorted, 0.95) },
    eventLoopP99Ms: delay.percentile(99) / 1e6,
    eventLoopMaxMs: delay.max / 1e6,
  };
};

const leafAt = (index: number): Uint8Array => {
  const leaf = Buffer.alloc(8);
  leaf.writeBigUInt64BE(BigInt(index));
  return leaf;
};

/** The tiles of a tree of that many leaves, each hash computed; entries themselves are not kept. */
const buildTree = async (store: Store, prefix: string, entries: number): Promise<Uint8Array> => {
  const edge = await TileEdge.load(store, prefix, 0);
  for (let index = 0; index < entries; index += 1) {
    edge.append(leafHash(leafAt(index)));
    if ((index + 1) % 65_536 === 0) await store.write(edge.drain(), { durable: false });
  }
  await store.write(edge.drain());
  return entries === 0 ? EMPTY_ROOT : rangeHash(tileReader(store, prefix), 0, entries);
};

const proofs = async (store: Store, prefix: string, size: number, root: Uint8Array) => {
  const times: number[] = [];
  const cache = new TileCache();
  let before = process.cpuUsage();
  for (let at = -WARM_UP_PROOFS; at < PROOFS; at += 1) {
    const index = randomBytes(6).readUIntBE(0, 6) % size;
    if (at === 0) before = process.cpuUsage();
    const startedMs = performance.now();
    const proof = await inclusionPath(tileReader(store, prefix, cache), index, size);
    if (at >= 0) times.push(performance.now() - startedMs);
    if (!verifyInclusion({ index, size, leafHash: leafHash(leafAt(index)), root, path: proof }))
      throw new QflError('internal', { detail: `the proof of ${index} does not hold` });
  }
  const { user, system } = process.cpuUsage(before);
  const sorted = sortedOf(times);
  return {
    medianMs: quantile(sorted, 0.5),
    p95Ms: quantile(sorted, 0.95),
    maxMs: sorted.at(-1) ?? 0,
    cpuMs: (user + system) / 1_000 / PROOFS,
  };
};

const benchIn = async (folder: string, tree: number): Promise<AuditBenchResult> => {
  const raw = new Level<string, Uint8Array>(path.join(folder, 'raw'), {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
  });
  await raw.open();
  const level = await openLevelStore(path.join(folder, 'store'));
  const store = encryptedStore(level, randomBytes(32), bufferedRandom(secureRandomBytes));
  const { log, audit } = await openLog(store);
  await throughput(audit, 10_000, IN_FLIGHT);
  await rawBatches(raw, 5_120);
  const sizeBefore = log.size;
  const rates = { log: [] as number[], raw: [] as number[] };
  // Turn by turn, so that a busy moment of the machine meets both.
  for (let turn = 0; turn < 3; turn += 1) {
    rates.log.push(await throughput(audit, ENTRIES / 3, IN_FLIGHT));
    rates.raw.push(await rawBatches(raw, Math.ceil(ENTRIES / 3 / BATCH) * BATCH));
  }
  let bytes = 0;
  for await (const { leaf } of log.entries(sizeBefore, sizeBefore + 100)) bytes += leaf.byteLength;
  const alonePerSecond = await throughput(audit, ALONE, 1);
  const steady = await paced(audit);
  await log.close();
  const startedMs = performance.now();
  const root = await buildTree(store, 'tree/', tree);
  const buildSeconds = (performance.now() - startedMs) / 1_000;
  const proof = await proofs(store, 'tree/', tree, root);
  await level.close();
  await raw.close();
  const middle = (values: readonly number[]): number => quantile(sortedOf(values), 0.5);
  const [entriesPerSecond, rawBatchPerSecond] = [middle(rates.log), middle(rates.raw)];
  return {
    name: 'audit',
    leafBytes: Math.round(bytes / 100),
    signing: `Ed25519 and ML-DSA-44 (${lattice.name})`,
    entriesPerSecond,
    rawBatchPerSecond,
    alonePerSecond,
    toRawBatch: entriesPerSecond / rawBatchPerSecond,
    toAlone: entriesPerSecond / alonePerSecond,
    paced: steady.row,
    eventLoopP99Ms: steady.eventLoopP99Ms,
    eventLoopMaxMs: steady.eventLoopMaxMs,
    tree: { entries: tree, buildSeconds },
    proof,
  };
};

const text = (result: AuditBenchResult): string =>
  [
    `audit entries of ${result.leafBytes} bytes, encrypted LevelDB, checkpoints by ${result.signing}`,
    `durable entries/s, ${IN_FLIGHT} in flight:        ${result.entriesPerSecond.toFixed(0)}`,
    `LevelDB batches of ${BATCH}, fsynced, no tree: ${result.rawBatchPerSecond.toFixed(0)} (the log: ${result.toRawBatch.toFixed(2)} of it)`,
    `one entry after another:                ${result.alonePerSecond.toFixed(0)} (the log: ${result.toAlone.toFixed(1)} times it)`,
    `at ${result.paced.perSecond.toFixed(0)}/s: durable after ${result.paced.medianMs.toFixed(1)} ms in the middle, ${result.paced.p95Ms.toFixed(1)} ms at p95`,
    `event loop meanwhile: p99 ${result.eventLoopP99Ms.toFixed(1)} ms, longest ${result.eventLoopMaxMs.toFixed(1)} ms`,
    `tree of ${result.tree.entries} entries (built in ${result.tree.buildSeconds.toFixed(0)} s): inclusion proof ${result.proof.medianMs.toFixed(2)} ms in the middle, ${result.proof.p95Ms.toFixed(2)} ms at p95, ${result.proof.maxMs.toFixed(2)} ms at most; ${result.proof.cpuMs.toFixed(2)} ms of processor time with its verification`,
  ].join('\n');

const treeOf = (args: readonly string[]): number => {
  const { values } = parseArgs({ args: [...args], options: { tree: { type: 'string' } } });
  const tree = Number(values.tree ?? TREE_DEFAULT);
  if (Number.isInteger(tree) && tree > 0) return tree;
  throw new QflError('invalid_request', { detail: '--tree takes a whole number of entries' });
};

/** Measures beside the program, on the disk that it would use, not on a memory file system. */
export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<AuditBenchResult> => {
  const tree = treeOf(args);
  const folder = await mkdtemp(path.join(process.cwd(), '.bench-audit-'));
  try {
    const result = await benchIn(folder, tree);
    console.log(json ? JSON.stringify(result) : text(result));
    return result;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
