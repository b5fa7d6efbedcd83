/**
 * The tar format (POSIX ustar) with one spelling: a member's 512-byte header follows from its name and size alone, padding is
 * zero, and the archive ends with two zero blocks and nothing else. Any tar program reads it; our reader accepts no other
 * spelling, so that no byte of an export is outside what is checked.
 */
import { QflError } from '../errors.ts';

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
/** 11 octal digits. */
const MEMBER_BYTES_MAX = 8 ** 11 - 1;
/** All members carry the same date, 1 January 2025: the date that counts is in the manifest. */
const MTIME_S = 1_735_689_600;

const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;

/** @throws QflError `too_large` from 8 GiB on; `invalid_request` for a name that is not 1–99 plain characters */
export const tarHeader = (name: string, bytes: number): Uint8Array => {
  if (!/^[a-z0-9][a-z0-9._/-]{0,98}$/i.test(name) || name.includes('..')) {
    throw new QflError('invalid_request', { detail: 'a member name is 1–99 plain characters' });
  }
  if (bytes > MEMBER_BYTES_MAX) throw new QflError('too_large', { detail: `${name} is larger than 8 GiB` });
  const header = Buffer.alloc(BLOCK_BYTES);
  header.write(name, 0, NAME_BYTES, 'latin1');
  header.write(
    octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(bytes, 11) + octal(MTIME_S, 11),
    NAME_BYTES,
  );
  // The checksum is taken with its own field as spaces, then written as six digits, NUL, space.
  header.write(' '.repeat(8) + '0', 148);
  header.write('ustar\x0000', 257);
  header.write(octal(0, 7) + octal(0, 7), 329);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)} `, 148);
  return header;
};

export const tarPadding = (bytes: number): Uint8Array =>
  Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES);

/** The two zero blocks that end an archive. */
export const TAR_END: Uint8Array = Buffer.alloc(2 * BLOCK_BYTES);

/** The archive is not what a writer of ours makes: `cut` when it only ends early. */
export class TarFault extends Error {
  readonly kind: 'cut' | 'altered';
  constructor(kind: 'cut' | 'altered', message: string) {
    super(message);
    this.name = 'TarFault';
    this.kind = kind;
  }
}

export interface TarMember {
  readonly name: string;
  readonly bytes: number;
  /** The content in pieces; read it to its end before asking for the next member. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Pulls exact numbers of bytes out of a stream of chunks. */
class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** Between 1 and `bytesMax` bytes, or undefined at the end. */
  async some(bytesMax: number): Promise<Uint8Array | undefined> {
    while (this.#rest.byteLength === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return undefined;
      this.#rest = next.value;
    }
    const piece = this.#rest.subarray(0, bytesMax);
    this.#rest = this.#rest.subarray(piece.byteLength);
    return piece;
  }

  async *exactly(bytes: number, what: string): AsyncIterable<Uint8Array> {
    for (let left = bytes; left > 0;) {
      const piece = await this.some(left);
      if (piece === undefined) throw new TarFault('cut', `the archive ends inside ${what}`);
      left -= piece.byteLength;
      yield piece;
    }
  }

  async block(bytes: number, what: string): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.exactly(bytes, what)) pieces.push(piece);
    return Buffer.concat(pieces);
  }
}

const parseHeader = (block: Buffer): { name: string; bytes: number } => {
  const name = block.toString('latin1', 0, NAME_BYTES).replace(/\0.*$/s, '');
  const size = block.toString('latin1', 124, 135);
  if (!/^[0-7]{11}$/.test(size)) throw new TarFault('altered', 'a member header has no readable size');
  const bytes = Number.parseInt(size, 8);
  let canonical: Uint8Array;
  try {
    canonical = tarHeader(name, bytes);
  } catch {
    throw new TarFault('altered', 'a member header has no acceptable name');
  }
  if (!block.equals(canonical)) throw new TarFault('altered', `the header of ${name} is not as written`);
  return { name, bytes };
};

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/**
 * Members in order.
 * @throws TarFault
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncIterable<TarMember> {
  const input = new ByteSource(source);
  for (;;) {
    const header = await input.block(BLOCK_BYTES, 'a member header');
    if (isZero(header)) break;
    const { name, bytes } = parseHeader(header);
    yield { name, bytes, content: input.exactly(bytes, name) };
    const padding = await input.block(tarPadding(bytes).byteLength, `the padding of ${name}`);
    if (!isZero(padding)) throw new TarFault('altered', `the padding after ${name} is not zero`);
  }
  const end = await input.block(BLOCK_BYTES, 'its end mark');
  if (!isZero(end) || (await input.some(1)) !== undefined) {
    throw new TarFault('altered', 'there are bytes after the end of the archive');
  }
}
