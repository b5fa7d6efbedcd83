/** A log's check of itself: do entries, tiles and root still say the same? */
import { CompactRange, leafHash, nodeHash, type NodeReader } from './merkle.ts';
import { damaged, TILE_WIDTH } from './tiles.ts';

export const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;

export interface SelfCheck {
  /** Leaves [from, size). */
  readonly entries: AsyncIterable<{ readonly index: number; readonly leaf: Uint8Array }>;
  /** A reader that remembers tiles; made anew for every 256 entries so that memory stays flat. */
  readonly reader: () => NodeReader;
  readonly from: number;
  readonly size: number;
  readonly root: Uint8Array;
}

/** @throws QflError `storage_failed` naming the first entry or tile that does not fit */
export const verifyEntries = async ({ entries, reader, from, size, root }: SelfCheck): Promise<void> => {
  const range = await rangeBefore(reader(), from);
  let read = reader();
  for await (const { index, leaf } of entries) {
    const hash = leafHash(leaf);
    if (!same(await read(0, index), hash)) throw damaged(`entry ${index} is not what was logged`);
    range.append(hash);
    if ((index + 1) % TILE_WIDTH !== 0) continue;
    await checkParents(read, (index + 1) / TILE_WIDTH - 1);
    read = reader();
  }
  if (range.size !== size || !same(range.root(), root)) {
    throw damaged('its entries do not give the stored root');
  }
};

/** The complete subtrees of the first `size` leaves, from the tiles. */
const rangeBefore = async (read: NodeReader, size: number): Promise<CompactRange> => {
  const nodes: Uint8Array[] = [];
  let begin = 0;
  for (let level = 52; level >= 0; level -= 1) {
    const width = 2 ** level;
    if (begin + width > size) continue;
    nodes.push(await read(level, begin / width));
    begin += width;
  }
  return CompactRange.from(size, nodes);
};

/** Every tile that tile 0/`tile` completed, compared with the hash its parent keeps of it. */
const checkParents = async (read: NodeReader, tile: number): Promise<void> => {
  let index = tile;
  for (let level = 0; ; level += 1) {
    const half = 8 * level + 7;
    const root = nodeHash(await read(half, 2 * index), await read(half, 2 * index + 1));
    if (!same(root, await read(half + 1, index)))
      throw damaged(`tile ${level}/${index} is not what was logged`);
    if ((index + 1) % TILE_WIDTH !== 0) return;
    index = (index + 1) / TILE_WIDTH - 1;
  }
};
