/** Lines of a byte stream, without ever holding more than one line and one chunk. */
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export interface Line {
  /** From 1, counting every line of the file. */
  readonly number: number;
  /** Undefined when the line is longer than the limit; its bytes were dropped as they came. */
  readonly bytes: Buffer | undefined;
}

const trimEnd = (bytes: Buffer): Buffer =>
  bytes.length > 0 && bytes[bytes.length - 1] === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes;

const isBlank = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0x20 || byte === 0x09);

/** Gathers the pieces of one line; over the limit it keeps counting and lets the bytes go. */
class LineBuffer {
  readonly #bytesMax: number;
  #pieces: Buffer[] = [];
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(piece: Buffer): void {
    this.#length += piece.length;
    if (this.#length > this.#bytesMax) this.#pieces = [];
    else this.#pieces.push(piece);
  }

  take(): Buffer | undefined {
    const pieces = this.#pieces;
    const length = this.#length;
    this.#pieces = [];
    this.#length = 0;
    if (length > this.#bytesMax) return undefined;
    return trimEnd(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }
}

/** Every line that is not blank; a last line without a newline counts. Errors of `chunks` pass through. */
export async function* readLines(chunks: AsyncIterable<Buffer>, lineBytesMax: number): AsyncGenerator<Line> {
  const line = new LineBuffer(lineBytesMax);
  let number = 1;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      line.add(chunk.subarray(start, end));
      const bytes = line.take();
      if (bytes === undefined || !isBlank(bytes)) yield { number, bytes };
      number += 1;
      start = end + 1;
    }
    if (start < chunk.length) line.add(chunk.subarray(start));
  }
  if (line.isEmpty) return;
  const bytes = line.take();
  if (bytes === undefined || !isBlank(bytes)) yield { number, bytes };
}
