/** Asks a site until it answers: over whatever connection it has, again after each loss. */
import { QflError, toQflError } from '../../shared/errors.ts';
import { pause } from '../../shared/rounds/pause.ts';
import type { z } from 'zod';
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

/** What a site said, as it should be. @throws QflError `protocol` */
export const parse = <Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> => {
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new QflError('protocol', { detail: 'a message of a sealed round is malformed' });
  return parsed.data;
};
