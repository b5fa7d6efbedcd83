/**
 * What the records up to one of them come to, written down so that a start reads only what follows. Sealed under the data key and bound to
 * the site and to the hash of that record: it is taken up only where the journal holds that very record at that very place, so an
 * old one only makes the rest longer, and one of another journal or a torn one is no checkpoint at all.
 *
 * Two files in turn; each is written beside and renamed, so that the one before stays whole.
 */
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { z } from 'zod';
import { framed, fromHex, fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { assert } from '../../shared/errors.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { openAtRest, sealAtRest } from '../../shared/store/encrypted.ts';
import { unframed } from '../../shared/wire/framing.ts';
import type { DurableFile, LedgerFolder } from './disk.ts';
import type { Head } from './mark.ts';
import { readFrames } from './scan.ts';
import { type Offsets, StateText } from './state.ts';

export const CHECKPOINT_NAMES = ['ledger.checkpoint.a', 'ledger.checkpoint.b'] as const;
const NEW_NAME = 'ledger.checkpoint.new';
/** Larger than any: 100,000 users a day come to 20 MB. */
const CHECKPOINT_BYTES_MAX = 256 * 1024 * 1024;
const OFFSET_BYTES = 8;

const deflate = promisify<Buffer, { level: number }, Buffer>(deflateRaw);
const inflate = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(inflateRaw);

export interface Checkpoint {
  readonly head: Head;
  /** Of the head's record. */
  readonly lastOffset: number;
  readonly state: StateText;
  readonly offsets: Offsets;
  /** Of the keys of all queries that ended up to the head; may know later ones too. */
  readonly filter: Uint8Array;
  /** Of the keys of all queries that ended up to the head. */
  readonly digest: Uint8Array;
}

const Facts = z.strictObject({
  version: z.literal(1),
  counter: z.int(),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  size: z.int(),
  lastOffset: z.int(),
  first: z.int(),
  state: StateText,
});

const packOffsets = (offsets: readonly number[]): Uint8Array => {
  const bytes = Buffer.allocUnsafe(offsets.length * OFFSET_BYTES);
  for (const [at, offset] of offsets.entries()) bytes.writeBigUInt64BE(BigInt(offset), at * OFFSET_BYTES);
  return bytes;
};
const unpackOffsets = (packed: Uint8Array): number[] => {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  return Array.from({ length: bytes.byteLength / OFFSET_BYTES }, (_, at) =>
    Number(bytes.readBigUInt64BE(at * OFFSET_BYTES)),
  );
};

/** Not yet compressed and sealed; holds nothing that changes later. */
export const packCheckpoint = ({
  head,
  lastOffset,
  state,
  offsets,
  filter,
  digest,
}: Checkpoint): Uint8Array =>
  framed(
    utf8(
      JSON.stringify({
        version: 1,
        counter: head.counter,
        hash: toHex(head.hash),
        size: head.size,
        lastOffset,
        first: offsets.first,
        state,
      } satisfies z.infer<typeof Facts>),
    ),
    packOffsets(offsets.offsets),
    filter,
    digest,
  );

export const unpackCheckpoint = (packed: Uint8Array): Checkpoint => {
  const [json, offsets, filter, digest] = unframed(packed);
  assert(json !== undefined && offsets !== undefined, 'a checkpoint has four parts');
  assert(filter !== undefined && digest !== undefined, 'a checkpoint has four parts');
  const facts = Facts.parse(JSON.parse(fromUtf8(json)));
  return {
    head: { counter: facts.counter, hash: fromHex(facts.hash), size: facts.size },
    lastOffset: facts.lastOffset,
    state: facts.state,
    offsets: { first: facts.first, offsets: unpackOffsets(offsets) },
    filter,
    digest,
  };
};

const sealedName = (site: string): string => `ledger/checkpoint/${site}`;

export interface CheckpointPlace {
  readonly folder: LedgerFolder;
  readonly dataKey: Uint8Array;
  readonly site: string;
}

const readWhole = async (file: DurableFile): Promise<Uint8Array | undefined> => {
  try {
    const size = await file.size();
    return size > CHECKPOINT_BYTES_MAX ? undefined : await file.read(0, size);
  } finally {
    await file.close();
  }
};

const readOne = async (
  { folder, dataKey, site }: CheckpointPlace,
  name: string,
): Promise<Checkpoint | undefined> => {
  const file = await folder.open(name);
  if (file === undefined) return undefined;
  try {
    const sealed = await readWhole(file);
    if (sealed === undefined) return undefined;
    const packed = await inflate(openAtRest(dataKey, sealedName(site), sealed), {
      maxOutputLength: CHECKPOINT_BYTES_MAX,
    });
    return unpackCheckpoint(packed);
  } catch {
    // Torn, of another site or version: the journal tells the same, only slower.
    return undefined;
  }
};

/** Those that open under the data key, newest first. Whether the journal holds their record is for the caller to see. */
export const readCheckpoints = async (
  place: CheckpointPlace,
): Promise<readonly { readonly name: string; readonly checkpoint: Checkpoint }[]> => {
  const found: { name: string; checkpoint: Checkpoint }[] = [];
  for (const name of CHECKPOINT_NAMES) {
    const checkpoint = await readOne(place, name);
    if (checkpoint !== undefined) found.push({ name, checkpoint });
  }
  return found.toSorted((left, right) => right.checkpoint.head.counter - left.checkpoint.head.counter);
};

/** Does the journal hold the checkpoint's record, there, and of that hash? */
export const isOfJournal = async (
  journal: DurableFile,
  { head, lastOffset }: Checkpoint,
): Promise<boolean> => {
  if ((await journal.size()) < head.size) return false;
  const [last] = await readFrames(journal, lastOffset, 1);
  return (
    last !== undefined &&
    last.counter === head.counter &&
    Buffer.compare(last.hash, head.hash) === 0 &&
    lastOffset + last.bytes === head.size
  );
};

export const writeCheckpoint = async (
  { folder, dataKey, site }: CheckpointPlace,
  packed: Uint8Array,
  name: string,
  random: RandomBytes,
): Promise<void> => {
  // Fast rather than small: most of it is a sparse filter.
  const sealed = sealAtRest(
    dataKey,
    sealedName(site),
    await deflate(Buffer.from(packed), { level: 1 }),
    random,
  );
  await folder.remove(NEW_NAME);
  const file = await folder.create(NEW_NAME);
  try {
    await file.write(sealed, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await folder.rename(NEW_NAME, name);
};
