/**
 * How the command line reaches a running program on the same machine: a key made at each start, held in memory only, and written with the
 * address to `control.json` (mode 0600) in the home folder. Whoever can read that file can read the master key too.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { equalConstantTime, toBase64Url, utf8 } from '../bytes.ts';
import { DepartmentId } from '../ids.ts';
import { writeWholeFile } from '../whole-file.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import type { Authenticator, Principal } from '../access/principal.ts';
import { OPERATOR_ROLE } from './roles.ts';

const FILE = 'control.json';
export const ControlFile = z.strictObject({
  url: z.string(),
  key: z.string(),
  pid: z.int(),
  tlsFingerprint: z.string().nullable(),
});
export type ControlFile = z.infer<typeof ControlFile>;

export interface ControlKey {
  readonly key: string;
  /** Whoever `others` knows, and the holder of this key. */
  readonly authenticator: Authenticator;
}

export const withControlKey = (others: Authenticator, random: RandomBytes): ControlKey => {
  const id = randomHex(random, 8);
  const key = `qfl_${id}_${toBase64Url(random(32))}`;
  const operator: Principal = {
    kind: 'operator',
    id,
    name: 'control',
    role: OPERATOR_ROLE,
    department: DepartmentId.parse('operations'),
    dataClass: 'restricted',
    scopes: null,
    sessionId: null,
    isRestricted: false,
  };
  const verify = (given: string): Promise<Principal> =>
    equalConstantTime(utf8(given), utf8(key)) ? Promise.resolve(operator) : others.verify(given);
  return { key, authenticator: { verify } };
};

export const writeControlFile = async (home: string, control: ControlFile): Promise<void> => {
  await writeWholeFile(join(home, FILE), utf8(`${JSON.stringify(control)}\n`));
};
export const removeControlFile = (home: string): Promise<void> => rm(join(home, FILE), { force: true });

/** The running program of a home folder, as its last start left it; it may have died since. */
export const readControlFile = async (home: string): Promise<ControlFile | undefined> => {
  try {
    return ControlFile.parse(JSON.parse(await readFile(join(home, FILE), 'utf8')));
  } catch {
    return undefined;
  }
};
