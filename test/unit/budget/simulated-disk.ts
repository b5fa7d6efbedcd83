/**
 * A disk in memory whose power can be cut before any operation, with a choice of what became of everything that was not synced. Creating,
 * writing, syncing, truncating, renaming, removing and syncing the folder are each an operation; names are as unsure as
 * content until the folder was synced. Also fills up, fails a sync, and keeps a second ledger from opening.
 */
import { QflError } from '../../../shared/errors.ts';
import type { DurableFile, LedgerFolder } from '../../../agent/budget/disk.ts';

type Change =
  | { readonly type: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: 'truncate'; readonly size: number };

interface FileState {
  durable: Buffer;
  unsynced: Change[];
}

export class PowerCut extends Error {
  override readonly name = 'PowerCut';
}

const applyChange = (content: Buffer, change: Change): Buffer => {
  if (change.type === 'truncate') {
    const cut = Buffer.alloc(change.size);
    content.copy(cut);
    return cut;
  }
  const end = change.offset + change.bytes.byteLength;
  const grown =
    end > content.byteLength
      ? Buffer.concat([content, Buffer.alloc(end - content.byteLength)])
      : Buffer.from(content);
  grown.set(change.bytes, change.offset);
  return grown;
};

/** What reached the platter of what was not synced: all, nothing, or the last write in part. */
export type Survival = 'all' | 'none' | 'torn-head' | 'torn-tail' | 'last-lost' | 'zeros';

const survive = ({ durable, unsynced }: FileState, survival: Survival): Buffer => {
  if (survival === 'none') return durable;
  const last = unsynced.at(-1);
  const before = unsynced.slice(0, survival === 'all' ? undefined : -1).reduce(applyChange, durable);
  if (survival === 'all' || survival === 'last-lost' || last === undefined) return before;
  if (last.type === 'truncate') return before;
  const half = Math.floor(last.bytes.byteLength / 2);
  if (survival === 'torn-head') return applyChange(before, { ...last, bytes: last.bytes.subarray(0, half) });
  if (survival === 'zeros')
    return applyChange(before, { ...last, bytes: new Uint8Array(last.bytes.byteLength) });
  return applyChange(before, { type: 'write', offset: last.offset + half, bytes: last.bytes.subarray(half) });
};

/** Whether a name that the folder was not synced for is the new one or the old one. */
const keepsNames = (survival: Survival): boolean => survival !== 'none' && survival !== 'last-lost';

export type DiskOperation = 'create' | 'write' | 'sync' | 'truncate' | 'rename' | 'remove' | 'sync folder';

export interface SimulatedDiskOptions {
  readonly files?: ReadonlyMap<string, Uint8Array>;
  /** The power is cut before the operation of this number (from 1). */
  readonly cutAt?: number;
  /** Bytes the disk holds in all. */
  readonly capacityBytes?: number;
  /** Syncs report success and do nothing: the mutant of a disk, or of a program that forgot them. */
  readonly syncsLie?: boolean;
}

export interface SimulatedDisk extends LedgerFolder {
  /** Operations that change something, so far. */
  steps(): number;
  /** How many of each kind. */
  operations(): ReadonlyMap<DiskOperation, number>;
  syncs(): number;
  /** The files as a machine would find them after the power came back. */
  afterPowerCut(survival: Survival): Map<string, Uint8Array>;
  /** The files as a program would read them now. */
  content(): Map<string, Uint8Array>;
  setCapacity(bytes: number): void;
  failNextSync(): void;
}

export const createSimulatedDisk = (options: SimulatedDiskOptions = {}): SimulatedDisk => {
  const files = new Map<string, FileState>();
  for (const [name, bytes] of options.files ?? [])
    files.set(name, { durable: Buffer.from(bytes), unsynced: [] });
  /** What a power cut leaves of the names, for certain. */
  let durableNames = new Map(files);
  const operations = new Map<DiskOperation, number>();
  let steps = 0;
  let syncs = 0;
  let locked = false;
  let failSync = false;
  let capacityBytes = options.capacityBytes ?? Infinity;

  const step = (operation: DiskOperation): void => {
    steps += 1;
    operations.set(operation, (operations.get(operation) ?? 0) + 1);
    if (options.cutAt !== undefined && steps >= options.cutAt) throw new PowerCut('the power is gone');
  };
  const syncFolder = (): void => {
    step('sync folder');
    if (options.syncsLie !== true) durableNames = new Map(files);
  };
  const now = (state: FileState): Buffer => state.unsynced.reduce(applyChange, state.durable);
  const usedBytes = (): number => [...files.values()].reduce((sum, state) => sum + now(state).byteLength, 0);

  const write = (state: FileState, bytes: Uint8Array, offset: number): void => {
    const grows = Math.max(0, offset + bytes.byteLength - now(state).byteLength);
    const room = capacityBytes - usedBytes();
    if (grows <= room) {
      state.unsynced.push({ type: 'write', offset, bytes: Uint8Array.from(bytes) });
      return;
    }
    // As a real disk does: what fits is written, then the error comes.
    const fits = Math.max(0, bytes.byteLength - (grows - Math.max(0, room)));
    state.unsynced.push({ type: 'write', offset, bytes: Uint8Array.from(bytes.subarray(0, fits)) });
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  };

  const sync = (state: FileState): void => {
    syncs += 1;
    if (failSync) {
      failSync = false;
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    }
    if (options.syncsLie === true) return;
    state.durable = now(state);
    state.unsynced = [];
  };

  const file = (state: FileState): DurableFile => ({
    async write(bytes, offset) {
      step('write');
      write(state, bytes, offset);
      await Promise.resolve();
    },
    async sync() {
      step('sync');
      await new Promise((resolve) => setImmediate(resolve));
      sync(state);
    },
    read: (offset, length) => Promise.resolve(Uint8Array.from(now(state).subarray(offset, offset + length))),
    size: () => Promise.resolve(now(state).byteLength),
    async truncate(size) {
      step('truncate');
      state.unsynced.push({ type: 'truncate', size });
      await Promise.resolve();
    },
    close: () => Promise.resolve(),
  });

  return {
    async lock() {
      if (locked) throw new QflError('conflict', { detail: 'somebody holds this folder' });
      locked = true;
      await Promise.resolve();
      return () => {
        locked = false;
        return Promise.resolve();
      };
    },
    open(name) {
      const state = files.get(name);
      return Promise.resolve(state === undefined ? undefined : file(state));
    },
    async create(name) {
      step('create');
      if (files.has(name)) throw Object.assign(new Error('EEXIST: file already exists'), { code: 'EEXIST' });
      const state: FileState = { durable: Buffer.alloc(0), unsynced: [] };
      files.set(name, state);
      await Promise.resolve();
      syncFolder();
      return file(state);
    },
    async rename(from, to) {
      step('rename');
      const state = files.get(from);
      if (state === undefined) throw Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' });
      files.delete(from);
      files.set(to, state);
      await Promise.resolve();
      syncFolder();
    },
    async remove(name) {
      step('remove');
      files.delete(name);
      await Promise.resolve();
      syncFolder();
    },
    freeBytes: () => Promise.resolve(Math.max(0, capacityBytes - usedBytes())),
    steps: () => steps,
    operations: () => operations,
    syncs: () => syncs,
    afterPowerCut: (survival) =>
      new Map(
        [...(keepsNames(survival) ? files : durableNames)].map(([name, state]) => [
          name,
          survive(state, survival),
        ]),
      ),
    content: () => new Map([...files].map(([name, state]) => [name, now(state)])),
    setCapacity(bytes) {
      capacityBytes = bytes;
    },
    failNextSync() {
      failSync = true;
    },
  };
};
