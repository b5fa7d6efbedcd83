/** Files of an export before their lengths are known: a tar member's length stands before it, so each is written to disk first and hashed on the way. */
import { createHash, type Hash, hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../bytes.ts';

const FLUSH_BYTES = 256 * 1024;

export interface FinishedFile {
  /** In the archive. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly rows: number | null;
  readonly content: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A file that fits into memory. */
export const smallFile = (path: string, content: Uint8Array, rows: number | null = null): FinishedFile => ({
  path,
  bytes: content.byteLength,
  sha256: toHex(hash('sha256', content, 'buffer')),
  rows,
  content: () => [content],
});

export class SpoolFile {
  readonly #path: string;
  readonly #file: string;
  readonly #digest: Hash = createHash('sha256');
  #handle: FileHandle | undefined;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #bytes = 0;

  /** `path` in the archive; `folder` holds it meanwhile. */
  constructor(folder: string, path: string) {
    this.#path = path;
    this.#file = join(folder, path.replaceAll('/', '_'));
  }

  /** Kept in memory until `drain`. */
  push(piece: Uint8Array | string): void {
    const bytes = typeof piece === 'string' ? Buffer.from(piece, 'utf8') : piece;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.byteLength;
  }

  /** Writes what is kept when there is enough of it. */
  async drain(all = false): Promise<void> {
    if (this.#pendingBytes === 0 || (!all && this.#pendingBytes < FLUSH_BYTES)) return;
    const block = Buffer.concat(this.#pending);
    [this.#pending, this.#pendingBytes] = [[], 0];
    this.#digest.update(block);
    this.#bytes += block.byteLength;
    this.#handle ??= await open(this.#file, 'w', 0o600);
    await this.#handle.writeFile(block);
  }

  async finish(rows: number | null): Promise<FinishedFile> {
    await this.drain(true);
    await this.close();
    const [path, file, bytes] = [this.#path, this.#file, this.#bytes];
    return {
      path,
      bytes,
      sha256: this.#digest.digest('hex'),
      rows,
      content: async function* content() {
        if (bytes === 0) return;
        for await (const chunk of createReadStream(file, { highWaterMark: FLUSH_BYTES }))
          if (chunk instanceof Uint8Array) yield chunk;
      },
    };
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }
}
