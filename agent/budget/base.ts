/**
 * The first frame of a compacted journal. It stands for all records up to one: its counter is that record's, its "hash of the record before"
 * is that record's hash, so that the chain of what follows is verified as ever; its sealed content says what those records came to, and which
 * archive file holds them. Sealed under a name of its own, so that no record passes for it.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { openAtRest, sealAtRest } from '../../shared/store/encrypted.ts';
import type { DurableFile } from './disk.ts';
import { encodeFrame } from './frame.ts';
import type { Head } from './mark.ts';
import { CountersignedFacts } from './records.ts';
import { damaged } from './recover.ts';
import { EMPTY_HEAD, readFrames } from './scan.ts';
import { StateText } from './state.ts';

export const BaseContent = z.strictObject({
  version: z.literal(1),
  state: StateText,
  /** The records that were taken out, as they stood in the journal. */
  archive: z.strictObject({
    name: z.string().max(100),
    bytes: z.int().nonnegative(),
    /** BLAKE2b-256 of the file, hex. */
    hash: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  /** The newest countersigned head then: older ones cannot be looked up any more. */
  countersigned: CountersignedFacts.nullable(),
  atMs: z.int(),
});
export type BaseContent = z.infer<typeof BaseContent>;

const baseName = (site: string, counter: number): string => `ledger/base/${site}/${counter}`;

/** @param stands the last record that the frame stands for. */
export const encodeBase = (
  stands: Pick<Head, 'counter' | 'hash'>,
  content: BaseContent,
  place: { readonly site: string; readonly dataKey: Uint8Array; readonly random: RandomBytes },
): Uint8Array => {
  const sealed = sealAtRest(
    place.dataKey,
    baseName(place.site, stands.counter),
    utf8(JSON.stringify(content)),
    place.random,
  );
  return encodeFrame(stands.counter, stands.hash, sealed).bytes;
};

export interface JournalStart {
  /** Where the records begin; the counter and hash are of the one before the first. */
  readonly head: Head;
  /** Undefined where the journal begins with its genesis. */
  readonly base: BaseContent | undefined;
}

/** @throws QflError `ledger_damaged` */
export const readStart = async (
  journal: DurableFile,
  { site, dataKey }: { readonly site: string; readonly dataKey: Uint8Array },
): Promise<JournalStart> => {
  const fromGenesis: JournalStart = { head: EMPTY_HEAD, base: undefined };
  const [first] = await readFrames(journal, 0, 1).catch(() => []);
  // What does not read is for the scan to judge, which knows the mark.
  if (first === undefined || first.counter === 0) return fromGenesis;
  try {
    const content = openAtRest(dataKey, baseName(site, first.counter), first.sealed);
    return {
      head: { counter: first.counter, hash: first.previous, size: first.bytes },
      base: BaseContent.parse(JSON.parse(fromUtf8(content))),
    };
  } catch {
    throw damaged('the first record of the privacy ledger is not its beginning', { counter: first.counter });
  }
};
