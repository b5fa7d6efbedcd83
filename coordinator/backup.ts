/** What of a coordinator goes into a backup, and what a restored one has to know before it starts. */
import { join } from 'node:path';
import { readdir } from 'node:fs/promises';
import type { BackupSource } from '../shared/backup/write.ts';
import { beginAuditAnew } from '../shared/backup/finish.ts';
import type { Clock } from '../shared/clock.ts';
import { QflError } from '../shared/errors.ts';
import { MODELS_FOLDER } from '../shared/models/shelf.ts';
import { type CoordinatorHome, createRestoredAudit, type HomeOptions } from './home.ts';

const RESULTS = 'task-results';

/** @param clock tells when it was made */
export const coordinatorBackup = async (
  home: CoordinatorHome,
  clock: Pick<Clock, 'nowMs'>,
  generator: string,
): Promise<BackupSource> => {
  const results = await readdir(join(home.folder, RESULTS)).catch(() => []);
  const models = await readdir(join(home.folder, MODELS_FOLDER)).catch(() => []);
  const anchors = (await readdir(home.folder)).filter((name) => /^(audit|keys)\.checkpoint/.test(name));
  return {
    head: { program: 'coordinator', name: home.name, createdMs: Math.trunc(clock.nowMs()), generator },
    folder: home.folder,
    filesBefore: anchors,
    stores: [{ name: 'store', store: home.store }],
    filesAfter: [
      ...results.map((name) => `${RESULTS}/${name}`),
      ...models.map((name) => `${MODELS_FOLDER}/${name}`),
    ],
  };
};

export interface DirectoryCopy {
  readonly leaves: readonly Uint8Array[];
}

/**
 * Prepares a restored coordinator: the directory is brought to where a hospital saw it last, and the audit log begins anew under the next name,
 * with its first entry naming the one before.
 * @throws QflError `key_changed` when the copy does not continue the backup's directory
 */
export const finishRestore = async (
  home: CoordinatorHome,
  backupMs: number,
  options: HomeOptions,
  directory: DirectoryCopy | undefined,
): Promise<{ readonly leavesAdded: number }> => {
  let leavesAdded = 0;
  if (directory !== undefined) {
    let index = 0;
    for await (const { leaf } of home.keyLog.log.entries()) {
      const copied = directory.leaves[index];
      if (copied !== undefined && !Buffer.from(copied).equals(leaf))
        throw new QflError('key_changed', {
          detail: `record ${index} of the hospital's directory is another one than in the backup`,
          next: 'Do not go on; compare with the directories of other hospitals.',
        });
      index += 1;
    }
    for (const leaf of directory.leaves.slice(index)) {
      await home.keyLog.adopt(leaf);
      leavesAdded += 1;
    }
  }
  await beginAuditAnew(home, backupMs, options.clock, (epoch) => createRestoredAudit(home, epoch, options));
  return { leavesAdded };
};
