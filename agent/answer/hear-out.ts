/**
 * Leaving a stream whose content is whole. Cancelling it between its last piece and its end would make the coordinator and the
 * serving site log a delivered answer as a failed one, so the end is waited for in the background.
 */
import type { Received } from '../../shared/wire/peer.ts';

/** The end follows the last piece at once; one that does not come is not waited for longer. */
const END_AFTER_MAX_MS = 5_000;

const hearOut = async (pieces: AsyncIterator<Received>, leave: AbortController): Promise<void> => {
  const timer = setTimeout(() => leave.abort(), END_AFTER_MAX_MS);
  try {
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next());
  } catch {
    // Whatever becomes of the connection now, the answer is here.
  } finally {
    clearTimeout(timer);
  }
};

/** The pieces of a stream; left while `isWhole` says no, it is cancelled as any other. */
export async function* heardOut(
  open: (signal: AbortSignal) => AsyncIterable<Received>,
  signal: AbortSignal,
  isWhole: () => boolean,
): AsyncGenerator<Received> {
  const leave = new AbortController();
  const pieces = open(AbortSignal.any([signal, leave.signal]))[Symbol.asyncIterator]();
  try {
    for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value;
  } finally {
    if (isWhole()) void hearOut(pieces, leave);
    else await pieces.return?.(undefined);
  }
}
