/**
 * The audit export: this coordinator's log and directory, and the log of every site that can be reached, as one file. Sites' logs are
 * spooled to disk first, because the archive is written in two passes; a site that cannot be reached is named as missing.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { coalesce, createExport, exportLog, type ExportLog } from '../../shared/audit/export.ts';
import { fromBase64, toBase64 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { unframed } from '../../shared/wire/framing.ts';
import { LogPart, METHODS } from '../../shared/wire/session.ts';
import type { CoordinatorHome } from '../home.ts';
import type { Presence } from '../sites/presence.ts';
import type { Registry } from '../sites/registry.ts';

const SITE_SILENCE_MAX_MS = 30_000;
const GENERATOR = 'qfl 0.1.0';

export interface ExportRequest {
  readonly home: CoordinatorHome;
  readonly registry: Registry;
  readonly presence: Presence;
  readonly clock: Clock;
  readonly requestedBy: string;
  readonly ground: string;
}

/** Brings a site's log here: one base64 leaf a line. @throws QflError when the site is not there or stops in the middle */
const spoolSite = async (site: SiteId, presence: Presence, folder: string): Promise<ExportLog> => {
  const peer = presence.of(site)?.peer;
  if (peer === undefined) throw new QflError('not_connected', { detail: `${site} is not connected` });
  const file = join(folder, site);
  const out = createWriteStream(file, { mode: 0o600 });
  let head: LogPart | undefined;
  for await (const piece of peer.stream(METHODS.auditLog, {}, { timeoutMs: SITE_SILENCE_MAX_MS })) {
    head ??= LogPart.parse(piece.header);
    for (const leaf of unframed(piece.payload))
      if (!out.write(`${toBase64(leaf)}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'finish');
  if (head?.checkpoint === undefined || head.verifierKey === undefined)
    throw new QflError('protocol', { detail: `${site} sent no checkpoint` });
  return {
    name: site,
    kind: 'audit',
    checkpoint: head.checkpoint,
    verifierKeys: [head.verifierKey],
    leaves: async function* leaves() {
      for await (const line of createInterface({ input: createReadStream(file, 'utf8') }))
        yield fromBase64(line);
    },
  };
};

/** The bytes of the archive. */
export async function* exportLogs(request: ExportRequest): AsyncGenerator<Uint8Array> {
  const { home, registry, presence, clock, requestedBy, ground } = request;
  const folder = await mkdtemp(join(tmpdir(), 'qfl-export-'));
  try {
    const logs = [
      await exportLog('coordinator', 'audit', home.audit.log),
      await exportLog('keys', 'opaque', home.keyLog.log),
    ];
    const missing: string[] = [];
    for (const { site, status } of registry.list()) {
      if (status !== 'approved') continue;
      try {
        logs.push(await spoolSite(site, presence, folder));
      } catch {
        missing.push(site);
      }
    }
    const stated =
      missing.length === 0
        ? ground
        : `${ground}; without the logs of ${missing.join(', ')}, which could not be reached`;
    yield* coalesce(
      createExport({
        logs,
        signer: home.exportSigner,
        createdMs: Math.trunc(clock.nowMs()),
        generator: GENERATOR,
        organisation: home.name,
        requestedBy,
        ground: stated,
      }),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
