/** Cuts a stream of pieces into lines without copying what lies whole in one piece. */
const NEWLINE = 10;

export class LineCutter {
  /** Complete lines so far. */
  lines = 0;
  readonly #take: ((line: Uint8Array) => void) | undefined;
  readonly #bytesMax: number;
  #rest: Uint8Array[] = [];
  #restBytes = 0;
  #tooLong = false;

  /** Without `take` lines are only counted. */
  constructor(take: ((line: Uint8Array) => void) | undefined, bytesMax: number) {
    this.#take = take;
    this.#bytesMax = bytesMax;
  }

  push(piece: Uint8Array): void {
    let begin = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, begin)) {
      this.lines += 1;
      if (this.#take !== undefined) this.#take(this.#join(piece.subarray(begin, end)));
      begin = end + 1;
    }
    this.#keep(piece.subarray(begin), begin > 0);
  }

  /** False when the last line has no end, or a line was longer than it may be. */
  get isWhole(): boolean {
    return this.#restBytes === 0 && !this.#tooLong;
  }

  #keep(rest: Uint8Array, isNew: boolean): void {
    if (isNew && this.#take === undefined) this.#restBytes = 0;
    this.#restBytes += rest.byteLength;
    if (this.#take === undefined || rest.byteLength === 0) return;
    if (this.#restBytes > this.#bytesMax) this.#tooLong = true;
    else this.#rest.push(Buffer.from(rest));
  }

  #join(last: Uint8Array): Uint8Array {
    if (this.#restBytes === 0) return last;
    const line = Buffer.concat([...this.#rest, last]);
    [this.#rest, this.#restBytes] = [[], 0];
    return line;
  }
}
