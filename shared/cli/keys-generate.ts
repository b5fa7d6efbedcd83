/**
 * `qfl keys generate`: key pairs made without a program and without a network. The public half is printed; the secret half is one seed, from which all
 * keys follow, in a file sealed under a passphrase (Argon2id) or the master key.
 */
import { hashRaw } from '@node-rs/argon2';
import type { Command } from 'commander';
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { fromBase64, toBase64, toHex, utf8 } from '../bytes.ts';
import { deriveKey } from '../crypto/hash.ts';
import { createIdentity } from '../crypto/signature.ts';
import { XWING_SUITE, xwingKeyPair } from '../crypto/xwing.ts';
import { fingerprintOf, fingerprintPhrase } from '../directory/record.ts';
import { QflError } from '../errors.ts';
import { readMasterFile } from '../keys/master.ts';
import { writeWholeFile } from '../whole-file.ts';
import { secureRandomBytes } from '../random.ts';
import { openAtRest, sealAtRest } from '../store/encrypted.ts';
import { note, printJson, run, say } from './output.ts';
import { readNewSecret, readSecret } from './secret-input.ts';

const NAME = 'qfl generated keys v1';
const PASSPHRASE_LENGTH_MIN = 12;
/** RFC 9106, second recommended choice: 64 MiB, three passes; a file that is opened by hand may take half a second. */
const ARGON2 = { memoryCost: 65_536, timeCost: 3, parallelism: 1, outputLen: 32 } as const;

const KeyFile = z.strictObject({
  v: z.literal(1),
  sealedUnder: z.enum(['passphrase', 'master']),
  /** Of Argon2id; null under a master key. */
  salt: z.base64().nullable(),
  sealed: z.base64(),
});

interface GenerateOptions {
  readonly out: string;
  readonly masterKey?: string;
  readonly json?: boolean;
}

const publicOf = (seed: Uint8Array) => {
  const identity = createIdentity(deriveKey(seed, utf8('identity'), NAME)).publicKeys;
  const fingerprint = fingerprintOf(identity);
  return {
    fingerprint: toHex(fingerprint),
    phrase: fingerprintPhrase(fingerprint),
    ed25519: toBase64(identity.ed25519),
    mldsa65: toBase64(identity.mldsa65),
    xwing: toBase64(xwingKeyPair(deriveKey(seed, utf8('xwing'), NAME)).publicKey),
    xwingSuite: XWING_SUITE,
  };
};

const underPassphrase = (passphrase: string, salt: Uint8Array): Promise<Uint8Array> =>
  hashRaw(passphrase, { ...ARGON2, salt });

const sealingKey = async (
  options: Pick<GenerateOptions, 'masterKey'>,
  salt: Uint8Array,
): Promise<Uint8Array> => {
  if (options.masterKey !== undefined) return readMasterFile(options.masterKey);
  const passphrase = await readNewSecret('Passphrase for the file');
  if (passphrase.length < PASSPHRASE_LENGTH_MIN)
    throw new QflError('invalid_request', {
      detail: `a passphrase has ${PASSPHRASE_LENGTH_MIN} characters or more`,
    });
  return underPassphrase(passphrase, salt);
};

const generate = async (options: GenerateOptions): Promise<void> => {
  if (
    await stat(options.out).then(
      () => true,
      () => false,
    )
  )
    throw new QflError('conflict', {
      detail: `${options.out} is there already`,
      next: 'Choose another --out.',
    });
  const [seed, salt] = [secureRandomBytes(32), secureRandomBytes(16)];
  const sealed = sealAtRest(await sealingKey(options, salt), NAME, seed, secureRandomBytes);
  const isMaster = options.masterKey !== undefined;
  const file: z.infer<typeof KeyFile> = {
    v: 1,
    sealedUnder: isMaster ? 'master' : 'passphrase',
    salt: isMaster ? null : toBase64(salt),
    sealed: toBase64(sealed),
  };
  await writeWholeFile(options.out, utf8(`${JSON.stringify(file)}\n`));
  show(seed, options.json);
  note(`The secret half is in ${options.out}, sealed. Nothing else holds it.`);
};

const show = (seed: Uint8Array, json: boolean | undefined): void => {
  const shown = publicOf(seed);
  if (json === true) return printJson(shown);
  say(`fingerprint  ${shown.phrase}   (${shown.fingerprint})`);
  say(`Ed25519      ${shown.ed25519}`);
  say(`ML-DSA-65    ${shown.mldsa65}`);
  say(`X-Wing       ${shown.xwing}   (${shown.xwingSuite})`);
};

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** @throws QflError `invalid_request` for another kind of file, `storage_failed` for another passphrase or key */
const inspect = async (path: string, options: Pick<GenerateOptions, 'masterKey' | 'json'>): Promise<void> => {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new QflError('invalid_request', { detail: `${path} cannot be read`, cause });
  });
  const parsed = KeyFile.safeParse(jsonOf(text));
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: `${path} is no file of "qfl keys generate"` });
  const { sealedUnder, salt, sealed } = parsed.data;
  if (sealedUnder === 'master' && options.masterKey === undefined)
    throw new QflError('invalid_request', {
      detail: 'the file is sealed under a master key',
      next: 'Name it: --master-key FILE.',
    });
  const key =
    sealedUnder === 'master' && options.masterKey !== undefined
      ? await readMasterFile(options.masterKey)
      : await underPassphrase(await readSecret('Passphrase of the file'), fromBase64(salt ?? ''));
  show(openAtRest(key, NAME, fromBase64(sealed)), options.json);
};

export const registerGenerate = (keys: Command): void => {
  keys
    .command('generate')
    .description(
      'make an identity (Ed25519, ML-DSA-65) and an X-Wing key pair, offline; a passphrase seals the secret half',
    )
    .requiredOption('--out <FILE>', 'where the sealed secret half goes')
    .option('--master-key <FILE>', 'seal it under this key (32 bytes in base64) instead of a passphrase')
    .option('--json', 'print JSON')
    .action((options: GenerateOptions) => run(() => generate(options), options.json ?? false));
  keys
    .command('inspect <FILE>')
    .description('open a file of "qfl keys generate" and show its public half')
    .option('--master-key <FILE>', 'the key it is sealed under, when that is no passphrase')
    .option('--json', 'print JSON')
    .action((file: string, options: GenerateOptions) =>
      run(() => inspect(file, options), options.json ?? false),
    );
};
