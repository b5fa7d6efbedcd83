/** A model version's record: its one spelling, the coordinator's signature over it, and what has to hold before anybody uses the model. */
import { fromBase64, toBase64, toHex, utf8 } from '../bytes.ts';
import { blake2b, HASH_BYTES, hashOf } from '../crypto/hash.ts';
import { type IdentitiesAt, type Identity, verifyHybrid } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import type { LearningData } from '../wire/learning.ts';
import { type ModelName, ModelRecord, RECORD_CHARS_MAX, type SignedModel } from '../wire/model.ts';

export const MODEL_LABEL = 'qfl model version';

const inOrder = (_name: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([left], [right]) => (left < right ? -1 : 1)))
    : value;

/**
 * RFC 8785: names in order, no spaces, numbers as ECMAScript prints them. Unlike the audit log's leaves it holds fractions, as RFC 8785 does:
 * nobody has to print them again to check a signature, because the text itself is what is signed and kept.
 */
export const canonicalText = (value: unknown): string => JSON.stringify(value, inOrder);

export const modelDigest = (file: Uint8Array): string => toHex(blake2b(HASH_BYTES, file));
export const learningDataHash = (data: LearningData): string =>
  toHex(hashOf('qfl learning data', utf8(canonicalText(data))));

/** @throws QflError `too_large` */
export const signModel = (identity: Identity, record: ModelRecord): SignedModel => {
  const text = canonicalText(record);
  if (text.length > RECORD_CHARS_MAX)
    throw new QflError('too_large', {
      detail: `the record of this model has ${text.length} characters, and ${RECORD_CHARS_MAX} are allowed`,
      next: 'Train with fewer features or fewer rounds.',
    });
  const { ed25519, mldsa65 } = identity.signHybrid(MODEL_LABEL, utf8(text));
  return { text, signature: { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) } };
};

/** The record as it is kept by whoever signed or checked it. @throws QflError `protocol` */
export const recordOf = ({ text }: SignedModel): ModelRecord => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new QflError('protocol', { detail: 'the record of a model is not JSON', cause });
  }
  const parsed = ModelRecord.safeParse(value);
  if (parsed.success) return parsed.data;
  const paths = [...new Set(parsed.error.issues.map(({ path }) => path.join('.')))];
  throw new QflError('protocol', {
    detail: `the record of a model is not understood (${paths.join(', ')})`,
    next: 'This program and the one that wrote it may be of different versions.',
  });
};

export interface ModelTrust {
  readonly federation: string;
  /** The coordinator's, as this program pins them. */
  readonly identitiesAt: IdentitiesAt;
}

/**
 * Parses it, because its time says whose keys counted, and gives it to nobody unless both signatures hold.
 * @throws QflError `bad_signature` where either signature does not hold under the coordinator's keys of that time, or another federation's
 */
export const verifyModel = ({ federation, identitiesAt }: ModelTrust, signed: SignedModel): ModelRecord => {
  const record = recordOf(signed);
  const signature = {
    ed25519: fromBase64(signed.signature.ed25519),
    mldsa65: fromBase64(signed.signature.mldsa65),
  };
  const bytes = utf8(signed.text);
  if (!identitiesAt(record.createdMs).some((key) => verifyHybrid(key, MODEL_LABEL, bytes, signature)))
    throw new QflError('bad_signature', {
      detail: `the record of ${record.name} ${record.version} is not signed by this federation's coordinator`,
      next: 'Do not use this model; ask the federation operator.',
    });
  if (record.federation !== federation)
    throw new QflError('bad_signature', {
      detail: `${record.name} ${record.version} is a model of the federation ${record.federation}, not of ${federation}`,
    });
  return record;
};

/** @throws QflError `conflict` for another version than was asked for: an old one must not pass as the one in use */
export const checkAsked = (record: ModelRecord, name: ModelName, version: number | undefined): void => {
  if (record.name !== name || (version !== undefined && record.version !== version))
    throw new QflError('conflict', {
      detail: `${name} ${version ?? ''} was asked for, and ${record.name} ${record.version} came`,
    });
};

/** @throws QflError `bad_signature` when the file is not the one that was signed */
export const checkDigest = (record: ModelRecord, file: Uint8Array): void => {
  const digest = modelDigest(file);
  if (digest === record.digest && file.byteLength === record.bytes) return;
  throw new QflError('bad_signature', {
    detail: `the file of ${record.name} ${record.version} has the digest ${digest}, and ${record.digest} was signed`,
    next: 'The file was changed or cut on its way or on the disk: fetch it again.',
  });
};
