/** Damage of files: each byte flipped, each file gone, each cut, older versions put back. */
import { describe, expect, test } from 'vitest';
import { createLedger, DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { decodeFrame } from '../../../agent/budget/frame.ts';
import { QflError } from '../../../shared/errors.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { answer, DATA_KEY, freshLedger, openWith, request, SITE, testClock } from './fixture.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

const JOURNAL = 'ledger.journal';
const MARK = 'ledger.mark';

type Files = ReadonlyMap<string, Uint8Array>;

const smallLedger = async (): Promise<{
  files: Files;
  earlier: Files;
  spent: bigint;
  head: { counter: number; hash: Uint8Array };
}> => {
  const { ledger, disk } = await freshLedger();
  await answer(ledger, { query: 1 });
  const earlier = disk.content();
  await answer(ledger, { query: 2 });
  const spent = ledger.readings(request())[0]!.spentUnits;
  const head = ledger.head();
  await ledger.close();
  return { files: disk.content(), earlier, spent, head };
};

const openFiles = (files: Files, more: Parameters<typeof openWith>[1] = {}) =>
  openWith({ disk: createSimulatedDisk({ files }), clock: testClock(), store: createMemoryStore() }, more);

/** Units spent after opening, or the code it refused with. */
const outcome = async (files: Files): Promise<bigint | string> => {
  try {
    const ledger = await openFiles(files);
    const spent = ledger.readings(request())[0]!.spentUnits;
    await ledger.close();
    return spent;
  } catch (error) {
    return error instanceof QflError ? error.code : `not typed: ${String(error)}`;
  }
};

const changed = (files: Files, name: string, change: (bytes: Uint8Array) => Uint8Array): Files =>
  new Map(files).set(name, change(Uint8Array.from(files.get(name)!)));

const flip = (bytes: Uint8Array, at: number, bit: number): Uint8Array => {
  bytes[at]! ^= 1 << bit;
  return bytes;
};

/** Byte ranges of the records of a journal. */
const frames = (journal: Uint8Array): { from: number; to: number }[] => {
  const found: { from: number; to: number }[] = [];
  for (let from = 0; from < journal.byteLength;) {
    const frame = decodeFrame(journal.subarray(from));
    if (typeof frame === 'string') throw new Error('a sound journal was expected');
    found.push({ from, to: from + frame.bytes });
    from += frame.bytes;
  }
  return found;
};

describe('damage', () => {
  test('every byte of the journal flipped: refused, every time', async () => {
    const { files } = await smallLedger();
    for (let at = 0; at < files.get(JOURNAL)!.byteLength; at += 1) {
      const got = await outcome(changed(files, JOURNAL, (bytes) => flip(bytes, at, at % 8)));
      expect([at, got]).toEqual([at, 'ledger_damaged']);
    }
  });

  test('every byte of the mark flipped: one slot serves for the other, nothing is lost', async () => {
    const { files, spent } = await smallLedger();
    for (let at = 0; at < files.get(MARK)!.byteLength; at += at === 200 ? 3_800 : 1) {
      expect([at, await outcome(changed(files, MARK, (bytes) => flip(bytes, at, at % 8)))]).toEqual([
        at,
        spent,
      ]);
    }
  });

  test('both slots of the mark damaged: refused', async () => {
    const { files } = await smallLedger();
    const broken = changed(files, MARK, (bytes) => flip(flip(bytes, 10, 0), 4096 + 10, 0));
    expect(await outcome(broken)).toBe('ledger_damaged');
    expect(await outcome(changed(files, MARK, () => new Uint8Array(0)))).toBe('ledger_damaged');
  });

  test('one slot and the end of the journal damaged: refused, because the end may have been acknowledged', async () => {
    const { files } = await smallLedger();
    for (const slot of [0, 4096]) {
      const broken = changed(files, MARK, (bytes) => flip(bytes, slot + 10, 0));
      const got = await outcome(changed(broken, JOURNAL, (bytes) => bytes.subarray(0, bytes.byteLength - 5)));
      expect(got).toBe('ledger_damaged');
    }
  });

  test('every file gone: refused, never begun anew', async () => {
    const { files } = await smallLedger();
    for (const name of [JOURNAL, MARK]) {
      const left = new Map(files);
      left.delete(name);
      expect(await outcome(left)).toBe('ledger_refuses');
      const place = { dataKey: DATA_KEY, clock: testClock(), site: SITE, limits: DEFAULT_LIMITS };
      await expect(
        createLedger({
          ...place,
          folder: createSimulatedDisk({ files: new Map([...left, [JOURNAL, files.get(JOURNAL)!]]) }),
        }),
      ).rejects.toMatchObject({ code: 'conflict' });
    }
  });

  test('the journal cut at every byte: behind its anchor at a record boundary, damaged elsewhere', async () => {
    const { files } = await smallLedger();
    const journal = files.get(JOURNAL)!;
    const ends = new Set([0, ...frames(journal).map(({ to }) => to)]);
    for (let size = 0; size < journal.byteLength; size += 1) {
      const got = await outcome(changed(files, JOURNAL, (bytes) => bytes.subarray(0, size)));
      expect([size, got]).toEqual([size, ends.has(size) ? 'ledger_refuses' : 'ledger_damaged']);
    }
  });

  test('records doubled, swapped or taken out: damaged; anything behind the mark is cut', async () => {
    const { files, spent } = await smallLedger();
    const journal = files.get(JOURNAL)!;
    const parts = frames(journal).map(({ from, to }) => journal.subarray(from, to));
    const join = (...list: readonly (Uint8Array | undefined)[]): Files =>
      changed(files, JOURNAL, () => Buffer.concat(list.map((part) => part!)));
    const [a, b, c, d, e] = parts;
    expect(parts).toHaveLength(5);
    expect(await outcome(join(a, b, b, c, d, e))).toBe('ledger_damaged');
    expect(await outcome(join(a, c, b, d, e))).toBe('ledger_damaged');
    expect(await outcome(join(a, b, d, e))).toBe('ledger_damaged');
    expect(await outcome(join(a, b, c, d, e, e))).toBe(spent);
    expect(await outcome(join(a, b, c, d, e, Buffer.from('torn')))).toBe(spent);
  });

  test('an older journal under the newer mark is behind its anchor', async () => {
    const { files, earlier } = await smallLedger();
    expect(await outcome(new Map([...files, [JOURNAL, earlier.get(JOURNAL)!]]))).toBe('ledger_refuses');
  });

  test('both files rolled back together are found by a head that others witnessed', async () => {
    const { earlier, head, files } = await smallLedger();
    await expect(openFiles(earlier, { witnessed: [head] })).rejects.toMatchObject({ code: 'ledger_refuses' });
    const forked = { counter: 1, hash: new Uint8Array(32) };
    await expect(openFiles(files, { witnessed: [forked] })).rejects.toMatchObject({ code: 'ledger_damaged' });
    await (await openFiles(files, { witnessed: [head] })).close();
  });

  test('an index that lost, kept or gained entries is built anew', async () => {
    const fixture = await freshLedger();
    await answer(fixture.ledger, { query: 1 });
    await answer(fixture.ledger, { query: 2 });
    await fixture.ledger.close();
    const keys: string[] = [];
    for await (const key of fixture.store.keys({ prefix: 'ledger/answer/' })) keys.push(key);
    expect(keys).toHaveLength(2);
    await fixture.store.write([
      { type: 'del', key: keys[0]! },
      { type: 'put', key: 'ledger/answer/none', value: Buffer.from('x') },
    ]);
    const again = await openWith(fixture);
    for (const query of [1, 2]) expect((await again.reserve(request({ query }))).status).toBe('answered');
    expect(await fixture.store.get('ledger/answer/none')).toBeUndefined();
    await again.close();
  });
});
