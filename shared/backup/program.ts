/** What each program gives to the commands that back it up and restore it. */
import type { MasterKeySources } from '../keys/master.ts';
import type { BackupSource } from './write.ts';

export interface BackupReport {
  /** One line each: what was opened and found whole. */
  readonly checks: readonly string[];
}

export interface ProgramBackups {
  /** The source of a stopped program. @throws QflError `conflict` when it runs, `config_invalid` when there is none */
  open(sources: MasterKeySources): Promise<{ readonly source: BackupSource; close(): Promise<void> }>;
  /** Opens a restored folder and verifies everything in it. @throws QflError when something does not hold */
  check(sources: MasterKeySources): Promise<BackupReport>;
  /**
   * Makes a restored folder ready to start.
   * @param directory records of the key directory as a hospital has them, for a coordinator
   * @returns what to do next, a line each
   */
  finish(
    sources: MasterKeySources,
    backupMs: number,
    directory: readonly Uint8Array[] | undefined,
  ): Promise<readonly string[]>;
}
