/** Does this journal hold a head that somebody outside countersigned? If not, it is an older copy, or another history. */
import { fromHex, toHex } from '../../shared/bytes.ts';
import type { QflError } from '../../shared/errors.ts';
import type { JournalStart } from './base.ts';
import type { DurableFile } from './disk.ts';
import type { Head } from './mark.ts';
import type { CountersignedFacts } from './records.ts';
import { behindAnchor, damaged } from './recover.ts';
import { readFrames } from './scan.ts';
import type { LedgerState } from './state.ts';

/** A head somebody outside countersigned: the journal must pass through it. */
export interface WitnessedHead {
  /** 0 when left out: a ledger that was never restored. */
  readonly epoch?: number;
  readonly counter: number;
  readonly hash: Uint8Array;
}

export const witnessedOf = ({ epoch, counter, hash }: CountersignedFacts): WitnessedHead => ({
  epoch,
  counter,
  hash: fromHex(hash),
});

export interface HeldJournal {
  readonly journal: DurableFile;
  readonly state: LedgerState;
  readonly start: JournalStart;
  readonly head: Head;
}

const isUpTo = (
  { epoch = 0, counter }: WitnessedHead,
  bound: Pick<CountersignedFacts, 'epoch' | 'counter'> | null | undefined,
): boolean =>
  bound !== null &&
  bound !== undefined &&
  (epoch < bound.epoch || (epoch === bound.epoch && counter <= bound.counter));

/** Hash of a record that is durable; undefined for those before the journal's start. */
export const hashAt = async (
  { journal, state, start, head }: HeldJournal,
  counter: number,
): Promise<Uint8Array | undefined> => {
  if (counter === head.counter) return head.hash;
  if (counter <= start.head.counter) return counter === start.head.counter ? start.head.hash : undefined;
  const near = state.offsetNear(counter);
  const frames = await readFrames(journal, near.offset, counter - near.counter + 1);
  return frames.at(-1)?.hash;
};

/** What is wrong with this journal in the light of the head; undefined when it holds it. */
export const faultAgainst = async (
  held: HeldJournal,
  witnessed: WitnessedHead,
): Promise<QflError | undefined> => {
  const { state, start, head } = held;
  const { epoch = 0, counter } = witnessed;
  // A restore took it into account: what was lost behind it is counted there.
  if (epoch < state.epoch() && isUpTo(witnessed, state.superseded())) return undefined;
  const facts = {
    journalCounter: head.counter,
    journalEpoch: state.epoch(),
    anchorCounter: counter,
    anchorEpoch: epoch,
  };
  if (epoch > state.epoch() || counter > head.counter)
    return behindAnchor(
      `the privacy ledger is behind its anchor: it ends at record ${head.counter} of epoch ${state.epoch()}, record ${counter} of epoch ${epoch} was countersigned`,
      facts,
    );
  const hash = await hashAt(held, counter);
  if (hash === undefined && isUpTo(witnessed, start.base?.countersigned)) return undefined;
  if (hash !== undefined && toHex(hash) === toHex(witnessed.hash)) return undefined;
  return epoch < state.epoch()
    ? behindAnchor('a head was countersigned that the last restore did not take into account', facts)
    : damaged('the privacy ledger is not the one its anchor was made for', facts);
};
