/**
 * The newest countersigned head that this site knows of, in a file beside the journal. Public, and signed twice; kept so that a start without
 * the coordinator still holds the journal against it.
 */
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { CountersignedHead } from '../../shared/wire/ledger-head.ts';
import type { LedgerFolder } from './disk.ts';
import type { CountersignedFacts } from './records.ts';

export const COUNTERSIGNED_NAME = 'ledger.countersigned';
const NEW_NAME = 'ledger.countersigned.new';
const BYTES_MAX = 16 * 1024;

export const countersignedFacts = ({ signed: { head } }: CountersignedHead): CountersignedFacts => ({
  epoch: head.epoch,
  counter: head.counter,
  hash: head.hash,
  units: head.units,
  ...(head.delta === undefined ? {} : { delta: head.delta }),
  atMs: head.atMs,
});

/** Undefined when there is none; one that does not read is as good as none, and the coordinator tells it again. */
export const readCountersigned = async (folder: LedgerFolder): Promise<CountersignedHead | undefined> => {
  const file = await folder.open(COUNTERSIGNED_NAME);
  if (file === undefined) return undefined;
  try {
    return CountersignedHead.parse(JSON.parse(fromUtf8(await file.read(0, BYTES_MAX))));
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
};

/** On the disk when it returns; a power cut leaves this one or the one before. */
export const writeCountersigned = async (folder: LedgerFolder, head: CountersignedHead): Promise<void> => {
  await folder.remove(NEW_NAME);
  const file = await folder.create(NEW_NAME);
  try {
    await file.write(utf8(JSON.stringify(head)), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await folder.rename(NEW_NAME, COUNTERSIGNED_NAME);
};
