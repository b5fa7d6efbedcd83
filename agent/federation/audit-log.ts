/** This site's audit log for an export: checkpoint first, then leaves in pieces. Nothing personal is in a leaf. */
import type { AppendLog } from '../../shared/audit/log.ts';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import { framed, toBase64 } from '../../shared/bytes.ts';
import type { Reply } from '../../shared/wire/peer.ts';
import type { LogPart } from '../../shared/wire/session.ts';

const PIECE_BYTES = 128 * 1_024;

export async function* streamAuditLog(log: AppendLog): AsyncGenerator<Reply> {
  const checkpoint = await log.checkpoint();
  const { minimumIndex } = log;
  const pruned =
    minimumIndex === 0
      ? {}
      : { minimumIndex, frontier: (await log.frontierAt(minimumIndex)).map((one) => toBase64(one)) };
  yield { header: { checkpoint, verifierKey: log.verifierKey, ...pruned } satisfies LogPart };
  let leaves: Uint8Array[] = [];
  let bytes = 0;
  for await (const { leaf } of log.entries(minimumIndex, readCheckpoint(checkpoint).size)) {
    leaves.push(leaf);
    bytes += leaf.byteLength;
    if (bytes < PIECE_BYTES) continue;
    yield { header: {} satisfies LogPart, payload: framed(...leaves) };
    [leaves, bytes] = [[], 0];
  }
  if (bytes > 0) yield { header: {} satisfies LogPart, payload: framed(...leaves) };
}
