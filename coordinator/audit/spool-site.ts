/** Brings a site's audit log here, to a file: one base64 leaf a line. */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import type { ExportLog } from '../../shared/audit/export.ts';
import { fromBase64, toBase64 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { unframed } from '../../shared/wire/framing.ts';
import { LogPart, METHODS } from '../../shared/wire/session.ts';
import type { Peer } from '../../shared/wire/peer.ts';

const SITE_SILENCE_MAX_MS = 30_000;

/**
 * Up to the checkpoint that others cosigned, where there is one; else up to the one that the site signs now. `cosignedOf` is asked by the name
 * that the log has now: after a restore it is another log.
 * @throws QflError `not_connected`, `protocol`, or what the site answers
 */
export const spoolSite = async (
  site: SiteId,
  peer: Pick<Peer, 'stream'> | undefined,
  folder: string,
  cosignedOf: (origin: string) => string | undefined,
): Promise<ExportLog> => {
  if (peer === undefined) throw new QflError('not_connected', { detail: `${site} is not connected` });
  const file = join(folder, site);
  const out = createWriteStream(file, { mode: 0o600 });
  let head: LogPart | undefined;
  try {
    for await (const piece of peer.stream(METHODS.auditLog, {}, { timeoutMs: SITE_SILENCE_MAX_MS })) {
      head ??= LogPart.parse(piece.header);
      for (const leaf of unframed(piece.payload))
        if (!out.write(`${toBase64(leaf)}\n`)) await once(out, 'drain');
    }
  } finally {
    out.end();
    await once(out, 'finish');
  }
  if (head?.checkpoint === undefined)
    throw new QflError('protocol', { detail: `${site} sent no checkpoint` });
  const now = readCheckpoint(head.checkpoint);
  const cosigned = cosignedOf(now.origin);
  const other = cosigned === undefined ? undefined : readCheckpoint(cosigned);
  const isUsable = other !== undefined && other.origin === now.origin && other.size <= now.size;
  const checkpoint = isUsable && cosigned !== undefined ? cosigned : head.checkpoint;
  const minimumIndex = head.minimumIndex ?? 0;
  const count = readCheckpoint(checkpoint).size - minimumIndex;
  if (count < 0) throw new QflError('protocol', { detail: `${site} sent a log shorter than its checkpoint` });
  return {
    name: site,
    kind: 'audit',
    checkpoint,
    minimumIndex,
    frontier: (head.frontier ?? []).map(fromBase64),
    leaves: async function* leaves() {
      let left = count;
      if (left === 0) return;
      for await (const line of createInterface({ input: createReadStream(file, 'utf8') })) {
        yield fromBase64(line);
        left -= 1;
        if (left === 0) return;
      }
    },
  };
};
