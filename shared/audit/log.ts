/**
 * An append-only log over the `Store` port: leaves, tiles, size and root move in one atomic, durable write, so that after
 * any crash they agree. Leaves are opaque bytes; `entry.ts` puts audit entries on top. Keys under `prefix`: entries
 * `e/index`, tiles `t/level/index`, state `s`, minimum index `m`, last signed checkpoint `c`, and what callers store beside an entry.
 */
import { z } from 'zod';
import { fromUtf8, toHex, utf8 } from '../bytes.ts';
import { QflError, toQflError } from '../errors.ts';
import type { Store, StoreOperation } from '../store/port.ts';
import type { CheckpointAnchor } from './anchor.ts';
import { type Batcher, createBatcher } from './batcher.ts';
import { type Checkpoint, openCheckpoint, signCheckpointBy } from './checkpoint.ts';
import type { Cosigner } from './cosignature.ts';
import {
  type CompactRange,
  consistencyPath,
  EMPTY_ROOT,
  inclusionPath,
  leafHash,
  rangeHash,
  subtreeLevels,
} from './merkle.ts';
import { minimumWrite, readMinimum } from './log-minimum.ts';
import { type NoteSigner, parseVerifierKey } from './note.ts';
import { same, verifyEntries } from './self-check.ts';
import { deleteBefore } from './sweep.ts';
import { BUNDLE_ENTRY_BYTES_MAX, entryBundle, type TileAddress } from './tile-paths.ts';
import { damaged, indexKey, readTileBytes, TILE_WIDTH, TileCache, TileEdge, tileReader } from './tiles.ts';

/** About 10 ms of hashing and sealing: what the event loop may be kept for. */
const BATCH_ENTRIES_MAX = 512;
const QUEUE_ENTRIES_MAX = 65_536;
const CHECKPOINT_INTERVAL_MS = 1_000;
/** LevelDB's write-ahead log (4 MiB, twice) is where damage goes unnoticed; this many entries reach behind it. */
const TAIL_ENTRIES = 10_000;

const State = z.strictObject({
  v: z.literal(1),
  size: z.int().nonnegative(),
  root: z.string().regex(/^[0-9a-f]{64}$/),
});

export interface LogOptions {
  readonly store: Store;
  /** Where in the store, ending in `/`; several logs share one store. */
  readonly prefix: string;
  /** Signs the checkpoints; its name is the log's origin, so no other log's key can stand in for it. */
  readonly signer: NoteSigner;
  /** Signs beside it: ML-DSA-44, under the same name, with the second it signs in. */
  readonly cosigner?: { readonly by: Cosigner; nowMs(): number };
  /** May an empty log be created here? `init` and `join` say yes, `start` says no. */
  readonly create: boolean;
  /** Remembers the last checkpoint outside the store: how a store that lost entries is noticed. */
  readonly anchor?: CheckpointAnchor;
  readonly queueEntriesMax?: number;
}

export interface Leaf {
  readonly leaf: Uint8Array;
  /** Stored in the same write, under the log's prefix; never under `e/`, `t/`, `s`, `m`, `c`. */
  readonly beside?: readonly { readonly name: string; readonly value: Uint8Array }[];
}

export interface Appended {
  readonly index: number;
  readonly leafHash: Uint8Array;
}

interface Pending extends Appended, Leaf {}

export class AppendLog {
  readonly origin: string;
  readonly #options: LogOptions;
  readonly #edge: TileEdge;
  readonly #range: CompactRange;
  readonly #batcher: Batcher<Pending>;
  readonly #tiles = new TileCache();
  #nextIndex: number;
  #minimumIndex: number;
  #durable: { readonly size: number; readonly root: Uint8Array };
  #signed: { readonly size: number; readonly note: string } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #signing: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(options: LogOptions, edge: TileEdge, range: CompactRange, minimumIndex: number) {
    this.#options = options;
    this.#minimumIndex = minimumIndex;
    this.#edge = edge;
    this.#range = range;
    this.origin = options.signer.name;
    this.#nextIndex = range.size;
    this.#durable = { size: range.size, root: range.root() };
    this.#batcher = createBatcher({
      commit: (items) => this.#commit(items),
      batchItemsMax: BATCH_ENTRIES_MAX,
      queueItemsMax: options.queueEntriesMax ?? QUEUE_ENTRIES_MAX,
    });
  }

  /**
   * Opens the log and checks it before anything is appended: tiles against size and root, the last entries against their
   * tiles, and the whole against the last checkpoint in the store and in the anchor.
   * @throws QflError `storage_failed` when damaged or behind its anchor, `not_ready` when there is none and `create` is false.
   */
  static async open(options: LogOptions): Promise<AppendLog> {
    const size = await readOrCreateState(options);
    const edge = await TileEdge.load(options.store, options.prefix, size.size);
    const minimum = await readMinimum(options.store, options.prefix);
    const log = new AppendLog(options, edge, edge.compactRange(size.size), minimum);
    if (toHex(log.#durable.root) !== size.root) throw damaged('the tiles do not give the stored root');
    await log.#checkAgainst(await options.store.get(`${options.prefix}c`), 'its last checkpoint');
    await log.#checkAgainst(await options.anchor?.read(), 'the checkpoint kept outside the store');
    await log.verify(Math.max(0, log.size - TAIL_ENTRIES));
    await log.#sweep();
    await log.checkpoint();
    return log;
  }

  /** The Ed25519 key of the checkpoints, as `name+hash+base64`. */
  get verifierKey(): string {
    return this.#options.signer.verifierKey;
  }

  /** Every key that signs the checkpoints. */
  get verifierKeys(): readonly string[] {
    const { signer, cosigner } = this.#options;
    return [signer.verifierKey, ...(cosigner === undefined ? [] : [cosigner.by.key.text])];
  }

  /** Entries below it were pruned; a multiple of 256. */
  get minimumIndex(): number {
    return this.#minimumIndex;
  }

  /** Durable entries. */
  get size(): number {
    return this.#durable.size;
  }

  /**
   * Appends one leaf and resolves when it is on the disk: no entry, no action. `make` may build the leaf from its index.
   * @throws QflError `overloaded`, `too_large`, `storage_failed` (for good, after a failed write), `not_ready` after close
   */
  async append(make: Leaf | ((index: number) => Leaf)): Promise<Appended> {
    if (this.#closed) throw new QflError('not_ready', { detail: 'the log is closed' });
    this.#batcher.assertOpen();
    const index = this.#nextIndex;
    const source = typeof make === 'function' ? make(index) : make;
    if (source.leaf.byteLength > BUNDLE_ENTRY_BYTES_MAX) {
      throw new QflError('too_large', {
        detail: `a log entry holds at most ${BUNDLE_ENTRY_BYTES_MAX} bytes`,
      });
    }
    this.#nextIndex += 1;
    const appended: Appended = { index, leafHash: leafHash(source.leaf) };
    await this.#batcher.add({ ...source, ...appended });
    return appended;
  }

  /** Leaves [from, to) in order, up to the durable size. @throws QflError `expired` when they begin below the minimum index */
  async *entries(
    from = 0,
    to = this.size,
  ): AsyncIterable<{ readonly index: number; readonly leaf: Uint8Array }> {
    const end = Math.min(to, this.size);
    const prefix = `${this.#options.prefix}e/`;
    const after = from > 0 ? { after: prefix + indexKey(from - 1) } : {};
    let index = from;
    if (from >= end) return;
    if (from < this.#minimumIndex) throw pruned(this.#minimumIndex);
    for await (const { key, value } of this.#options.store.list({ prefix, limit: end - from, ...after })) {
      if (key !== prefix + indexKey(index)) throw damaged(`entry ${index} is missing`);
      yield { index, leaf: value };
      index += 1;
    }
    if (index !== end) throw damaged(`entry ${index} is missing`);
  }

  /**
   * One tile, or one bundle of entries, as C2SP tlog-tiles serves it.
   * @throws QflError `not_found` when the tree does not reach that far, `expired` when the entries were pruned
   */
  async tile({ level, index, width }: TileAddress): Promise<Uint8Array> {
    const missing = (): QflError => new QflError('not_found', { detail: 'the log has no such tile' });
    if (level !== 'entries') {
      const hashes = await readTileBytes(this.#options.store, this.#options.prefix, level, index, width);
      return hashes ?? Promise.reject(missing());
    }
    const from = index * TILE_WIDTH;
    if (from + width > this.size) throw missing();
    const leaves: Uint8Array[] = [];
    for await (const { leaf } of this.entries(from, from + width)) leaves.push(leaf);
    return entryBundle(leaves);
  }

  /**
   * Forgets the entries below `index`, in whole bundles, for good. Tiles stay: 32 bytes of each entry, so that proofs and the root do not change.
   * Returns the minimum index. The caller has checked that it may, and has logged it.
   */
  async prune(index: number): Promise<number> {
    const minimum = Math.floor(Math.min(index, this.size) / TILE_WIDTH) * TILE_WIDTH;
    if (minimum > this.#minimumIndex) {
      await this.#options.store.write([minimumWrite(this.#options.prefix, minimum)]);
      this.#minimumIndex = minimum;
    }
    await this.#sweep();
    return this.#minimumIndex;
  }

  /** What was stored beside entries under `name`. */
  readBeside(name: string): Promise<Uint8Array | undefined> {
    return this.#options.store.get(this.#options.prefix + name);
  }

  /** Destroys what was stored beside an entry; the tree does not change. */
  async forgetBeside(name: string): Promise<void> {
    await this.#options.store.write([{ type: 'del', key: this.#options.prefix + name }]);
  }

  /** Destroys what was stored beside entries under names of `kind` that sort before `end`. */
  async forgetBesideBelow(kind: string, end: string): Promise<void> {
    const { store, prefix } = this.#options;
    await deleteBefore(store, prefix + kind, prefix + end);
  }

  /** @throws QflError `not_found` when `index` is not below `size`, or `size` above the durable size */
  async inclusionProof(index: number, size = this.size): Promise<readonly Uint8Array[]> {
    this.#assertKnown(index + 1, size);
    return inclusionPath(this.#cachedReader(), index, size);
  }

  /** @throws QflError `not_found` unless 0 < oldSize ≤ newSize ≤ the durable size */
  async consistencyProof(oldSize: number, newSize = this.size): Promise<readonly Uint8Array[]> {
    this.#assertKnown(oldSize, newSize);
    return consistencyPath(this.#cachedReader(), oldSize, newSize);
  }

  /** Roots of the complete subtrees over the first `size` leaves, largest first: from them a tree grows on. */
  async frontierAt(size: number): Promise<readonly Uint8Array[]> {
    const read = this.#reader();
    const hashes: Uint8Array[] = [];
    let at = 0;
    for (const level of subtreeLevels(0, size)) {
      hashes.push(await read(level, at / 2 ** level));
      at += 2 ** level;
    }
    return hashes;
  }

  /** Root of the first `size` leaves. */
  async rootAt(size: number): Promise<Uint8Array> {
    if (size === this.#durable.size) return this.#durable.root;
    if (size > this.size) throw new QflError('not_found', { detail: `the log has ${this.size} entries` });
    return rangeHash(this.#reader(), 0, size);
  }

  /**
   * A signed checkpoint of everything durable at the time of the call (C2SP signed note).
   * @throws QflError `storage_failed` when the log has stopped after a failed write
   */
  checkpoint(): Promise<string> {
    const result = this.#signing.then(() => this.#sign());
    this.#signing = result.catch(() => undefined);
    return result;
  }

  /**
   * Reads the entries from `from` on and compares them with their tiles, and all of it with the root: whole, it is the
   * nightly check. Appending goes on meanwhile.
   * @throws QflError `storage_failed` naming the first entry or tile that does not fit
   */
  async verify(from = 0): Promise<void> {
    const { size, root } = this.#durable;
    const start = Math.min(Math.max(from, this.#minimumIndex), size);
    await verifyEntries({
      entries: this.entries(start, size),
      reader: () => this.#reader(),
      from: start,
      size,
      root,
    });
  }

  /** Writes what is queued, signs a last checkpoint, and takes no more. The store stays open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#batcher.drain();
    clearTimeout(this.#timer);
    // After a failed write nothing more is written: what the next start finds is then all there is to explain.
    if (this.#batcher.fault() === undefined) await this.checkpoint();
  }

  /** Deletes what lies below the minimum index: also what a crash left there. */
  #sweep(): Promise<void> {
    const entries = `${this.#options.prefix}e/`;
    return deleteBefore(this.#options.store, entries, entries + indexKey(this.#minimumIndex));
  }

  /** For proofs; what is checked is read from the disk. */
  #cachedReader() {
    return tileReader(this.#options.store, this.#options.prefix, this.#tiles);
  }

  #reader() {
    return tileReader(this.#options.store, this.#options.prefix);
  }

  #assertKnown(low: number, high: number): void {
    const known = Number.isSafeInteger(low) && low > 0 && low <= high && high <= this.size;
    if (!known) throw new QflError('not_found', { detail: `the log has ${this.size} entries` });
  }

  async #commit(items: readonly Pending[]): Promise<void> {
    const { prefix, store } = this.#options;
    for (const item of items) {
      this.#edge.append(item.leafHash);
      this.#range.append(item.leafHash);
    }
    const durable = { size: this.#range.size, root: this.#range.root() };
    await store.write([
      ...items.flatMap((item) => entryWrites(prefix, item)),
      ...this.#edge.drain(),
      stateWrite(prefix, durable.size, durable.root),
    ]);
    this.#durable = durable;
    this.#timer ??= setTimeout(() => this.#signInBackground(), CHECKPOINT_INTERVAL_MS).unref();
  }

  #signInBackground(): void {
    this.#timer = undefined;
    // Whoever appends next hears of it: a log that cannot be anchored must not go on.
    this.checkpoint().catch((error: unknown) => this.#batcher.poison(toQflError(error)));
  }

  async #sign(): Promise<string> {
    const { size, root } = this.#durable;
    if (this.#signed?.size === size) return this.#signed.note;
    const fault = this.#batcher.fault();
    if (fault !== undefined) throw fault;
    const { signer, cosigner, store, prefix, anchor } = this.#options;
    const note = await signCheckpointBy(
      { origin: this.origin, size, root, extensions: [] },
      signer,
      cosigner === undefined ? [] : [cosigner.by],
      Math.floor((cosigner?.nowMs() ?? 0) / 1_000),
    );
    await store.write([{ type: 'put', key: `${prefix}c`, value: utf8(note) }]);
    await anchor?.write(utf8(note));
    this.#signed = { size, note };
    return note;
  }

  async #checkAgainst(note: Uint8Array | undefined, name: string): Promise<void> {
    if (note === undefined) return;
    const checkpoint = this.#openOwn(note, name);
    if (checkpoint.origin !== this.origin) throw damaged(`${name} belongs to ${checkpoint.origin}`);
    if (checkpoint.size > this.size) {
      throw damaged(`${name} has ${checkpoint.size} entries, the store only ${this.size}`);
    }
    if (!same(await this.rootAt(checkpoint.size), checkpoint.root)) {
      throw damaged(`the first ${checkpoint.size} entries are not those of ${name}`);
    }
  }

  #openOwn(note: Uint8Array, name: string): Checkpoint {
    try {
      return openCheckpoint(note, [parseVerifierKey(this.#options.signer.verifierKey)]).checkpoint;
    } catch (cause) {
      throw damaged(`${name} is not signed by this log's key`, cause);
    }
  }
}

const pruned = (minimum: number): QflError =>
  new QflError('expired', {
    detail: `entries below ${minimum} were removed when their time of retention was over`,
    facts: { minimumIndex: minimum },
  });

const entryWrites = (prefix: string, { index, leaf, beside = [] }: Pending): StoreOperation[] => [
  { type: 'put', key: `${prefix}e/${indexKey(index)}`, value: leaf },
  ...beside.map(({ name, value }): StoreOperation => ({ type: 'put', key: prefix + name, value })),
];

const stateWrite = (prefix: string, size: number, root: Uint8Array): StoreOperation => ({
  type: 'put',
  key: `${prefix}s`,
  value: utf8(JSON.stringify({ v: 1, size, root: toHex(root) })),
});

/** The stored size and root; an empty log is made only where that is allowed and nothing says there was one. */
const readOrCreateState = async (options: LogOptions): Promise<{ size: number; root: string }> => {
  const { store, prefix, create, anchor, signer } = options;
  const stored = await store.get(`${prefix}s`);
  if (stored !== undefined) return parseState(stored);
  for await (const key of store.keys({ prefix, limit: 1 }))
    throw damaged(`${key} is there without its state`);
  if ((await anchor?.read()) !== undefined)
    throw damaged('a checkpoint is kept outside the store, the store is empty');
  if (!create) {
    throw new QflError('not_ready', {
      detail: `there is no log ${signer.name} in this store`,
      next: 'A log is made once, by init or join. If there was one, restore it from backup.',
    });
  }
  await store.write([stateWrite(prefix, 0, EMPTY_ROOT)]);
  return { size: 0, root: toHex(EMPTY_ROOT) };
};

const parseState = (bytes: Uint8Array): { size: number; root: string } => {
  try {
    return State.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw damaged('its state does not read', cause);
  }
};
