/**
 * The two keys at rest. The master key (32 bytes) comes from outside the store: environment, systemd credential, or a file of mode
 * 0600 beside it. It wraps the data key, under which everything in the store is encrypted; so the master key can
 * change without rewriting the store.
 */
import { chmod, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { equalConstantTime, fromBase64, fromUtf8, toBase64, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import type { RandomBytes } from '../random.ts';
import { openAtRest, sealAtRest } from '../store/encrypted.ts';
import { isMissing, moveFile, writeWholeFile } from '../whole-file.ts';

const KEY_BYTES = 32;
const MASTER_FILE = 'master.key';
/** The data key, wrapped under the master key. */
export const DATA_FILE = 'data.key';
/** The data key under the next master key, while the two are exchanged. */
const NEXT_FILE = 'data.key.next';
/** The next master key, before it takes the place of the one in force. */
const NEXT_MASTER_FILE = 'master.key.next';
const DATA_NAME = 'qfl data key';

const invalid = (detail: string, next: string): QflError => new QflError('config_invalid', { detail, next });

const readIfThere = async (path: string): Promise<Uint8Array | undefined> => {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
};

/** What whoever set up a home folder should do next. */
export const masterKeyAdvice = (home: string): string =>
  `Back up the master key (${join(home, MASTER_FILE)}, unless you gave it another way) away from this machine: without it nothing here can be read.`;

const parseKey = (text: string, source: string): Uint8Array => {
  const key = fromBase64(text.trim());
  if (key.byteLength !== KEY_BYTES)
    throw invalid(`${source} does not hold 32 bytes in base64`, 'Make one with: openssl rand -base64 32');
  return key;
};

const refuseOpenFile = async (path: string): Promise<void> => {
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0) throw invalid(`${path} can be read by others`, `Run: chmod 600 ${path}`);
};

export interface MasterKeySources {
  readonly home: string;
  /** MASTER_KEY of the environment, base64. */
  readonly environment: string | undefined;
  /** CREDENTIALS_DIRECTORY of systemd; a credential named `master.key` in it wins over the file. */
  readonly credentialsFolder: string | undefined;
}

export type MasterSource = 'file' | 'environment' | 'credential';
interface Master {
  readonly source: MasterSource;
  readonly key: Uint8Array;
}

const findMaster = async ({
  home,
  environment,
  credentialsFolder,
}: MasterKeySources): Promise<Master | undefined> => {
  if (environment !== undefined) return { source: 'environment', key: parseKey(environment, 'MASTER_KEY') };
  if (credentialsFolder !== undefined) {
    const credential = await readIfThere(join(credentialsFolder, MASTER_FILE));
    if (credential !== undefined) {
      const text = Buffer.from(credential).toString('utf8');
      return { source: 'credential', key: parseKey(text, 'the systemd credential master.key') };
    }
  }
  const path = join(home, MASTER_FILE);
  const content = await readIfThere(path);
  if (content === undefined) return undefined;
  await refuseOpenFile(path);
  return { source: 'file', key: parseKey(Buffer.from(content).toString('utf8'), path) };
};

/** The master key, or undefined where there is none yet. @throws QflError `config_invalid` */
export const findMasterKey = async (sources: MasterKeySources): Promise<Uint8Array | undefined> =>
  (await findMaster(sources))?.key;

const createMasterFile = async (home: string, random: RandomBytes): Promise<Uint8Array> => {
  const key = random(KEY_BYTES);
  await writeWholeFile(join(home, MASTER_FILE), utf8(`${toBase64(key)}\n`));
  return key;
};

/** The data key; and a change of the master key that a crash cut short is brought to its end. */
const unwrap = async (home: string, master: Uint8Array, wrapped: Uint8Array): Promise<Uint8Array> => {
  try {
    return openAtRest(master, DATA_NAME, wrapped);
  } catch (error) {
    const next = await readIfThere(join(home, NEXT_FILE));
    if (next === undefined) throw error;
    const dataKey = openAtRest(master, DATA_NAME, next);
    await moveFile(join(home, NEXT_FILE), join(home, DATA_FILE));
    return dataKey;
  }
};

/** What a change of the master key writes; a parameter, so that tests stop it at each write. */
export interface KeyFiles {
  read(path: string): Promise<Uint8Array>;
  write(path: string, content: Uint8Array): Promise<unknown>;
  move(from: string, to: string): Promise<unknown>;
}
const keyFiles: KeyFiles = { read: readFile, write: writeWholeFile, move: moveFile };

/** What was written is read again, by whoever would have to open it, while there still is another key. @throws QflError `storage_failed` */
const readBack = async (
  files: KeyFiles,
  path: string,
  expected: Uint8Array,
  open: (content: Uint8Array) => Uint8Array,
): Promise<void> => {
  const found = await files.read(path).then(open);
  if (!equalConstantTime(found, expected))
    throw new QflError('storage_failed', {
      detail: `${path} does not hold what was written to it`,
      next: 'Check the disk. Nothing was changed: the master key of before is in force.',
    });
};

/**
 * Wraps the data key under another master key; what is stored stays as it is. Where the key is a file of the home folder, the file is replaced too:
 * the new wrapping is on the disk, and read back, before it, and the old one is gone after it, so whichever key the next start finds opens one of the two. Where
 * the key comes from outside, `next` is what the next start will be given.
 * @throws QflError `config_invalid` without a key, `invalid_request` when `next` has to be given
 */
export const rotateMasterKey = async (
  sources: MasterKeySources,
  {
    next,
    random,
    files = keyFiles,
  }: { next?: Uint8Array | undefined; random: RandomBytes; files?: KeyFiles },
): Promise<MasterSource> => {
  const { home } = sources;
  const dataKey = await openDataKey(sources, { create: false, random });
  const master = await findMaster(sources);
  if (master === undefined) throw invalid(`the master key of ${home} is missing`, 'Put it back first.');
  if (master.source !== 'file' && next === undefined)
    throw new QflError('invalid_request', {
      detail: `the master key comes from ${master.source === 'environment' ? 'the environment' : 'a credential'}, so the new one has to be given`,
      next: 'Make one with "openssl rand -base64 32 > FILE", and name it: --new-master FILE.',
    });
  const key = next ?? random(KEY_BYTES);
  const wrapped = sealAtRest(key, DATA_NAME, dataKey, random);
  const [nextFile, nextMaster] = [join(home, NEXT_FILE), join(home, NEXT_MASTER_FILE)];
  await files.write(nextFile, wrapped);
  await readBack(files, nextFile, dataKey, (content) => openAtRest(key, DATA_NAME, content));
  if (master.source === 'file') {
    await files.write(nextMaster, utf8(`${toBase64(key)}\n`));
    await readBack(files, nextMaster, key, (content) => parseKey(fromUtf8(content), nextMaster));
    await files.move(nextMaster, join(home, MASTER_FILE));
  }
  await files.move(nextFile, join(home, DATA_FILE));
  return master.source;
};

/** A master key as a file has it. @throws QflError `config_invalid`, `invalid_request` */
export const readMasterFile = async (path: string): Promise<Uint8Array> => {
  const content = await readIfThere(path);
  if (content === undefined) throw new QflError('invalid_request', { detail: `there is no file ${path}` });
  await refuseOpenFile(path);
  return parseKey(Buffer.from(content).toString('utf8'), path);
};

/**
 * The data key of a home folder. With `create`, a missing folder, master key file or data key is made; without, each is an
 * error, so that a lost key is noticed rather than replaced.
 */
export const openDataKey = async (
  sources: MasterKeySources,
  options: { create: boolean; random: RandomBytes },
): Promise<Uint8Array> => {
  const { home } = sources;
  if (options.create) {
    await mkdir(home, { recursive: true, mode: 0o700 });
    await chmod(home, 0o700);
  }
  const path = join(home, DATA_FILE);
  const wrapped = await readIfThere(path);
  const found = await findMasterKey(sources);
  if (wrapped !== undefined) {
    if (found === undefined)
      throw invalid(
        `the master key of ${home} is missing`,
        `Put ${MASTER_FILE} back from your backup, or set MASTER_KEY.`,
      );
    return unwrap(home, found, wrapped);
  }
  if (!options.create)
    throw invalid(
      `${home} has not been set up`,
      'Run "qfl coordinator init" or "qfl agent join" first, or name the right folder with --home.',
    );
  const master = found ?? (await createMasterFile(home, options.random));
  const dataKey = options.random(KEY_BYTES);
  await writeWholeFile(path, sealAtRest(master, DATA_NAME, dataKey, options.random));
  return dataKey;
};

export interface KeysAtRest {
  readonly masterKey: Uint8Array;
  /** The data key as it lies on the disk: wrapped under this master key. */
  readonly wrapped: Uint8Array;
}

/** The keys of a home folder, one fitting the other. @throws QflError `config_invalid`, `storage_failed` */
export const readKeysAtRest = async (sources: MasterKeySources, random: RandomBytes): Promise<KeysAtRest> => {
  // Brings a change that was cut short to its end, and throws where the master key is not the one.
  await openDataKey(sources, { create: false, random });
  const masterKey = await findMasterKey(sources);
  if (masterKey === undefined)
    throw invalid(`the master key of ${sources.home} is missing`, 'Put it back first.');
  return { masterKey, wrapped: await readFile(join(sources.home, DATA_FILE)) };
};
