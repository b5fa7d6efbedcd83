/** JSON texts as a byte stream of lines: how answers travel inside sealed chunks, whatever their lengths. */
import { fromUtf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';

/** Sealed chunks stay within one frame's body, with room for the seal and the headers around it. */
export const CHUNK_BYTES_MAX = 192 * 1_024;
const LINE_BYTES_MAX = 16 * 1_048_576;

/** Takes chunks as they come, gives whole lines. */
export const createLineReader = (): { take(chunk: Uint8Array): string[] } => {
  let rest: Uint8Array = new Uint8Array(0);
  return {
    take(chunk) {
      const joined = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = joined.lastIndexOf(0x0a);
      rest = joined.subarray(end + 1);
      if (rest.byteLength > LINE_BYTES_MAX)
        throw new QflError('too_large', { detail: 'a line of an answer' });
      return end === -1 ? [] : fromUtf8(joined.subarray(0, end)).split('\n');
    },
  };
};

/**
 * Lines gathered into chunks: the first leaves at once, later ones within `windowMs`, what is left at the end at once; none is
 * larger than 192 KiB. Bursts cost one seal instead of many, a lone token waits for nobody.
 */
export async function* gatherLines(
  lines: AsyncIterable<string>,
  windowMs: number,
): AsyncGenerator<Uint8Array> {
  const iterator = lines[Symbol.asyncIterator]();
  let buffer: Uint8Array[] = [];
  let next: Promise<IteratorResult<string>> | undefined;
  let sentMs = -Infinity;
  try {
    for (;;) {
      next ??= iterator.next();
      const waitMs = buffer.length === 0 ? undefined : Math.max(0, sentMs + windowMs - performance.now());
      const result = waitMs === undefined ? await next : await raceTimer(next, waitMs);
      if (result !== 'due') {
        next = undefined;
        if (result.done === true) break;
        buffer.push(Buffer.from(`${result.value}\n`));
      }
      if (result === 'due' || performance.now() - sentMs >= windowMs) {
        yield* split(Buffer.concat(buffer));
        buffer = [];
        sentMs = performance.now();
      }
    }
    yield* split(Buffer.concat(buffer));
  } finally {
    // The source may be waiting for its next token: it is told to stop without waiting for that token.
    void Promise.resolve(iterator.return?.()).catch(() => undefined);
  }
}

const raceTimer = async <T>(promise: Promise<T>, waitMs: number): Promise<T | 'due'> => {
  let timer: NodeJS.Timeout | undefined;
  const due = new Promise<'due'>((resolve) => {
    timer = setTimeout(() => resolve('due'), waitMs);
  });
  try {
    return await Promise.race([promise, due]);
  } finally {
    clearTimeout(timer);
  }
};

function* split(bytes: Uint8Array): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.byteLength; offset += CHUNK_BYTES_MAX)
    yield bytes.subarray(offset, offset + CHUNK_BYTES_MAX);
}
