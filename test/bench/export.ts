/**
 * The audit export at size: a log of a million synthetic entries, written with everything an auditor reads (FHIR, tables, summary) and verified.
 * Entries per second of both, and the most memory either held, at a tenth of the entries and at all of them: it should not grow with the log.
 */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { complianceDeriver } from '../../coordinator/audit/compliance/derive.ts';
import type { ComplianceFacts } from '../../coordinator/audit/compliance/facts.ts';
import { signCheckpoint } from '../../shared/audit/checkpoint.ts';
import { type AuditEntry, encodeEntry, ulid } from '../../shared/audit/entry.ts';
import { type ExportLog, writeExport } from '../../shared/audit/export.ts';
import { CompactRange, leafHash } from '../../shared/audit/merkle.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../shared/audit/note.ts';
import { policyText } from '../../shared/audit/policy.ts';
import { verifyExport } from '../../shared/audit/verify/verify.ts';
import { QflError } from '../../shared/errors.ts';
import { Pseudonym } from '../../shared/ids.ts';

export const usage = '[--entries COUNT]';
const ENTRIES_DEFAULT = 1_000_000;
const VERIFY_GOAL_PER_SECOND = 100_000;
const START_MS = Date.UTC(2026, 0, 1);
const SIGNER = ed25519NoteSigner('qfl/bench/audit', Buffer.alloc(32, 1));
const ACTIONS = [
  'chat.served',
  'stats.served',
  'relay.dispatched',
  'account.signed_in',
  'access.refused',
] as const;
const ACTORS = Array.from({ length: 50 }, (_, at) => Pseudonym.parse(at.toString(16).padStart(32, '0')));

const entryAt = (index: number, id: string): AuditEntry => ({
  v: 1,
  id,
  timeMs: START_MS + index * 1_000,
  counter: index,
  bootId: 'ab'.repeat(16),
  source: 'north-hospital',
  actor: ACTORS[index % ACTORS.length]!,
  role: 'researcher',
  action: ACTIONS[index % ACTIONS.length]!,
  outcome: index % 7 === 0 ? 'refused' : 'ok',
  objects: [{ kind: 'site', id: `hospital-${index % 40}` }],
  purpose: 'statistics',
  classification: 'confidential',
  session: null,
  requestId: index.toString(16).padStart(32, '0'),
  cost: index,
  detail: null,
});

const logOf = (entries: number): ExportLog => {
  const id = ulid(START_MS, (bytes) => Buffer.alloc(bytes, 7));
  async function* leaves(): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < entries; index += 1) yield encodeEntry(entryAt(index, id));
    await Promise.resolve();
  }
  const range = new CompactRange();
  for (let index = 0; index < entries; index += 1) range.append(leafHash(encodeEntry(entryAt(index, id))));
  const checkpoint = signCheckpoint(
    { origin: SIGNER.name, size: entries, root: range.root(), extensions: [] },
    [SIGNER],
  );
  return { name: 'coordinator', kind: 'audit', checkpoint, minimumIndex: 0, frontier: [], leaves };
};

const facts: ComplianceFacts = {
  federation: 'bench',
  organisation: { name: null, contact: null, dataProtectionOfficer: null },
  createdMs: START_MS,
  requestedBy: 'auditor',
  ground: 'bench',
  generator: 'bench',
  period: { fromMs: null, toMs: null },
  filtered: false,
  accounts: [],
  programKeys: [],
  sites: [],
  sitesMissing: [],
  directory: [],
  retention: { auditDays: 3_650, dataDays: 2_555 },
  microEpsilonMax: null,
};

/** Runs `work`; how long it took, and the most memory the process had meanwhile. */
const watched = async <T>(work: () => Promise<T>) => {
  globalThis.gc?.();
  let rssBytes = process.memoryUsage.rss();
  const timer = setInterval(() => (rssBytes = Math.max(rssBytes, process.memoryUsage.rss())), 20);
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()];
  try {
    const value = await work();
    const { user, system } = process.cpuUsage(cpu);
    return {
      value,
      seconds: (performance.now() - startedMs) / 1_000,
      cpuSeconds: (user + system) / 1e6,
      rssBytes,
    };
  } finally {
    clearInterval(timer);
  }
};

const POLICY = policyText('bench', [parseVerifierKey(SIGNER.verifierKey)], [], 0);

const measure = async (folder: string, entries: number) => {
  const file = path.join(folder, `${entries}.tar`);
  const log = logOf(entries);
  const written = await watched(() =>
    writeExport(file, {
      logs: [log],
      signer: SIGNER,
      createdMs: START_MS,
      generator: 'bench',
      organisation: null,
      federation: 'bench',
      requestedBy: 'auditor',
      ground: 'bench',
      policy: POLICY,
      derive: (spool) => complianceDeriver(facts, spool),
      folder,
    }),
  );
  const verified = await watched(async () => {
    const report = await verifyExport(createReadStream(file, { highWaterMark: 1024 * 1024 }), {
      policy: POLICY,
    });
    if (report.outcome !== 'good')
      throw new QflError('internal', { detail: JSON.stringify(report.findings) });
    return report;
  });
  const { size } = await stat(file);
  await rm(file);
  return {
    entries,
    fileBytes: size,
    export: {
      perSecond: entries / written.seconds,
      cpuSeconds: written.cpuSeconds,
      rssMaxBytes: written.rssBytes,
    },
    verify: {
      perSecond: entries / verified.seconds,
      /** What the program itself needs; the clock also counts a disk and a machine that others use. */
      perCpuSecond: entries / verified.cpuSeconds,
      cpuSeconds: verified.cpuSeconds,
      rssMaxBytes: verified.rssBytes,
    },
  };
};
type Measured = Awaited<ReturnType<typeof measure>>;

export interface ExportBenchResult {
  readonly name: 'export';
  readonly small: Measured;
  readonly large: Measured;
  readonly verifyGoalPerSecond: number;
  readonly verifyToGoal: number;
  /** Peak memory at all entries, over the peak at a tenth of them. */
  readonly exportMemoryRatio: number;
  readonly verifyMemoryRatio: number;
}

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
const lineOf = ({ entries, fileBytes, export: out, verify }: Measured): string =>
  `${entries} entries (${mib(fileBytes)}): export ${out.perSecond.toFixed(0)} entries/s, peak ${mib(out.rssMaxBytes)}; verify ${verify.perSecond.toFixed(0)} entries/s (${verify.perCpuSecond.toFixed(0)} per CPU second), peak ${mib(verify.rssMaxBytes)}`;

const entriesOf = (args: readonly string[]): number => {
  const { values } = parseArgs({ args: [...args], options: { entries: { type: 'string' } } });
  const entries = Number(values.entries ?? ENTRIES_DEFAULT);
  if (Number.isInteger(entries) && entries >= 10) return entries;
  throw new QflError('invalid_request', { detail: '--entries takes a whole number from 10 on' });
};

export const run = async ({
  json,
  args = [],
}: {
  readonly json: boolean;
  readonly args?: readonly string[];
}): Promise<ExportBenchResult> => {
  const entries = entriesOf(args);
  const folder = await mkdtemp(path.join(process.cwd(), '.bench-export-'));
  try {
    const small = await measure(folder, Math.floor(entries / 10));
    const large = await measure(folder, entries);
    const result: ExportBenchResult = {
      name: 'export',
      small,
      large,
      verifyGoalPerSecond: VERIFY_GOAL_PER_SECOND,
      verifyToGoal: large.verify.perSecond / VERIFY_GOAL_PER_SECOND,
      exportMemoryRatio: large.export.rssMaxBytes / small.export.rssMaxBytes,
      verifyMemoryRatio: large.verify.rssMaxBytes / small.verify.rssMaxBytes,
    };
    console.log(
      json
        ? JSON.stringify(result)
        : `${lineOf(small)}\n${lineOf(large)}\nverify, of its goal of ${VERIFY_GOAL_PER_SECOND}/s: ${result.verifyToGoal.toFixed(2)}; memory at ten times the entries: export ${result.exportMemoryRatio.toFixed(2)}x, verify ${result.verifyMemoryRatio.toFixed(2)}x`,
    );
    return result;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
