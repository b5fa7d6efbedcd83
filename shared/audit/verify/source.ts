/** The bytes of an export: a file as it is, or opened with an age identity. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Decrypter } from 'age-encryption';
import { fromUtf8, utf8 } from '../../bytes.ts';
import { QflError } from '../../errors.ts';
import { TarFault } from '../tar.ts';

const AGE_START = utf8('age-encryption.org/v1\n');
const READ_BYTES = 1024 * 1024;

async function* readingFile(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES }))
      if (chunk instanceof Uint8Array) yield chunk;
  } catch (cause) {
    throw new QflError('storage_failed', { detail: `${file} could not be read`, cause });
  }
}

const isEncrypted = async (file: string): Promise<boolean> => {
  for await (const chunk of readingFile(file))
    return Buffer.compare(chunk.subarray(0, AGE_START.byteLength), AGE_START) === 0;
  return false;
};

/** Lines `AGE-SECRET-KEY-…` of an identity file. @throws QflError `config_invalid`, `storage_failed` */
const decrypterOf = async (identityFile: string): Promise<Decrypter> => {
  const decrypter = new Decrypter();
  let text: string;
  try {
    text = fromUtf8(await readFile(identityFile));
  } catch (cause) {
    throw new QflError('storage_failed', { detail: `${identityFile} could not be read`, cause });
  }
  const keys = text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
  try {
    for (const key of keys) decrypter.addIdentity(key.trim());
  } catch (cause) {
    throw new QflError('config_invalid', { detail: `${identityFile} holds no age identity`, cause });
  }
  return decrypter;
};

async function* decrypted(file: string, decrypter: Decrypter): AsyncGenerator<Uint8Array> {
  let opened: AsyncIterable<Uint8Array>;
  try {
    opened = await decrypter.decrypt(ReadableStream.from<Uint8Array>(readingFile(file)));
  } catch (cause) {
    if (cause instanceof Error && /no identity matched/.test(cause.message))
      throw new QflError('unknown_key', { detail: `${file} is encrypted to somebody else`, cause });
    throw new TarFault('altered', 'the head of the encrypted file was changed, or it was cut');
  }
  try {
    yield* opened;
  } catch {
    throw new TarFault('altered', 'the encrypted file was changed, or it was cut');
  }
}

/** @throws QflError `invalid_request` when the file is encrypted and no identity was given */
export const openSource = async (file: string, identityFile?: string): Promise<AsyncIterable<Uint8Array>> => {
  if (!(await isEncrypted(file))) return readingFile(file);
  if (identityFile !== undefined) return decrypted(file, await decrypterOf(identityFile));
  throw new QflError('invalid_request', {
    detail: `${file} is encrypted`,
    next: 'Give the file with your age identity: --identity key.txt',
  });
};
