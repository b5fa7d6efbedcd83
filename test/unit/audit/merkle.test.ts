import { describe, expect, it, test } from 'vitest';
import { z } from 'zod';
import { fromBase64, toHex, utf8 } from '../../../shared/bytes.ts';
import {
  CompactRange,
  consistencyPath,
  EMPTY_ROOT,
  inclusionPath,
  leafHash,
  nodeHash,
  type NodeReader,
  rangeHash,
} from '../../../shared/audit/merkle.ts';
import { verifyConsistency, verifyInclusion } from '../../../shared/audit/merkle-verify.ts';
import { missing, readVectors } from './vectors.ts';

const Hash = z.string().transform(fromBase64);
const Path = z
  .array(Hash)
  .nullable()
  .transform((path) => path ?? []);
const Inclusion = z.object({
  vectors: z.array(
    z.object({
      leafIdx: z.number(),
      treeSize: z.number(),
      root: Hash,
      leafHash: Hash,
      proof: Path,
      desc: z.string(),
      wantErr: z.boolean(),
    }),
  ),
});
const Consistency = z.object({
  vectors: z.array(
    z.object({
      size1: z.number(),
      size2: z.number(),
      root1: Hash,
      root2: Hash,
      proof: Path,
      desc: z.string(),
      wantErr: z.boolean(),
    }),
  ),
});

const INCLUSION = 'merkle-rfc6962-inclusion.json';
const CONSISTENCY = 'merkle-rfc6962-consistency.json';

describe('published proofs (transparency-dev/merkle)', () => {
  test.skipIf(missing(INCLUSION))('inclusion: all 61 verdicts (needs ../shared/vectors)', () => {
    const { vectors } = Inclusion.parse(readVectors(INCLUSION));
    const wrong = vectors.filter(
      (vector) =>
        verifyInclusion({
          index: vector.leafIdx,
          size: vector.treeSize,
          leafHash: vector.leafHash,
          root: vector.root,
          path: vector.proof,
        }) === vector.wantErr,
    );
    expect(wrong.map(({ desc }) => desc)).toEqual([]);
    expect(vectors).toHaveLength(61);
  });

  test.skipIf(missing(CONSISTENCY))('consistency: all 57 verdicts (needs ../shared/vectors)', () => {
    const { vectors } = Consistency.parse(readVectors(CONSISTENCY));
    const wrong = vectors.filter(
      (vector) =>
        verifyConsistency({
          oldSize: vector.size1,
          newSize: vector.size2,
          oldRoot: vector.root1,
          newRoot: vector.root2,
          path: vector.proof,
        }) === vector.wantErr,
    );
    expect(wrong.map(({ desc }) => desc)).toEqual([]);
    expect(vectors).toHaveLength(57);
  });
});

const leaves = Array.from({ length: 70 }, (_, at) => leafHash(utf8(`leaf ${at}`)));

/** The definition, RFC 9162 §2.1.1, as it is written there. */
const treeHash = (hashes: readonly Uint8Array[]): Uint8Array => {
  if (hashes.length === 0) return EMPTY_ROOT;
  if (hashes.length === 1) return hashes[0]!;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  return nodeHash(treeHash(hashes.slice(0, split)), treeHash(hashes.slice(split)));
};

const reader: NodeReader = (level, index) =>
  Promise.resolve(treeHash(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)));

describe('the tree', () => {
  it('has the roots of the definition at every size, appended or read', async () => {
    const range = new CompactRange();
    for (let size = 0; size <= leaves.length; size += 1) {
      const expected = toHex(treeHash(leaves.slice(0, size)));
      expect(toHex(range.root())).toBe(expected);
      expect(toHex(await rangeHash(reader, 0, size))).toBe(expected);
      const next = leaves[size];
      if (next !== undefined) range.append(next);
    }
  });

  it('proves every leaf at every size, and never another leaf', async () => {
    for (let size = 1; size <= 40; size += 1) {
      const root = treeHash(leaves.slice(0, size));
      for (let index = 0; index < size; index += 1) {
        const path = await inclusionPath(reader, index, size);
        expect(verifyInclusion({ index, size, leafHash: leaves[index]!, root, path })).toBe(true);
        const other = { index, size, leafHash: leaves[index + 1]!, root, path };
        expect(verifyInclusion(other)).toBe(false);
      }
    }
  });

  it('proves every older tree a prefix, and never with another old root', async () => {
    for (let newSize = 1; newSize <= 40; newSize += 1) {
      const newRoot = treeHash(leaves.slice(0, newSize));
      for (let oldSize = 1; oldSize <= newSize; oldSize += 1) {
        const path = await consistencyPath(reader, oldSize, newSize);
        const claim = { oldSize, newSize, oldRoot: treeHash(leaves.slice(0, oldSize)), newRoot, path };
        expect(verifyConsistency(claim)).toBe(true);
        expect(verifyConsistency({ ...claim, oldRoot: leaves[69]! })).toBe(false);
      }
    }
  });
});
