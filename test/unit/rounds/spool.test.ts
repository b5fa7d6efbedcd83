/** A masked vector on its way in, over crashes and disks that are full: what is summed is what was hashed. */
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSpool, type Spool } from '../../../coordinator/rounds/spool.ts';
import { RoundId, SiteId } from '../../../shared/ids.ts';
import { CHUNK_BYTES, chunkHashOf } from '../../../shared/rounds/messages.ts';

const SITE = SiteId.parse('east');
const ROUND = RoundId.parse('ab'.repeat(16));
/** Two chunks and a short one. */
const BYTES = 2 * CHUNK_BYTES + 400;
const vector = Uint8Array.from({ length: BYTES }, (_, at) => (at * 31) % 251);
const chunks = [0, 1, 2].map((at) => vector.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES));
const hashes = Buffer.concat(chunks.map(chunkHashOf));

let home: string;
const started = (): Spool => createSpool(home, ROUND, BYTES / 4);
const sendFrom = async (spool: Spool, first: number): Promise<void> => {
  for (const [index, chunk] of chunks.entries()) if (index >= first) await spool.add(SITE, index, chunk);
};
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'qfl-spool-'));
});
afterEach(() => rm(home, { recursive: true }));

describe('a vector that was cut', () => {
  it.each([
    ['in its first chunk', 0, 1_000],
    ['in its second chunk', 1, CHUNK_BYTES + 1],
    ['in its last chunk', 2, BYTES - 1],
    ['between two', 1, CHUNK_BYTES],
  ])('%s by a crash goes on with whole chunks', async (_, first, kept) => {
    const before = started();
    await before.begin(SITE, hashes);
    await sendFrom(before, 0);
    await truncate(before.pathOf(SITE), kept);
    const after = started();
    expect((await after.begin(SITE, hashes)).chunks).toBe(first);
    await sendFrom(after, first);
    expect(Buffer.compare(await readFile(after.pathOf(SITE)), vector)).toBe(0);
  });

  it('whose first chunk is not what was sent is sent again from the start', async () => {
    const before = started();
    await before.begin(SITE, hashes);
    await sendFrom(before, 0);
    await writeFile(before.pathOf(SITE), Buffer.alloc(BYTES, 1));
    const after = started();
    expect((await after.begin(SITE, hashes)).chunks).toBe(0);
    await sendFrom(after, 0);
    expect(Buffer.compare(await readFile(after.pathOf(SITE)), vector)).toBe(0);
  });
});

describe('a chunk', () => {
  it('out of turn, or other than its hash, changes nothing', async () => {
    const spool = started();
    expect(await spool.add(SITE, 0, chunks[0]!)).toBeUndefined();
    await spool.begin(SITE, hashes);
    expect((await spool.add(SITE, 1, chunks[1]!))?.chunks).toBe(0);
    await expect(spool.add(SITE, 0, chunks[1]!)).rejects.toThrow(/not what its hash says/);
    await sendFrom(spool, 0);
    expect((await spool.add(SITE, 0, chunks[0]!))?.chunks).toBe(3);
    expect(Buffer.compare(await readFile(spool.pathOf(SITE)), vector)).toBe(0);
  });

  it('of another vector than was begun is refused, also after a crash', async () => {
    await started().begin(SITE, hashes);
    const other = Buffer.from(hashes.toReversed());
    await expect(started().begin(SITE, other)).rejects.toThrow(/another vector/);
  });
});
