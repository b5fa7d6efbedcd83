/** Masks, shares, the mask graph and what a round stands: published vectors first, then what has to hold. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../shared/bytes.ts';
import { maskGraph } from '../../../shared/rounds/mask-graph.ts';
import { combinerFor, SECRET_BYTES, split } from '../../../shared/rounds/shamir.ts';
import { minCohortOf, thresholdOf, toleranceOf, toleranceText } from '../../../shared/rounds/tolerance.ts';
import {
  addWords,
  bytesOf,
  centred,
  keystream,
  mask,
  masking,
  toWords,
  wordsOf,
} from '../../../shared/rounds/words.ts';

const keystreamOf = (seed: Uint8Array, count: number, from = 0): Uint32Array =>
  Uint32Array.from([...keystream(seed, count, from)].flatMap((piece) => [...piece]));

describe('a keystream', () => {
  it('is ChaCha20 (RFC 8439, A.1, vectors 1 and 2: a key of zeros, blocks 0 and 1)', () => {
    const words = keystreamOf(new Uint8Array(32), 32);
    expect(toHex(bytesOf(words as Uint32Array<ArrayBuffer>))).toBe(
      '76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7' +
        'da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586' +
        '9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed' +
        '29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f',
    );
  });

  it('is the same from any block on', () => {
    const seed = randomBytes(32);
    const whole = keystreamOf(seed, 40_000);
    for (const from of [16, 1_600, 16_384, 39_984])
      expect(keystreamOf(seed, whole.length - from, from)).toEqual(whole.subarray(from));
  });

  it('added and taken away leaves what was there, in pieces or whole', () => {
    const seeds = Array.from({ length: 7 }, () => randomBytes(32));
    const masks = { plus: seeds.slice(0, 5), minus: seeds.slice(5) };
    const before = Uint32Array.from({ length: 20_000 }, (_, at) => Math.imul(at, 2_654_435_761));
    const words = Uint32Array.from(before);
    mask(words, masks);
    expect(words).not.toEqual(before);
    const parts = Uint32Array.from(before);
    for (const [from, to] of [
      [0, 4_096],
      [4_096, 16_400],
      [16_400, 20_000],
    ] as const)
      mask(parts.subarray(from, to), masks, from);
    expect(parts).toEqual(words);
    mask(words, { plus: masks.minus, minus: masks.plus });
    expect(words).toEqual(before);
  });

  it('is added as one word after another would be, at any length and of any number of seeds', () => {
    const plainly = (words: Uint32Array, seeds: readonly Uint8Array[], sign: 1 | -1): void => {
      for (const seed of seeds)
        keystreamOf(seed, words.length).forEach((word, at) => {
          words[at] = (words[at]! + sign * word) >>> 0;
        });
    };
    for (const length of [1, 3, 15, 16, 17, 16_383, 16_384, 16_385, 33_000])
      for (const [added, taken] of [
        [0, 0],
        [1, 0],
        [0, 1],
        [4, 5],
        [9, 3],
      ] as const) {
        const masks = {
          plus: Array.from({ length: added }, () => randomBytes(32)),
          minus: Array.from({ length: taken }, () => randomBytes(32)),
        };
        const words = wordsOf(randomBytes(length * 4));
        const expected = Uint32Array.from(words);
        plainly(expected, masks.plus, 1);
        plainly(expected, masks.minus, -1);
        mask(words, masks);
        // Not `toEqual`, which walks a long array word by word.
        expect([length, added, taken, Buffer.compare(bytesOf(words), bytesOf(expected))]).toEqual([
          length,
          added,
          taken,
          0,
        ]);
      }
  });

  it('of one vector is not disturbed by another that is masked in between', () => {
    const [one, other] = [0, 1].map(() => ({ plus: [randomBytes(32)], minus: [randomBytes(32)] }));
    const [alone, shared, between] = [0, 1, 2].map(() => new Uint32Array(40_000));
    mask(alone!, one!);
    for (const _ of masking(shared!, one!)) mask(between!, other!);
    expect(Buffer.compare(bytesOf(shared!), bytesOf(alone!))).toBe(0);
  });

  it('carries signed values around the ring', () => {
    const values = Int32Array.of(-5, 7, -(2 ** 31), 2 ** 31 - 1);
    const words = Uint32Array.from(toWords(values));
    addWords(words, Uint32Array.of(3, 2 ** 32 - 7, 0, 0));
    expect([...centred(words)]).toEqual([-2, 0, -(2 ** 31), 2 ** 31 - 1]);
    expect(wordsOf(Uint8Array.from(bytesOf(words)).subarray(4))).toEqual(words.subarray(1));
  });
});

describe('the sum of vectors', () => {
  it('is of words modulo 2^32, each added to its place', () => {
    for (const [length, from] of [
      [5, 0],
      [5, 3],
      [16_385, 7],
      [70_000, 40_000],
    ] as const) {
      const words = wordsOf(randomBytes((length + from + 9) * 4));
      const more = wordsOf(randomBytes(length * 4));
      const expected = Uint32Array.from(words, (word, at) => word + (more[at - from] ?? 0));
      addWords(words, more, from);
      expect([length, from, Buffer.compare(bytesOf(words), bytesOf(expected))]).toEqual([length, from, 0]);
    }
    expect(() => addWords(new Uint32Array(4), new Uint32Array(3), 2)).toThrow(/its place in the sum/);
  });
});

describe('a secret in shares', () => {
  it('comes back from any threshold of them, and from no others', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(11), fc.nat(1_000), (holders, less, order) => {
        const threshold = Math.max(1, holders - less);
        const secret = randomBytes(SECRET_BYTES);
        const shares = split(secret, { threshold, holders }, randomBytes);
        const points = Array.from({ length: holders }, (_, at) => at + 1)
          .toSorted((left, right) => ((left * order) % 13) - ((right * order) % 13))
          .slice(0, threshold);
        const those = points.map((point) => shares[point - 1]!);
        expect(combinerFor(points).secretOf(those)).toEqual(secret);
        const one = [...those];
        one[0] = randomBytes(32);
        expect(combinerFor(points).secretOf(one)).not.toEqual(secret);
        if (threshold > 1) expect(combinerFor(points.slice(1)).secretOf(those.slice(1))).not.toEqual(secret);
      }),
      { numRuns: 60 },
    );
  });

  it('is not to be seen in fewer: every share is new for the same secret', () => {
    const secret = Buffer.alloc(SECRET_BYTES);
    const [one, other] = [1, 2].map(() => split(secret, { threshold: 2, holders: 3 }, randomBytes));
    for (const [at, share] of one!.entries()) expect(share).not.toEqual(other![at]);
    expect(split(secret, { threshold: 1, holders: 2 }, randomBytes).map(toHex)).toEqual(
      Array(2).fill('0'.repeat(64)),
    );
  });
});

describe('the mask graph', () => {
  it('joins everybody up to 101 sites', () => {
    for (const sites of [2, 3, 50, 101])
      for (const [at, near] of maskGraph(sites, randomBytes(32)).entries())
        expect(near).toEqual(
          Array.from({ length: sites }, (_, other) => other).filter((other) => other !== at),
        );
  });

  it('is symmetric, of bounded degree, drawn from the seed, and connected with two thirds of the sites gone', () => {
    const seed = Buffer.alloc(32, 5);
    const sites = 300;
    const graph = maskGraph(sites, seed);
    expect(maskGraph(sites, seed)).toEqual(graph);
    expect(maskGraph(sites, Buffer.alloc(32, 6))).not.toEqual(graph);
    for (const [at, near] of graph.entries()) {
      expect(near.length).toBeLessThanOrEqual(100);
      expect(near.length).toBeGreaterThan(60);
      expect(near).not.toContain(at);
      for (const other of near) expect(graph[other]).toContain(at);
    }
    const isLeft = (site: number): boolean => site % 3 === 0;
    const seen = new Set([0]);
    for (const site of seen) for (const other of graph[site]!) if (isLeft(other)) seen.add(other);
    expect(seen.size).toBe(sites / 3);
  });
});

describe('what a round stands', () => {
  it.each([
    [3, 2, 1, 0],
    [4, 3, 1, 1],
    [5, 4, 1, 2],
    [6, 4, 2, 1],
    [9, 6, 3, 2],
    [12, 8, 4, 3],
    [30, 20, 10, 9],
    [100, 67, 33, 33],
    [1_000, 667, 333, 333],
  ])('with %i sites: any %i open, %i may drop out, %i may be corrupt', (sites, threshold, drops, corrupt) => {
    expect(thresholdOf(sites)).toBe(threshold);
    // The table of the design is for a cohort of the threshold.
    expect(toleranceOf(sites, threshold)).toMatchObject({ dropsTolerated: drops, corruptTolerated: corrupt });
  });

  it('says of three sites and the default cohort that nobody may drop out or be corrupt', () => {
    expect(minCohortOf(3)).toBe(3);
    const text = toleranceText(toleranceOf(3));
    expect(text).toMatch(/stands no sites dropping out/);
    expect(text).toMatch(/stands no corrupt sites/);
    expect(toleranceText(toleranceOf(6))).toMatch(/2 sites dropping out.*1 corrupt site;/);
  });
});
