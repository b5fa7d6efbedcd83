/** A file's bytes as they would be without gzip, within limits. The two magic bytes decide, not the name. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { ImportLimits } from '../limits.ts';

/** The rest of this file cannot be read; the import reports it and goes on with the next. */
export class FileRefused extends Error {
  override readonly name = 'FileRefused';
}

const CHUNK_BYTES = 256 * 1024;

const refusalOf = (error: unknown): FileRefused => {
  if (error instanceof FileRefused) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'Z_BUF_ERROR') return new FileRefused('the gzip data ends too early', { cause: error });
  if (code.startsWith('Z_')) return new FileRefused('the gzip data is damaged', { cause: error });
  return new FileRefused(`the file could not be read (${code === '' ? 'unknown error' : code})`, {
    cause: error,
  });
};

const isGzip = async (path: string): Promise<boolean> => {
  const handle = await open(path, 'r');
  try {
    const magic = Buffer.alloc(2);
    const { bytesRead } = await handle.read(magic, 0, 2, 0);
    return bytesRead === 2 && magic[0] === 0x1f && magic[1] === 0x8b;
  } finally {
    await handle.close();
  }
};

const openStream = (path: string, gzip: boolean, onRawBytes: (bytes: number) => void): Readable => {
  const raw = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  raw.on('data', (chunk) => onRawBytes(chunk.length));
  if (!gzip) return raw;
  // The callback only keeps an early end from becoming an unhandled error; the reader below sees it as well.
  return pipeline(raw, createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined);
};

/**
 * @param onRawBytes bytes taken from disk so far
 * @throws FileRefused when the file cannot be read, its gzip data is damaged or cut, or a limit is passed
 */
export async function* readFileBytes(
  path: string,
  limits: ImportLimits,
  onRawBytes: (total: number) => void = () => undefined,
): AsyncGenerator<Buffer> {
  const gzip = await isGzip(path).catch((error: unknown) => {
    throw refusalOf(error);
  });
  let rawBytes = 0;
  let outBytes = 0;
  const stream = openStream(path, gzip, (bytes) => onRawBytes((rawBytes += bytes)));
  try {
    for await (const chunk of stream) {
      if (!Buffer.isBuffer(chunk)) continue;
      outBytes += chunk.length;
      if (outBytes > limits.fileBytesMax) throw new FileRefused('the file is larger than the limit');
      const suspicious = outBytes > limits.gzipRatioFromBytes && outBytes > rawBytes * limits.gzipRatioMax;
      if (gzip && suspicious) throw new FileRefused('the gzip data expands beyond the limit');
      yield chunk;
    }
  } catch (error) {
    throw refusalOf(error);
  } finally {
    stream.destroy();
  }
}

/** Up to `bytesMax` decompressed bytes from the start. @throws FileRefused */
export const readHead = async (path: string, limits: ImportLimits, bytesMax: number): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of readFileBytes(path, limits)) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytesMax) break;
  }
  return Buffer.concat(chunks).subarray(0, bytesMax);
};

/** The whole file, decompressed. @throws FileRefused above `documentBytesMax` */
export const readWhole = async (
  path: string,
  limits: ImportLimits,
  onRawBytes?: (total: number) => void,
): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of readFileBytes(path, limits, onRawBytes)) {
    length += chunk.length;
    if (length > limits.documentBytesMax) throw new FileRefused('the document is larger than the limit');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
};

/** SHA-256 of the bytes on disk: tells a resumed import that the file is still the same. @throws FileRefused */
export const hashFile = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
      if (Buffer.isBuffer(chunk)) hash.update(chunk);
    }
  } catch (error) {
    throw refusalOf(error);
  }
  return hash.digest('hex');
};
