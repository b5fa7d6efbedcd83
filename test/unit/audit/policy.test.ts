/** Trust policy files of C2SP tlog-policy, tile paths and entry bundles of tlog-tiles. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ed25519Cosigner, mldsa44Cosigner } from '../../../shared/audit/cosignature.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { leafHash } from '../../../shared/audit/merkle.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../../shared/audit/note.ts';
import { parsePolicy, policyText, quorumMet } from '../../../shared/audit/policy.ts';
import { entryBundle, parseEntryBundle, parseTilePath, tilePath } from '../../../shared/audit/tile-paths.ts';
import { concat, toHex, utf8 } from '../../../shared/bytes.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';

const seed = (value: number) => Buffer.alloc(32, value);
const log = parseVerifierKey(ed25519NoteSigner('example.org/log', seed(1)).verifierKey);
const witness = (at: number) => ed25519Cosigner(`example.org/w${at}`, seed(10 + at)).key;
const [x1, x2, x3, y1, y2] = [1, 2, 3, 4, 5].map(witness) as [
  ReturnType<typeof witness>,
  ReturnType<typeof witness>,
  ReturnType<typeof witness>,
  ReturnType<typeof witness>,
  ReturnType<typeof witness>,
];
const example = [
  '# two levels of groups',
  `log ${log.text} https://example.org`,
  '',
  `witness X1 ${x1.text}`,
  `\twitness X2   ${x2.text}`,
  `witness X3 ${x3.text}`,
  'group X-witnesses 2 X1 X2 X3',
  `witness Y1 ${y1.text}`,
  `witness Y2 ${y2.text}`,
  'group Y-witnesses any Y1 Y2',
  'group X-and-Y all X-witnesses Y-witnesses',
  'quorum X-and-Y',
].join('\n');
const met = (text: string, ...keys: { text: string }[]) =>
  quorumMet(parsePolicy(text), new Set(keys.map((key) => key.text)));

describe('a policy', () => {
  test('of two levels asks for two of the one and any of the other', () => {
    expect(parsePolicy(example).logs).toEqual([log]);
    expect(met(example, x1, x2, y1)).toBe(true);
    expect(met(example, x1, x2, x3)).toBe(false);
    expect(met(example, x1, y1, y2)).toBe(false);
    expect(met(example)).toBe(false);
    expect(met('quorum none')).toBe(true);
  });

  test('that breaks a rule of the format is refused, with its line', () => {
    const base = [`witness A ${x1.text}`, `witness B ${x2.text}`];
    for (const [lines, line] of [
      [[...base], 0],
      [[...base, 'quorum A', 'quorum B'], 4],
      [[...base, 'quorum C'], 3],
      [['group G any A', ...base, 'quorum G'], 1],
      [[...base, 'group G 3 A B', 'quorum G'], 3],
      [[...base, 'group G 0 A B', 'quorum G'], 3],
      [[...base, 'group G any', 'quorum G'], 3],
      [[...base, 'group none any A', 'quorum none'], 3],
      [[...base, 'group A any B', 'quorum A'], 3],
      [[...base, 'group G any A A', 'quorum G'], 3],
      [[...base, 'group G any A', 'group H any A B', 'quorum H'], 4],
      [[...base, `witness C ${x1.text}`, 'quorum A'], 3],
      [[...base, `witness C ${log.text}`, 'quorum A'], 3],
      [[`log ${log.text}`, `log ${log.text}`, 'quorum none'], 2],
      [['hello', 'quorum none'], 1],
      [['quorum none\r'], 0],
    ] as const)
      expect(() => parsePolicy(lines.join('\n'))).toThrowError(
        expect.objectContaining({ code: 'protocol', detail: expect.stringContaining(`line ${line}:`) }),
      );
  });

  test('written for sites is read back: each site counts when both its keys signed', () => {
    const sites = ['north', 'south', 'east'].map((name, at) => ({
      name,
      keys: [ed25519Cosigner(name, seed(20 + at)).key, mldsa44Cosigner(name, seed(30 + at)).key],
    }));
    const text = policyText('three sites', [log], sites, 2);
    const [north, south, east] = sites.map(({ keys }) => keys);
    expect(met(text, ...north!, ...south!)).toBe(true);
    expect(met(text, ...north!, south![0]!, east![0]!)).toBe(false);
    expect(met(text, ...north!)).toBe(false);
    expect(met(policyText('none', [log], [], 0))).toBe(true);
  });
});

describe('a tile', () => {
  test('has one path', () => {
    expect(tilePath({ level: 0, index: 1_234_067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(tilePath({ level: 'entries', index: 5, width: 17 })).toBe('tile/entries/005.p/17');
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(63), fc.constant('entries' as const)),
        fc.nat(Number.MAX_SAFE_INTEGER),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          expect(parseTilePath(tilePath({ level, index, width }))).toEqual({ level, index, width });
        },
      ),
    );
    for (const wrong of [
      '',
      'tile',
      'tile/0',
      'tile/0/1',
      'tile/00/001',
      'tile/64/001',
      'tile/0/001.p/0',
      'tile/0/001.p/256',
      'tile/0/001.p/01',
      'tile/0/x000/001',
      'tile/0/001/002',
      'tile/-1/001',
      'tile/0/001/',
    ])
      expect(() => parseTilePath(wrong)).toThrowError(expect.objectContaining({ code: 'not_found' }));
  });

  test('is what the tree of 70,000 has, full and partial; entries hash to it', async () => {
    const signer = ed25519NoteSigner('example.org/log', seed(1));
    const tree = await AppendLog.open({
      store: createMemoryStore(),
      prefix: 'l/',
      signer,
      create: true,
      queueEntriesMax: 70_000,
    });
    await Promise.all(
      Array.from({ length: 70_000 }, () => tree.append((index) => ({ leaf: utf8(`leaf ${index}`) }))),
    );
    const bytes = async (path: string) => (await tree.tile(parseTilePath(path))).byteLength;
    expect(await bytes('tile/0/272')).toBe(8_192);
    expect(await bytes('tile/0/273.p/112')).toBe(112 * 32);
    expect(await bytes('tile/0/273.p/5')).toBe(5 * 32);
    expect(await bytes('tile/1/000')).toBe(8_192);
    expect(await bytes('tile/1/001.p/17')).toBe(17 * 32);
    expect(await bytes('tile/2/000.p/1')).toBe(32);
    for (const none of ['tile/0/273', 'tile/0/273.p/113', 'tile/1/001', 'tile/3/000.p/1', 'tile/entries/273'])
      await expect(bytes(none)).rejects.toMatchObject({ code: 'not_found' });
    const leaves = parseEntryBundle(await tree.tile(parseTilePath('tile/entries/273.p/112')));
    const hashes = await tree.tile(parseTilePath('tile/0/273.p/112'));
    expect(toHex(concat(...leaves.map(leafHash)))).toBe(toHex(hashes));
  });

  test('bundle cut short is refused', () => {
    const bundle = entryBundle([utf8('one'), utf8(''), utf8('x'.repeat(300))]);
    expect(parseEntryBundle(bundle).map((leaf) => leaf.byteLength)).toEqual([3, 0, 300]);
    for (const cut of [1, 4, 6, bundle.byteLength - 1])
      expect(() => parseEntryBundle(bundle.subarray(0, cut))).toThrowError(
        expect.objectContaining({ code: 'protocol' }),
      );
  });
});

describe('a pruned log', () => {
  test('keeps root, proofs and tiles, says what is gone, and is pruned after a crash in the middle', async () => {
    const signer = ed25519NoteSigner('example.org/log', seed(1));
    const store = createMemoryStore();
    const options = { store, prefix: 'l/', signer, create: true };
    const tree = await AppendLog.open(options);
    await Promise.all(
      Array.from({ length: 1_000 }, () => tree.append((index) => ({ leaf: utf8(`leaf ${index}`) }))),
    );
    const root = toHex(await tree.rootAt(1_000));
    const proof = await tree.inclusionProof(3);
    const kept = await store.get('l/e/0000000000000003');
    expect(await tree.prune(700)).toBe(512);
    expect(await tree.prune(100)).toBe(512);
    await expect(tree.tile({ level: 'entries', index: 1, width: 256 })).rejects.toMatchObject({
      code: 'expired',
      facts: { minimumIndex: 512 },
    });
    expect(await tree.inclusionProof(3)).toEqual(proof);
    expect((await tree.tile({ level: 0, index: 0, width: 256 })).byteLength).toBe(8_192);
    await tree.close();
    // As if the deletion had stopped in the middle.
    await store.write([{ type: 'put', key: 'l/e/0000000000000003', value: kept! }]);
    const again = await AppendLog.open({ ...options, create: false });
    expect(await store.get('l/e/0000000000000003')).toBeUndefined();
    expect(again.minimumIndex).toBe(512);
    expect(toHex(await again.rootAt(1_000))).toBe(root);
    await again.verify();
    await again.append({ leaf: utf8('one more') });
  });
});
