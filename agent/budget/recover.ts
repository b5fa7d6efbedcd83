/**
 * From the files to a journal that may be written again: holds it against its mark (and what others witnessed), cuts what nobody
 * was ever told, refuses everything else.
 */
import { toHex } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import type { DurableFile } from './disk.ts';
import { type Head, type MarkReading, readMark, resetMark } from './mark.ts';
import { type Scanned, type ScanEnd, scanJournal } from './scan.ts';

/** A head somebody outside countersigned: the journal must pass through it. */
export interface WitnessedHead {
  readonly counter: number;
  readonly hash: Uint8Array;
}

const RESTORE = 'Restore the ledger from the newest backup; do not delete its files.';

const refuse = (detail: string): QflError => new QflError('ledger_refuses', { detail, next: RESTORE });
const damaged = (detail: string, facts: Record<string, number>): QflError =>
  new QflError('ledger_damaged', { detail, next: RESTORE, facts });

const wanted = (mark: Head, witnessed: readonly WitnessedHead[]): ReadonlyMap<number, readonly string[]> => {
  const byCounter = new Map<number, string[]>();
  for (const { counter, hash } of [mark, ...witnessed])
    byCounter.set(counter, [...(byCounter.get(counter) ?? []), toHex(hash)]);
  return byCounter;
};

/** What was promised must be there, in full. */
const checkReach = ({ head, fileSize }: ScanEnd, { head: mark, whole }: MarkReading, reach: number): void => {
  const facts = { journalCounter: head.counter, anchorCounter: Math.max(mark.counter, reach) };
  if (head.counter < facts.anchorCounter) {
    if (head.size < fileSize) throw damaged('a record of the privacy ledger is damaged', facts);
    throw refuse(
      `the privacy ledger is behind its anchor: it ends at record ${facts.journalCounter}, the anchor is at ${facts.anchorCounter}`,
    );
  }
  // The slot that does not read may have been the newer one: what is broken here could have been acknowledged.
  if (head.size < fileSize && !whole)
    throw damaged('the end of the privacy ledger and its mark are both damaged', facts);
};

/**
 * Rewrites what lies beyond the mark. It reads well now, but after a failed sync it may be in memory only; a later record must not
 * stand on one that a power cut can still take.
 */
const rewriteTail = async (journal: DurableFile, mark: Head, head: Head, fileSize: number): Promise<void> => {
  if (fileSize === mark.size) return;
  const tail = await journal.read(mark.size, head.size - mark.size);
  await journal.truncate(mark.size);
  await journal.write(tail, mark.size);
  await journal.sync();
};

/**
 * Verifies the whole journal, calling `each` per record, and leaves journal and mark sound and equal.
 * @throws QflError `ledger_refuses` (no mark, behind its anchor), `ledger_damaged`.
 */
export const recoverJournal = async (
  journal: DurableFile,
  markFile: DurableFile,
  witnessed: readonly WitnessedHead[],
  each: (record: Scanned) => void | Promise<void>,
): Promise<Head> => {
  const mark = await readMark(markFile);
  if (mark === undefined)
    throw new QflError('ledger_damaged', {
      detail: 'the mark of the privacy ledger is damaged',
      next: RESTORE,
    });
  const expected = wanted(mark.head, witnessed);
  const end = await scanJournal(journal, (record) => {
    if (expected.get(record.counter)?.some((hash) => hash !== toHex(record.hash)) === true)
      throw damaged('the privacy ledger is not the one its anchor was made for', { counter: record.counter });
    return each(record);
  });
  checkReach(end, mark, Math.max(-1, ...witnessed.map(({ counter }) => counter)));
  await rewriteTail(journal, mark.head, end.head, end.fileSize);
  await resetMark(markFile, end.head);
  return end.head;
};
