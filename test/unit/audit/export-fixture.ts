import { createAuditLog } from '../../../shared/audit/audit-log.ts';
import { createExport, type ExportLog, exportLog, type ExportOptions } from '../../../shared/audit/export.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { policyText } from '../../../shared/audit/policy.ts';
import { ed25519NoteSigner, type NoteSigner, parseVerifierKey } from '../../../shared/audit/note.ts';
import { systemClock } from '../../../shared/clock.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';

export const signerOf = (name: string, byte: number) => ed25519NoteSigner(name, Buffer.alloc(32, byte));
export const SIGNERS = {
  coordinator: signerOf('f/coordinator', 1),
  north: signerOf('f/north', 2),
  keys: signerOf('f/keys', 3),
};

/** Every log of the fixture, and no witnesses. */
export const POLICY = policyText(
  'test',
  Object.values(SIGNERS).map(({ verifierKey }) => parseVerifierKey(verifierKey)),
  [],
  0,
);

/** A log with its export; `timeOf` is what the clock says for each entry. */
export const openTestLog = async (
  name: 'coordinator' | 'north',
  count: number,
  signer: NoteSigner = SIGNERS[name],
  timeOf?: (index: number) => number,
) => {
  const log = await AppendLog.open({ store: createMemoryStore(), prefix: 'a/', signer, create: true });
  const clock =
    timeOf === undefined
      ? systemClock
      : { ...systemClock, nowMs: () => timeOf(Math.min(log.size, count - 1)) };
  const audit = createAuditLog({ log, source: name, clock, random: secureRandomBytes });
  if (timeOf === undefined)
    await Promise.all(
      Array.from({ length: count }, () => audit.record({ action: 'chat.served', outcome: 'ok' })),
    );
  // One after another: the clock is asked for each.
  else for (let at = 0; at < count; at += 1) await audit.record({ action: 'chat.served', outcome: 'ok' });
  return { log: await exportLog(name, 'audit', log), audit };
};

export const auditLogOf = async (name: 'coordinator' | 'north', count: number): Promise<ExportLog> =>
  (await openTestLog(name, count)).log;

export const keysLogOf = async (leaves: readonly Uint8Array[]): Promise<ExportLog> => {
  const log = await AppendLog.open({
    store: createMemoryStore(),
    prefix: 'k/',
    signer: SIGNERS.keys,
    create: true,
  });
  await Promise.all(leaves.map((leaf) => log.append({ leaf })));
  return exportLog('keys', 'opaque', log);
};

export const optionsOf = (logs: readonly ExportLog[], rest: Partial<ExportOptions> = {}): ExportOptions => ({
  logs,
  federation: 'f',
  policy: POLICY,
  signer: SIGNERS.coordinator,
  createdMs: 1_790_000_000_000,
  generator: 'test',
  organisation: 'Federation',
  requestedBy: 'auditor',
  ground: 'yearly review',
  ...rest,
});

export const collect = async (source: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
};

export const exportOf = (logs: readonly ExportLog[], rest: Partial<ExportOptions> = {}): Promise<Buffer> =>
  collect(createExport(optionsOf(logs, rest)));

export async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield await Promise.resolve(bytes);
}
