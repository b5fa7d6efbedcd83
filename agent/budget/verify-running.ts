/** The whole verification of a ledger that serves: nightly, beside the charges. */
import { QflError } from '../../shared/errors.ts';
import type { Core } from './core.ts';
import type { LedgerPlace } from './open.ts';
import { damaged } from './recover.ts';
import { replayForCheck, sameState } from './verify.ts';

/** A slice of a few milliseconds; then whoever waits has its turn. */
const PAUSE_RECORDS = 128;
const DURABLE_POLL_MS = 5;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** @throws QflError `ledger_damaged`, and the ledger then serves nothing more; `cancelled` when `pause` throws that */
export const verifyRunning = async (
  core: Core,
  place: Pick<LedgerPlace, 'dataKey' | 'site'>,
  pause: () => Promise<void> = nextTurn,
): Promise<{ readonly records: number }> => {
  const { state, writer, journal, start } = core;
  // Taken together: what is counted is what the records up to this one come to.
  const head = writer.head();
  const counted = state.toText();
  while (writer.durableHead().counter < head.counter) {
    writer.assertServing();
    await new Promise((resolve) => setTimeout(resolve, DURABLE_POLL_MS));
  }
  let agrees = head.counter === start.head.counter;
  let reached = start.head.counter;
  const check = async (): Promise<void> => {
    await replayForCheck({
      journal,
      start,
      place,
      upTo: head.counter,
      at(counter, replayed) {
        reached = counter;
        if (counter === head.counter) agrees = sameState(counted, replayed.toText());
        return counter % PAUSE_RECORDS === 0 ? pause() : undefined;
      },
    });
  };
  try {
    await check();
  } catch (cause) {
    // Whoever asked for it has lost interest; that says nothing about the ledger.
    if (cause instanceof QflError && cause.code === 'cancelled') throw cause;
    const fault = damaged('a record of the privacy ledger does not read or fit', { after: reached });
    writer.refuse(fault);
    throw cause;
  }
  if (reached >= head.counter && agrees) return { records: head.counter - start.head.counter };
  const fault = damaged(
    reached < head.counter
      ? 'a record of the privacy ledger is damaged'
      : 'what the privacy ledger counts is not what its records come to',
    { record: reached + (reached < head.counter ? 1 : 0) },
  );
  writer.refuse(fault);
  throw fault;
};
