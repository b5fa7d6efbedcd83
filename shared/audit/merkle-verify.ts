/** Checks of Merkle proofs, RFC 9162 §2.1.3.2 and §2.1.4.2. Pure; any malformed input is simply not a proof. */
import { HASH_BYTES, nodeHash } from './merkle.ts';

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const areHashes = (...hashes: readonly Uint8Array[]): boolean =>
  hashes.every((hash) => hash.byteLength === HASH_BYTES);
const equal = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;
const isOdd = (value: number): boolean => value % 2 === 1;
const half = (value: number): number => Math.floor(value / 2);

export interface InclusionClaim {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  readonly root: Uint8Array;
  readonly path: readonly Uint8Array[];
}

/** True when `path` shows that `leafHash` is leaf `index` of the tree of `size` leaves under `root`. */
export const verifyInclusion = ({ index, size, leafHash, root, path }: InclusionClaim): boolean => {
  if (!isSize(index) || !isSize(size) || index >= size || !areHashes(leafHash, ...path)) return false;
  let fn = index;
  let sn = size - 1;
  let node = leafHash;
  for (const sibling of path) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      node = nodeHash(sibling, node);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      node = nodeHash(node, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(node, root);
};

export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly newSize: number;
  readonly oldRoot: Uint8Array;
  readonly newRoot: Uint8Array;
  readonly path: readonly Uint8Array[];
}

/**
 * True when `path` shows that the older tree is a prefix of the newer. A proof from size 0 is refused even to size 0: it
 * would say nothing, and a caller that holds nothing has to say so instead.
 */
export const verifyConsistency = (claim: ConsistencyClaim): boolean => {
  const { oldSize, newSize, oldRoot, newRoot, path } = claim;
  if (!isSize(oldSize) || !isSize(newSize) || oldSize === 0 || oldSize > newSize) return false;
  if (!areHashes(...path)) return false;
  if (oldSize === newSize) return path.length === 0 && equal(oldRoot, newRoot);
  if (path.length === 0) return false;
  return climb(claim);
};

const isPowerOfTwo = (size: number): boolean => size === 1 || (!isOdd(size) && isPowerOfTwo(size / 2));

const climb = ({ oldSize, newSize, oldRoot, newRoot, path }: ConsistencyClaim): boolean => {
  // A complete older tree is itself the first node of the climb, so the path leaves it out.
  const [first, ...rest] = isPowerOfTwo(oldSize) ? [oldRoot, ...path] : path;
  if (first === undefined || !areHashes(first)) return false;
  let fn = oldSize - 1;
  let sn = newSize - 1;
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let oldNode = first;
  let newNode = first;
  for (const sibling of rest) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      oldNode = nodeHash(sibling, oldNode);
      newNode = nodeHash(sibling, newNode);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      newNode = nodeHash(newNode, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(oldNode, oldRoot) && equal(newNode, newRoot);
};
