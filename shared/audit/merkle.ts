/**
 * The Merkle tree of RFC 6962 / RFC 9162 §2.1 over SHA-256: pure functions. Sizes and indices are safe integers; halving is by
 * division, because the bit operators of the language stop at 32 bits.
 */
import { hash } from 'node:crypto';
import { assert } from '../errors.ts';

export const HASH_BYTES = 32;
const LEAF_PREFIX = Buffer.from([0]);
/** One for all nodes, because hashing is done before anybody else can write into it: 0x01 ‖ left ‖ right. */
const NODE = Buffer.alloc(1 + 2 * HASH_BYTES);
NODE[0] = 1;

/** SHA-256(0x00 ‖ leaf). */
export const leafHash = (leaf: Uint8Array): Uint8Array =>
  hash('sha256', Buffer.concat([LEAF_PREFIX, leaf]), 'buffer');

/** SHA-256(0x01 ‖ left ‖ right); both have 32 bytes. */
export const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => {
  assert(left.byteLength === HASH_BYTES && right.byteLength === HASH_BYTES, 'a node has two hashes');
  NODE.set(left, 1);
  NODE.set(right, 1 + HASH_BYTES);
  return hash('sha256', NODE, 'buffer');
};

/** The root of the tree without leaves: SHA-256 of nothing. */
export const EMPTY_ROOT: Uint8Array = hash('sha256', new Uint8Array(0), 'buffer');

/**
 * The frontier of a growing tree: the roots of its complete subtrees, largest first. `append` costs one hash on average.
 */
export class CompactRange {
  #size = 0;
  readonly #hashes: Uint8Array[] = [];

  /** A range of `size` leaves from the roots of its complete subtrees, largest first. */
  static from(size: number, hashes: readonly Uint8Array[]): CompactRange {
    assert(hashes.length === popCount(size), 'a compact range has one hash per set bit of its size');
    const range = new CompactRange();
    range.#size = size;
    range.#hashes.push(...hashes);
    return range;
  }

  get size(): number {
    return this.#size;
  }

  /** An independent copy: for trying leaves out before they are accepted. */
  clone(): CompactRange {
    return CompactRange.from(this.#size, this.#hashes);
  }

  /** Roots of the complete subtrees, largest first. */
  get hashes(): readonly Uint8Array[] {
    return [...this.#hashes];
  }

  append(leaf: Uint8Array): void {
    this.appendSubtree(0, leaf);
  }

  /** Appends 2^`level` leaves by their root; the size so far is a multiple of 2^`level`. */
  appendSubtree(level: number, root: Uint8Array): void {
    const width = 2 ** level;
    assert(this.#size % width === 0, 'a subtree begins at a multiple of its width');
    let node = root;
    for (let rest = this.#size / width; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#hashes.pop();
      assert(left !== undefined, 'a compact range has one hash per set bit of its size');
      node = nodeHash(left, node);
    }
    this.#hashes.push(node);
    this.#size += width;
  }

  root(): Uint8Array {
    const last = this.#hashes.at(-1);
    if (last === undefined) return EMPTY_ROOT;
    return this.#hashes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), last);
  }
}

/** Levels of the largest aligned subtrees that fill the leaves [`from`, `to`), in order: what a proof gives in place of these leaves. */
export const subtreeLevels = (from: number, to: number): readonly number[] => {
  const levels: number[] = [];
  for (let at = from; at < to;) {
    let level = 0;
    while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= to) level += 1;
    levels.push(level);
    at += 2 ** level;
  }
  return levels;
};

export const popCount = (value: number): number => {
  let count = 0;
  for (let rest = value; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
};

/** The root of complete subtree `index` at `level` (2^level leaves). */
export type NodeReader = (level: number, index: number) => Promise<Uint8Array>;

/** Largest power of two strictly below `size` (size ≥ 2), as its exponent. */
const splitLevel = (size: number): number => {
  let level = 0;
  while (2 ** (level + 1) < size) level += 1;
  return level;
};

/** The hash of leaves [begin, end) as the tree of `end − begin` leaves; `begin` is a multiple of its first subtree. */
export const rangeHash = async (read: NodeReader, begin: number, end: number): Promise<Uint8Array> => {
  const size = end - begin;
  if (size === 0) return EMPTY_ROOT;
  if (size === 1) return read(0, begin);
  const level = splitLevel(size);
  if (2 ** (level + 1) === size) return read(level + 1, begin / size);
  const middle = begin + 2 ** level;
  return nodeHash(await rangeHash(read, begin, middle), await rangeHash(read, middle, end));
};

/** RFC 9162 §2.1.3.1: the audit path of leaf `index` in the tree of `size` leaves, nearest sibling first. */
export const inclusionPath = async (
  read: NodeReader,
  index: number,
  size: number,
): Promise<readonly Uint8Array[]> => {
  const path: Uint8Array[] = [];
  let begin = 0;
  let end = size;
  while (end - begin > 1) {
    const middle = begin + 2 ** splitLevel(end - begin);
    const goesLeft = index < middle;
    path.push(await (goesLeft ? rangeHash(read, middle, end) : rangeHash(read, begin, middle)));
    if (goesLeft) end = middle;
    else begin = middle;
  }
  return path.toReversed();
};

/** RFC 9162 §2.1.4.1: proof that the first `oldSize` leaves of the tree of `newSize` are the older tree. 0 < old ≤ new. */
export const consistencyPath = async (
  read: NodeReader,
  oldSize: number,
  newSize: number,
): Promise<readonly Uint8Array[]> => {
  const path: Uint8Array[] = [];
  let begin = 0;
  let end = newSize;
  while (end !== oldSize) {
    const middle = begin + 2 ** splitLevel(end - begin);
    const goesLeft = oldSize <= middle;
    path.push(await (goesLeft ? rangeHash(read, middle, end) : rangeHash(read, begin, middle)));
    if (goesLeft) end = middle;
    else begin = middle;
  }
  // The old root itself is left out where the verifier already holds it.
  if (begin > 0) path.push(await rangeHash(read, begin, end));
  return path.toReversed();
};
