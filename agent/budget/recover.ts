/**
 * From the files to a journal that may be written again: holds it against its mark (and what others countersigned), cuts what nobody
 * was ever told, refuses everything else.
 */
import { QflError } from '../../shared/errors.ts';
import type { DurableFile } from './disk.ts';
import { type Head, type MarkReading, readMark, resetMark } from './mark.ts';
import { type Scanned, type ScanEnd, scanJournal } from './scan.ts';

const RESTORE =
  'Restore the ledger from the newest backup with "qfl agent ledger restore"; do not delete its files.';

export const behindAnchor = (detail: string, facts?: Record<string, unknown>): QflError =>
  new QflError('ledger_refuses', { detail, next: RESTORE, ...(facts === undefined ? {} : { facts }) });
export const damaged = (detail: string, facts: Record<string, unknown> = {}): QflError =>
  new QflError('ledger_damaged', { detail, next: RESTORE, facts });

/** What was promised must be there, in full. */
const checkReach = ({ head, fileSize }: ScanEnd, { head: mark, whole }: MarkReading): void => {
  const facts = { journalCounter: head.counter, anchorCounter: mark.counter };
  if (head.counter < mark.counter) {
    if (head.size < fileSize) throw damaged('a record of the privacy ledger is damaged', facts);
    throw behindAnchor(
      `the privacy ledger is behind its anchor: it ends at record ${head.counter}, the anchor is at ${mark.counter}`,
      facts,
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
const rewriteTail = async (
  journal: DurableFile,
  markEnd: number,
  { head, fileSize }: ScanEnd,
): Promise<void> => {
  if (fileSize === markEnd) return;
  const tail = await journal.read(markEnd, head.size - markEnd);
  await journal.truncate(markEnd);
  await journal.write(tail, markEnd);
  await journal.sync();
};

/** @throws QflError `ledger_damaged` */
export const readWholeMark = async (markFile: DurableFile): Promise<MarkReading> => {
  const mark = await readMark(markFile);
  if (mark === undefined) throw damaged('the mark of the privacy ledger is damaged');
  return mark;
};

const notItsAnchor = (counter: number): QflError =>
  damaged('the privacy ledger is not the one its anchor was made for', { counter });

export interface RecoverOptions {
  readonly journal: DurableFile;
  readonly markFile: DurableFile;
  /** Where reading starts: all records up to it are known otherwise. Not after the mark. */
  readonly from: Head;
  readonly each: (record: Scanned) => void | Promise<void>;
  /** Called once everything was read, and before anything is written; throws when the journal must not be used. */
  readonly approve: (end: ScanEnd) => Promise<void>;
}

/**
 * Verifies the journal from `from` on, calling `each` per record, and leaves journal and mark sound and equal.
 * @throws QflError `ledger_refuses` (behind its anchor), `ledger_damaged`.
 */
export const recoverJournal = async (options: RecoverOptions): Promise<Head> => {
  const { journal, markFile, from, each } = options;
  const mark = await readWholeMark(markFile);
  const { counter, hash } = mark.head;
  // Compaction moves records to other places, so where the mark's record ends is found, not read from it.
  let markEnd = counter === from.counter ? from.size : undefined;
  if (counter < from.counter || (counter === from.counter && Buffer.compare(hash, from.hash) !== 0))
    throw notItsAnchor(counter);
  const end = await scanJournal(
    journal,
    (record) => {
      if (record.counter === counter) {
        if (Buffer.compare(record.hash, hash) !== 0) throw notItsAnchor(counter);
        markEnd = record.offset + record.bytes;
      }
      return each(record);
    },
    from,
  );
  checkReach(end, mark);
  await options.approve(end);
  await rewriteTail(journal, markEnd ?? end.head.size, end);
  await resetMark(markFile, end.head);
  return end.head;
};
