/** Asks a site until it answers: over whatever connection it has, again after each loss. */
import { type QflError, toQflError } from '../../shared/errors.ts';
import { pause } from '../../shared/pause.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Received, Reply } from '../../shared/wire/peer.ts';
import type { Presence } from '../sites/presence.ts';

const AGAIN_AFTER_MS = 250;
/** What says nothing of the question: the line was cut, or the site is busy. */
const PASSING: ReadonlySet<string> = new Set(['not_connected', 'timeout', 'cut', 'overloaded', 'cancelled']);
/** Of the connection, not of the round. */
const isPassing = ({ code }: QflError): boolean => PASSING.has(code);

export type Ask = (site: SiteId, method: string, message: Reply, signal: AbortSignal) => Promise<Received>;

/** @throws QflError what the site answers; the signal's reason */
export const askingOver =
  (presence: Pick<Presence, 'of'>, timeoutMs: number): Ask =>
  async (site, method, message, signal) => {
    for (;;) {
      signal.throwIfAborted();
      const connection = presence.of(site);
      if (connection !== undefined)
        try {
          return await connection.peer.request(method, message, { timeoutMs, signal });
        } catch (thrown) {
          const error = toQflError(thrown);
          if (signal.aborted || !isPassing(error)) throw error;
        }
      await pause(AGAIN_AFTER_MS, signal);
    }
  };
