/**
 * Long vectors are masked and summed in a thread, so that nobody waits for the arithmetic; short ones where they are, at once or in pieces between which
 * others get a turn, because a thread takes longer to start than they take.
 */
import { Worker } from 'node:worker_threads';
import { z } from 'zod';
import { breathe } from '../breathe.ts';
import { QflError } from '../errors.ts';
import { createBlake2b, HASH_BYTES } from '../crypto/hash.ts';
import { ROBUST_RULES, type RobustRule } from './robust.ts';
import { maskSlowly, openSpooled } from './spooled.ts';
import { mask, type Masks, type Words } from './words.ts';

const Seeds = z.array(z.custom<Uint8Array>((value) => value instanceof Uint8Array));
const MasksSchema = z.strictObject({ plus: Seeds, minus: Seeds });
export const ThreadJob = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('mask'), words: z.instanceof(ArrayBuffer), masks: MasksSchema }),
  /** Files of `count` words each. */
  z.strictObject({
    name: z.literal('open'),
    paths: z.array(z.string()),
    count: z.int().positive(),
    masks: MasksSchema,
  }),
  z.strictObject({
    name: z.literal('robust'),
    paths: z.array(z.string()).min(1),
    count: z.int().positive(),
    rule: z.enum(ROBUST_RULES),
  }),
]);
export type ThreadJob = z.infer<typeof ThreadJob>;

/** The program beside this module; from the source tree, the compiled one. */
const programUrl = (): URL => {
  const here = import.meta.url;
  return here.endsWith('.ts')
    ? new URL('../../dist/shared/rounds/thread-program.js', here)
    : new URL('./thread-program.js', here);
};

/** @throws QflError `internal` when the thread died, the signal's reason */
const inThread = (job: ThreadJob, transferList: readonly ArrayBuffer[]): Promise<Words> =>
  new Promise((resolve, reject) => {
    const thread = new Worker(programUrl(), {
      workerData: job,
      transferList: [...transferList],
      stdin: false,
    });
    const fail = (cause: unknown): void =>
      reject(new QflError('internal', { detail: 'a thread for masks failed', cause }));
    thread.once('message', (value: unknown) => {
      if (value instanceof ArrayBuffer) resolve(new Uint32Array(value));
      else fail(value);
    });
    thread.once('error', fail);
    thread.once('exit', (code) => fail(new Error(`exit ${code}`)));
  });

/** Words times keystreams that are done at once: about a millisecond. */
const INLINE_WORDS_MAX = 500_000;
/** Those that are done in pieces: a tenth of a second of the processor, about what a thread needs to start on a busy machine. */
const PIECES_WORDS_MAX = 50_000_000;
/** A piece of so many keystreams takes two to three milliseconds. */
const PIECES_STREAMS_MAX = 100;

const isShort = (words: number, streams: number): boolean =>
  streams <= PIECES_STREAMS_MAX && words * streams <= PIECES_WORDS_MAX;

/** Masks a vector; the one given is not to be used any more. */
export const maskApart = async (words: Words, masks: Masks): Promise<Words> => {
  const streams = masks.plus.length + masks.minus.length;
  if (words.length * streams <= INLINE_WORDS_MAX) {
    mask(words, masks);
    return words;
  }
  if (isShort(words.length, streams)) {
    await maskSlowly(words, masks, breathe);
    return words;
  }
  const { buffer, byteOffset, byteLength } = words;
  const own =
    byteOffset === 0 && byteLength === buffer.byteLength
      ? buffer
      : buffer.slice(byteOffset, byteOffset + byteLength);
  return inThread({ name: 'mask', words: own, masks: { plus: [...masks.plus], minus: [...masks.minus] } }, [
    own,
  ]);
};

/** The sum of spooled vectors, with these masks applied. Memory: the sum, and one chunk. */
export const openApart = (paths: readonly string[], count: number, masks: Masks): Promise<Words> => {
  // A vector that is read and added costs about as much as a keystream.
  if (isShort(count, masks.plus.length + masks.minus.length + paths.length))
    return openSpooled(paths, count, masks, breathe);
  return inThread(
    { name: 'open', paths: [...paths], count, masks: { plus: [...masks.plus], minus: [...masks.minus] } },
    [],
  );
};

const HASHED_AT_ONCE_BYTES = 1_048_576;
/** BLAKE2b-256 of a long vector, a megabyte at a time with a turn for others after each. */
export const hashSlowly = async (bytes: Uint8Array): Promise<Uint8Array> => {
  const hash = createBlake2b(HASH_BYTES);
  for (let at = 0; at < bytes.byteLength; at += HASHED_AT_ONCE_BYTES) {
    hash.add(bytes.subarray(at, at + HASHED_AT_ONCE_BYTES));
    await breathe();
  }
  return hash.digest();
};

/** What a robust rule makes of spooled vectors that are not masked. Memory: the result, and one chunk of each. */
export const robustApart = (paths: readonly string[], count: number, rule: RobustRule): Promise<Words> =>
  inThread({ name: 'robust', paths: [...paths], count, rule }, []);
