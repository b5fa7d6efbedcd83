/**
 * How the command line reaches a running program on the same machine: a key made at each start, held in memory only, and written with the
 * address to `control.json` (mode 0600) in the home folder. Whoever can read that file can read the master key too.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { equalConstantTime, toBase64Url, utf8 } from '../bytes.ts';
import { DepartmentId, KeyId } from '../ids.ts';
import { writePrivateFile } from '../keys/master.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import type { ApiKeyRecord, ApiKeys } from './api-keys.ts';

const FILE = 'control.json';
/** The role of whoever runs commands on the machine itself. */
export const OPERATOR_ROLE = 'operator';

export const ControlFile = z.strictObject({
  url: z.string(),
  key: z.string(),
  pid: z.int(),
  tlsFingerprint: z.string().nullable(),
});
export type ControlFile = z.infer<typeof ControlFile>;

export interface ControlKey {
  readonly key: string;
  /** API keys plus this one. */
  readonly apiKeys: ApiKeys;
}

export const withControlKey = (apiKeys: ApiKeys, random: RandomBytes, nowMs: number): ControlKey => {
  const id = randomHex(random, 8);
  const key = `qfl_${id}_${toBase64Url(random(32))}`;
  const record: ApiKeyRecord = {
    id: KeyId.parse(id),
    name: 'control',
    role: OPERATOR_ROLE,
    department: DepartmentId.parse('operations'),
    dataClass: 'restricted',
    createdMs: Math.trunc(nowMs),
    expiresMs: null,
    revoked: false,
  };
  const verify = (given: string): Promise<ApiKeyRecord> =>
    equalConstantTime(utf8(given), utf8(key)) ? Promise.resolve(record) : apiKeys.verify(given);
  return { key, apiKeys: { ...apiKeys, verify } };
};

export const writeControlFile = (home: string, control: ControlFile): Promise<void> =>
  writePrivateFile(join(home, FILE), utf8(`${JSON.stringify(control)}\n`));
export const removeControlFile = (home: string): Promise<void> => rm(join(home, FILE), { force: true });

/** The running program of a home folder, as its last start left it; it may have died since. */
export const readControlFile = async (home: string): Promise<ControlFile | undefined> => {
  try {
    return ControlFile.parse(JSON.parse(await readFile(join(home, FILE), 'utf8')));
  } catch {
    return undefined;
  }
};
