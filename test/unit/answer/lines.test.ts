import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHUNK_BYTES_MAX, createLineReader, gatherLines } from '../../../agent/answer/lines.ts';

async function* from(
  lines: readonly string[],
  pauseAfter?: number,
  pause?: Promise<void>,
): AsyncGenerator<string> {
  for (const [at, line] of lines.entries()) {
    yield line;
    if (at === pauseAfter) await pause;
  }
}
const chunksOf = async (source: AsyncIterable<string>, windowMs = 10): Promise<Uint8Array[]> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of gatherLines(source, windowMs)) chunks.push(Buffer.from(chunk));
  return chunks;
};

describe('lines inside chunks', () => {
  test('arrive as they were sent, whatever their lengths', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.string({ maxLength: 300 }).map((text) => text.replaceAll('\n', ' ')),
          { maxLength: 60 },
        ),
        async (lines) => {
          const reader = createLineReader();
          const read = (await chunksOf(from(lines), 0)).flatMap((chunk) => reader.take(chunk));
          expect(read).toEqual(lines);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a line longer than a chunk is split and joined again', async () => {
    const long = 'x'.repeat(CHUNK_BYTES_MAX * 2 + 17);
    const chunks = await chunksOf(from([long]));
    expect(chunks.every((chunk) => chunk.byteLength <= CHUNK_BYTES_MAX)).toBe(true);
    const reader = createLineReader();
    expect(chunks.flatMap((chunk) => reader.take(chunk))).toEqual([long]);
  });

  test('a burst after the first line shares a chunk; the first leaves by itself', async () => {
    const chunks = await chunksOf(from(['a', 'b', 'c', 'd', 'e']), 10_000);
    expect(chunks.map((chunk) => chunk.toString())).toEqual(['a\n', 'b\nc\nd\ne\n']);
  });

  test('what is due leaves although the source is silent', async () => {
    let release: () => void = () => undefined;
    const pause = new Promise<void>((resolve) => {
      release = resolve;
    });
    const gathered = gatherLines(from(['a', 'b', 'c'], 1, pause), 20);
    expect(Buffer.from((await gathered.next()).value ?? []).toString()).toBe('a\n');
    expect(Buffer.from((await gathered.next()).value ?? []).toString()).toBe('b\n');
    release();
    expect(Buffer.from((await gathered.next()).value ?? []).toString()).toBe('c\n');
    expect((await gathered.next()).done).toBe(true);
  });

  test('leaving early ends the source', async () => {
    let ended = false;
    async function* source(): AsyncGenerator<string> {
      try {
        for (;;) yield 'more';
      } finally {
        ended = true;
      }
    }
    for await (const _ of gatherLines(source(), 0)) break;
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(true);
  });

  test('an error of the source is the error of the chunks', async () => {
    async function* source(): AsyncGenerator<string> {
      yield 'a';
      throw new Error('back end broke');
    }
    await expect(chunksOf(source())).rejects.toThrowError('back end broke');
  });
});
