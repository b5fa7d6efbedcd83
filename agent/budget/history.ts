/** Pages of the journal for people: who asked when, what it cost, how it ended. Public facts; answers stay sealed. */
import { openAtRest } from '../../shared/store/encrypted.ts';
import { toHex } from '../../shared/bytes.ts';
import type { DurableFile } from './disk.ts';
import type { Head } from './mark.ts';
import { decodeRecord, type LedgerRecord } from './records.ts';
import { readFrames } from './scan.ts';
import { type LedgerState, OFFSET_STRIDE } from './state.ts';
import { recordName } from './writer.ts';

export interface HistoryEntry {
  readonly counter: number;
  /** Hex; the next record names it. */
  readonly hash: string;
  readonly record: LedgerRecord;
}

export const HISTORY_PAGE_MAX = 1_000;

/** Up to `limit` records below `before`, newest first. @throws QflError `ledger_damaged`, `storage_failed` */
export const readHistory = async (
  source: {
    readonly journal: DurableFile;
    readonly dataKey: Uint8Array;
    readonly state: LedgerState;
    readonly head: Head;
  },
  page: { readonly before?: number; readonly limit: number },
): Promise<HistoryEntry[]> => {
  const { journal, dataKey, state, head } = source;
  const end = Math.min(page.before ?? Infinity, head.counter + 1);
  const first = Math.max(state.firstCounter(), end - Math.min(page.limit, HISTORY_PAGE_MAX));
  if (end <= first) return [];
  const near = state.offsetNear(first);
  // At most a stride of records is read only to step over it.
  const frames = await readFrames(
    journal,
    near.offset,
    Math.min(end - near.counter, OFFSET_STRIDE + HISTORY_PAGE_MAX),
  );
  return frames
    .filter(({ counter }) => counter >= first)
    .map(({ counter, hash, sealed }) => ({
      counter,
      hash: toHex(hash),
      record: decodeRecord(openAtRest(dataKey, recordName(counter), sealed)).record,
    }))
    .toReversed();
};
