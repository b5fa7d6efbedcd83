/** Another master key for a folder whose program rests. */
import { join } from 'node:path';
import { toQflError } from '../errors.ts';
import { noteRotation } from '../keys/master-rotation.ts';
import { type MasterKeySources, openDataKey, readMasterFile, rotateMasterKey } from '../keys/master.ts';
import { secureRandomBytes as random } from '../random.ts';
import { encryptedStore } from '../store/encrypted.ts';
import { openLevelStore } from '../store/level.ts';
import type { MasterRotated } from '../wire/keys.ts';
import type { z } from 'zod';

const sourcesOf = (home: string): MasterKeySources => ({
  home,
  environment: process.env['MASTER_KEY'],
  credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
});

/**
 * Done here, with a note for the program's log; undefined when the program runs, which then has to do it.
 * @throws QflError `config_invalid`, `invalid_request`, `storage_failed`
 */
export const rotateMasterHere = async (
  home: string,
  file: string | null,
): Promise<z.infer<typeof MasterRotated> | undefined> => {
  const sources = sourcesOf(home);
  const dataKey = await openDataKey(sources, { create: false, random });
  const inner = await openLevelStore(join(home, 'store')).catch((error: unknown) => {
    if (toQflError(error).code === 'conflict') return undefined;
    throw error;
  });
  if (inner === undefined) return undefined;
  const store = encryptedStore(inner, dataKey, random);
  try {
    const next = file === null ? undefined : await readMasterFile(file);
    // Before the change: a note of one that failed says too much, never too little.
    await noteRotation(store);
    return { source: await rotateMasterKey(sources, { next, random }) };
  } finally {
    await store.close();
  }
};
