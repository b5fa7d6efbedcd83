/** A relayed query among the tasks: begun when it comes, placed when its first piece says where, ended as it ends. Never content. */
import { toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Envelope } from '../../shared/wire/envelope.ts';
import type { Reply } from '../../shared/wire/peer.ts';
import { RelayedPart } from '../../shared/wire/session.ts';
import type { TaskLedger } from '../tasks/ledger.ts';

export async function* asTask(
  ledger: TaskLedger,
  { kind, queryId, priority, createdMs, expiresMs }: Envelope,
  sender: SiteId,
  pieces: AsyncIterable<Reply>,
  signal: AbortSignal,
): AsyncGenerator<Reply> {
  const task = ledger.begin({
    kind,
    query: queryId,
    sender,
    priority,
    timeoutMs: Math.max(1, expiresMs - createdMs),
  });
  let isPlaced = false;
  let isWhole = false;
  try {
    for await (const piece of pieces) {
      const part = isPlaced || kind !== 'chat' ? undefined : RelayedPart.safeParse(piece.header).data;
      if (part !== undefined) {
        isPlaced = true;
        task.placed(part.site);
      }
      yield piece;
    }
    isWhole = true;
    task.end();
  } catch (error) {
    task.end(signal.aborted ? 'cancelled' : toQflError(error).code);
    throw error;
  } finally {
    // An asker who stops reading leaves through here.
    if (!isWhole) task.end('cancelled');
  }
}
