/**
 * What the ledger needs of a disk, as a port, so that tests can tear a write, drop what was not synced, and fill the disk.
 * Adapter for real disks: `node-disk.ts`.
 */
export interface DurableFile {
  /** Writes all of `bytes` at `offset`; past the end the file grows. Durable only after `sync`. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /** Everything written before is on the disk when this returns. After it failed nothing may be assumed. */
  sync(): Promise<void>;
  /** Up to `length` bytes from `offset`; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  size(): Promise<number>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

export interface LedgerFolder {
  /**
   * Takes the folder for one ledger; the function returned gives it back. A crash gives it back by itself.
   * @throws QflError `conflict` when somebody else holds it.
   */
  lock(): Promise<() => Promise<void>>;
  /** Undefined when there is no such file. */
  open(name: string): Promise<DurableFile | undefined>;
  /** A new empty file whose name survives a power cut. Fails when it exists. */
  create(name: string): Promise<DurableFile>;
  /** Gives a closed file another name, in place of any that has it: after a power cut there is the one or the other, and once it returned, the new one. */
  rename(from: string, to: string): Promise<void>;
  /** Nothing happens when there is no such file. */
  remove(name: string): Promise<void>;
  /** Space left to this program. */
  freeBytes(): Promise<number>;
}
