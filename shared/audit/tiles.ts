/**
 * The tree on disk: tiles of 256 hashes (C2SP tlog-tiles, height 8). Tile `t/level/index` holds the roots of 256
 * neighbouring subtrees of 256^level leaves; the last tile of a level is rewritten, longer, until it is full.
 */
import { QflError } from '../errors.ts';
import type { Store, StoreOperation } from '../store/port.ts';
import { CompactRange, HASH_BYTES, type NodeReader, nodeHash } from './merkle.ts';

export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
/** 2^53 has 16 decimal digits: keys of equal length sort as numbers. */
const INDEX_DIGITS = 16;

export const indexKey = (index: number): string => String(index).padStart(INDEX_DIGITS, '0');
const tileKey = (prefix: string, level: number, index: number): string =>
  `${prefix}t/${level}/${indexKey(index)}`;

export const damaged = (detail: string, cause?: unknown): QflError =>
  new QflError('storage_failed', {
    detail: `the log is damaged: ${detail}`,
    next: 'Keep the folder as it is for examination and restore the log from backup; nothing was repaired.',
    cause,
  });

/** Root of 2^k neighbouring nodes. */
const fold = (nodes: readonly Uint8Array[]): Uint8Array => {
  let row = nodes;
  while (row.length > 1) {
    row = Array.from({ length: row.length / 2 }, (_, pair) => nodeHash(row[2 * pair]!, row[2 * pair + 1]!));
  }
  return row[0]!;
};

const splitHashes = (tile: Uint8Array): Uint8Array[] =>
  Array.from({ length: tile.byteLength / HASH_BYTES }, (_, at) =>
    tile.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );

const readTile = async (
  store: Store,
  prefix: string,
  level: number,
  index: number,
): Promise<Uint8Array[]> => {
  const tile = await store.get(tileKey(prefix, level, index));
  if (tile === undefined) throw damaged(`tile ${level}/${index} is missing`);
  if (tile.byteLength % HASH_BYTES !== 0) throw damaged(`tile ${level}/${index} has a torn hash`);
  return splitHashes(tile);
};

/** The first `width` hashes of a stored tile; undefined when it has fewer. */
export const readTileBytes = async (
  store: Store,
  prefix: string,
  level: number,
  index: number,
  width: number,
): Promise<Uint8Array | undefined> => {
  const tile = await store.get(tileKey(prefix, level, index));
  return tile === undefined || tile.byteLength < width * HASH_BYTES
    ? undefined
    : tile.subarray(0, width * HASH_BYTES);
};

/** A tile's hashes, then row by row what lies above them, as far as it was asked for. */
type Rows = Uint8Array[][];

const rowOf = (rows: Rows, within: number): readonly Uint8Array[] => {
  while (rows.length <= within) {
    const below = rows.at(-1) ?? [];
    rows.push(
      Array.from({ length: Math.floor(below.length / 2) }, (_, pair) =>
        nodeHash(below[2 * pair]!, below[2 * pair + 1]!),
      ),
    );
  }
  return rows[within]!;
};

/** Full tiles never change: those read last are kept, with what was computed over them. About 25 KB each. */
export class TileCache {
  readonly #tiles = new Map<string, Rows>();
  readonly #tilesMax: number;

  constructor(tilesMax = 512) {
    this.#tilesMax = tilesMax;
  }

  get(key: string): Rows | undefined {
    const rows = this.#tiles.get(key);
    if (rows === undefined) return undefined;
    this.#tiles.delete(key);
    this.#tiles.set(key, rows);
    return rows;
  }

  keep(key: string, rows: Rows): void {
    this.#tiles.set(key, rows);
    const [oldest] = this.#tiles.keys();
    if (this.#tiles.size > this.#tilesMax && oldest !== undefined) this.#tiles.delete(oldest);
  }
}

/**
 * Reads nodes of the stored tree; remembers the tiles it has read, so make one per proof. With a cache, full tiles outlive it: for proofs, not
 * for checks of what is on the disk.
 */
export const tileReader = (store: Store, prefix: string, cache?: TileCache): NodeReader => {
  const seen = new Map<string, Promise<Rows>>();
  const load = async (key: string, level: number, index: number): Promise<Rows> => {
    const kept = cache?.get(key);
    if (kept !== undefined) return kept;
    const rows = [await readTile(store, prefix, level, index)];
    if (rows[0]?.length === TILE_WIDTH) cache?.keep(key, rows);
    return rows;
  };
  return async (level, index) => {
    const within = level % TILE_HEIGHT;
    const tileLevel = (level - within) / TILE_HEIGHT;
    const perTile = 2 ** (TILE_HEIGHT - within);
    const tileIndex = Math.floor(index / perTile);
    const key = tileKey(prefix, tileLevel, tileIndex);
    const rows = await (seen.get(key) ?? seen.set(key, load(key, tileLevel, tileIndex)).get(key)!);
    const node = rowOf(rows, within)[index % perTile];
    if (node === undefined) throw damaged(`tile ${tileLevel}/${tileIndex} is too short`);
    return node;
  };
};

interface Edge {
  /** Index of the level's last tile. */
  index: number;
  /** Its hashes; fewer than 256. */
  hashes: Uint8Array[];
  dirty: boolean;
}

/** The right edge of the tree, held in memory; `append` grows it and `drain` says what to write. */
export class TileEdge {
  readonly #prefix: string;
  readonly #levels: Edge[];
  #full: StoreOperation[] = [];

  private constructor(prefix: string, levels: Edge[]) {
    this.#prefix = prefix;
    this.#levels = levels;
  }

  /**
   * Loads the edge of a tree of `size` leaves.
   * @throws QflError `storage_failed` when a tile is missing or has not the length that `size` asks for.
   */
  static async load(store: Store, prefix: string, size: number): Promise<TileEdge> {
    const levels: Edge[] = [];
    for (let count = size; count > 0; count = Math.floor(count / TILE_WIDTH)) {
      const index = Math.floor(count / TILE_WIDTH);
      const rest = count % TILE_WIDTH;
      const hashes = rest === 0 ? [] : await readTile(store, prefix, levels.length, index);
      if (hashes.length !== rest)
        throw damaged(`tile ${levels.length}/${index} does not agree with the size`);
      levels.push({ index, hashes, dirty: false });
    }
    return new TileEdge(prefix, levels);
  }

  append(hash: Uint8Array, level = 0): void {
    const edge = (this.#levels[level] ??= { index: 0, hashes: [], dirty: false });
    edge.hashes.push(hash);
    edge.dirty = true;
    if (edge.hashes.length < TILE_WIDTH) return;
    this.#full.push(this.#put(level, edge));
    this.append(fold(edge.hashes), level + 1);
    this.#levels[level] = { index: edge.index + 1, hashes: [], dirty: false };
  }

  /** The writes that bring the stored tiles to this edge. */
  drain(): StoreOperation[] {
    const partial = this.#levels.flatMap((edge, level) => (edge.dirty ? [this.#put(level, edge)] : []));
    for (const edge of this.#levels) edge.dirty = false;
    const operations = [...this.#full, ...partial];
    this.#full = [];
    return operations;
  }

  /** The complete subtrees of the whole tree, from the edge alone. */
  compactRange(size: number): CompactRange {
    const nodes = this.#levels.toReversed().flatMap(({ hashes }) => completeSubtrees(hashes));
    return CompactRange.from(size, nodes);
  }

  #put(level: number, edge: Edge): StoreOperation {
    return {
      type: 'put',
      key: tileKey(this.#prefix, level, edge.index),
      value: Buffer.concat(edge.hashes),
    };
  }
}

/** Roots of the complete subtrees over fewer than 256 nodes, largest first. */
const completeSubtrees = (hashes: readonly Uint8Array[]): Uint8Array[] => {
  const roots: Uint8Array[] = [];
  let begin = 0;
  for (let width = TILE_WIDTH / 2; width >= 1; width /= 2) {
    if (begin + width > hashes.length) continue;
    roots.push(fold(hashes.slice(begin, begin + width)));
    begin += width;
  }
  return roots;
};
