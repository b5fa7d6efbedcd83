/**
 * The audit export: this coordinator's log and directory, the log of every site that can be reached, and what auditors read, as one signed file.
 * Sites' logs are spooled to disk first, because a log is read twice for a period; a site that cannot be reached is named as missing.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Encrypter } from 'age-encryption';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import {
  coalesce,
  createExport,
  exportLog,
  type ExportLog,
  type Selection,
} from '../../shared/audit/export.ts';
import type { AppendLog } from '../../shared/audit/log.ts';
import { baseOrigin } from '../../shared/audit/origin.ts';
import { type Clock } from '../../shared/clock.ts';
import type { CoordinatorConfig } from '../../shared/config/config.ts';
import { siteLogOrigin } from '../../shared/directory/quorum.ts';
import { QflError } from '../../shared/errors.ts';
import { type ExportFilter, wantsEntry } from '../../shared/wire/audit-export.ts';
import type { Access } from '../access/start.ts';
import type { CoordinatorHome } from '../home.ts';
import { policyOf } from '../identity.ts';
import type { PolicyBook } from '../policy.ts';
import type { Presence } from '../sites/presence.ts';
import type { Registry } from '../sites/registry.ts';
import { complianceDeriver } from './compliance/derive.ts';
import type { ComplianceFacts } from './compliance/facts.ts';
import { keyFactsOf } from './compliance/keys.ts';
import type { Cosigning } from './cosigning.ts';
import { spoolSite } from './spool-site.ts';
import { GENERATOR } from '../../shared/version.ts';

/** What an export is made from; some of it is there only when the coordinator has started. */
export interface ExportSources {
  readonly home: CoordinatorHome;
  readonly registry: Registry;
  readonly presence: Presence;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly policy: PolicyBook;
  readonly access: () => Pick<Access, 'accounts' | 'pseudonyms'>;
  readonly cosigning: () => Pick<Cosigning, 'newest' | 'round'>;
  readonly settings: () => CoordinatorConfig;
}

export interface ExportRequest {
  readonly requestedBy: string;
  readonly ground: string;
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly filter?: ExportFilter | undefined;
  /** age recipient. */
  readonly recipient?: string | undefined;
  /** A checkpoint that the auditor holds. */
  readonly since?: string | undefined;
  readonly progress?: (entriesDone: number, entriesTotal: number) => void;
}
export type ExportLogs = (request: ExportRequest) => AsyncGenerator<Uint8Array>;

/** Accounts, keys, sites and directory as they stand. */
const factsOf = async (sources: ExportSources, request: ExportRequest, missing: readonly string[]) => {
  const { home, registry, presence, clock, policy, settings } = sources;
  const { accounts, pseudonyms } = sources.access();
  const directory: ComplianceFacts['directory'][number][] = [];
  for await (const { leaf, index } of home.keyLog.log.entries()) directory.push(keyFactsOf(leaf, index));
  const { organisation, audit } = settings();
  return {
    federation: home.name,
    organisation,
    createdMs: Math.trunc(clock.nowMs()),
    requestedBy: request.requestedBy,
    ground: request.ground,
    generator: GENERATOR,
    period: { fromMs: request.fromMs ?? null, toMs: request.toMs ?? null },
    filtered: Object.keys(request.filter ?? {}).length > 0,
    accounts: accounts.list().map((one) => ({
      id: one.id,
      pseudonym: pseudonyms.of(one.id),
      role: one.role,
      department: one.department,
      dataClass: one.dataClass,
      status: one.status,
      secondFactor: one.totp?.confirmed === true,
      createdMs: one.createdMs,
      lastSignInMs: one.lastSignInMs,
    })),
    programKeys: (await home.apiKeys.list()).map((one) => ({ ...one, pseudonym: pseudonyms.of(one.id) })),
    sites: registry.list().map(({ site, status }) => ({
      site,
      status,
      budgetTenths: presence.telemetry(site)?.budgetTenths ?? null,
    })),
    sitesMissing: missing,
    directory,
    retention: { auditDays: audit.retention.auditDays, dataDays: audit.retention.dataDays },
    microEpsilonMax: policy.current.policy.microEpsilonMax,
  } satisfies ComplianceFacts;
};

const selectionOf = ({ fromMs, toMs, filter = {} }: ExportRequest): Selection => ({
  fromMs: fromMs ?? null,
  toMs: toMs ?? null,
  filter: Object.fromEntries(
    Object.entries(filter).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  ),
  wants: (entry, log) => wantsEntry(filter, entry, log),
});

/** A cosigned checkpoint that reaches `size`, if there is one by now; else the log signs alone, and the verifier will say so. */
const newestOf = (cosigning: Pick<Cosigning, 'newest'>, log: AppendLog, size: number): string | undefined => {
  const note = cosigning.newest(log.origin);
  return note !== undefined && readCheckpoint(note).size >= size ? note : undefined;
};

const sinceOf = (
  logs: readonly AppendLog[],
  since: string | undefined,
): ((log: AppendLog) => string | undefined) => {
  if (since === undefined) return () => undefined;
  const { origin, size } = readCheckpoint(since);
  const log = logs.find((one) => one.origin === origin);
  if (log === undefined || size > log.size)
    throw new QflError('invalid_request', {
      detail:
        log === undefined
          ? `there is no log ${origin} here`
          : `the log ${origin} has ${log.size} entries, your checkpoint ${size}`,
      next: 'Give a checkpoint of this federation: the file coordinator/checkpoint or keys/checkpoint of an earlier export.',
    });
  return (one) => (one === log ? since : undefined);
};

async function* encrypted(source: AsyncIterable<Uint8Array>, recipient: string): AsyncGenerator<Uint8Array> {
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient(recipient);
  } catch (cause) {
    throw new QflError('invalid_request', { detail: 'the recipient is no age key (age1…)', cause });
  }
  yield* await encrypter.encrypt(ReadableStream.from<Uint8Array>(source));
}

/** The logs, each up to one checkpoint. Everything logged before the call is in. */
const gather = async (sources: ExportSources, request: ExportRequest, folder: string) => {
  const { home, registry, presence } = sources;
  const cosigning = sources.cosigning();
  const own = [
    ['coordinator', 'audit', home.audit.log],
    ['keys', 'opaque', home.keyLog.log],
  ] as const;
  const since = sinceOf(
    own.map(([, , log]) => log),
    request.since,
  );
  const sizes = own.map(([, , log]) => log.size);
  await cosigning.round();
  const logs: ExportLog[] = [];
  for (const [at, [name, kind, log]] of own.entries())
    logs.push(
      await exportLog(name, kind, log, {
        checkpoint: newestOf(cosigning, log, sizes[at] ?? 0),
        since: since(log),
      }),
    );
  const missing: string[] = [];
  for (const { site, status } of registry.list()) {
    const wanted = request.filter?.log === undefined || request.filter.log === site;
    if (status !== 'approved' || !wanted) continue;
    try {
      logs.push(
        await spoolSite(site, presence.of(site)?.peer, folder, (origin) =>
          baseOrigin(origin) === siteLogOrigin(home.name, site) ? cosigning.newest(origin) : undefined,
        ),
      );
    } catch {
      missing.push(site);
    }
  }
  return { logs, missing };
};

/** Each reads every log and fills a disk: no more of them at once. */
const EXPORTS_MAX = 2;

/** The bytes of the archive. @throws QflError `invalid_request` for a recipient or checkpoint that is none, `overloaded` when others are being made */
export const createExportLogs = (sources: ExportSources): ExportLogs => {
  let running = 0;
  return async function* exportLogs(request) {
    if (running >= EXPORTS_MAX)
      throw new QflError('overloaded', {
        detail: `${EXPORTS_MAX} exports are being made already`,
        next: 'Try again when one of them has ended.',
      });
    running += 1;
    try {
      yield* exportOnce(sources, request);
    } finally {
      running -= 1;
    }
  };
};

async function* exportOnce(sources: ExportSources, request: ExportRequest): AsyncGenerator<Uint8Array> {
  const { home } = sources;
  const folder = await mkdtemp(join(tmpdir(), 'qfl-export-'));
  try {
    const { logs, missing } = await gather(sources, request, folder);
    const facts = await factsOf(sources, request, missing);
    const archive = coalesce(
      createExport({
        logs,
        signer: home.exportSigner,
        createdMs: facts.createdMs,
        generator: GENERATOR,
        organisation: facts.organisation.name,
        federation: home.name,
        requestedBy: request.requestedBy,
        ground: request.ground,
        policy: policyOf(home),
        selection: selectionOf(request),
        statements: [
          ...missing.map((site) => `${site}: its log is missing, it could not be reached`),
          'names, query text and free text are not in the entries; the entries hold commitments to them',
        ],
        derive: (spool) => complianceDeriver(facts, spool),
        folder,
        ...(request.progress === undefined ? {} : { progress: request.progress }),
      }),
    );
    yield* request.recipient === undefined ? archive : encrypted(archive, request.recipient);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
