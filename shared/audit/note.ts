/**
 * Signed notes, C2SP signed-note: text that ends in a newline, an empty line, then one line per signature. Unchanged format,
 * so that any third party's verifier reads ours. Key types: 0x01 Ed25519, 0x04 Ed25519 cosignature with a time.
 */
import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';
import { concat, fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { isWellFormed } from './canonical.ts';

const SIGNATURE_START = '— ';
const KEY_HASH_BYTES = 4;
const ED25519_KEY_BYTES = 32;
const ED25519_SIGNATURE_BYTES = 64;
const TIME_BYTES = 8;
/** More than any quorum of ours; the format itself has no bound. */
const SIGNATURES_MAX = 100;
export const KEY_TYPE_ED25519 = 1;
export const KEY_TYPE_COSIGNATURE = 4;

/** Whoever can sign a note under one name. `verifierKey` is the public text `name+hash+base64`. */
export interface NoteSigner {
  readonly name: string;
  /** First 4 bytes of SHA-256(name ‖ "\n" ‖ type ‖ public key). */
  readonly keyHash: Uint8Array;
  readonly verifierKey: string;
  sign(message: Uint8Array): Uint8Array;
}

export interface VerifierKey {
  readonly name: string;
  readonly keyHash: Uint8Array;
  readonly type: number;
  readonly publicKey: Uint8Array;
  /** The text it was read from. */
  readonly text: string;
}

export interface NoteSignature {
  readonly name: string;
  readonly keyHash: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Note {
  /** What is signed; ends in a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

const malformed = (detail: string): never => {
  throw new QflError('protocol', { detail });
};

/** Base64 that has exactly one spelling per value: padding right, no stray bits, no spaces. */
export const strictBase64 = (text: string): Uint8Array => {
  const bytes = fromBase64(text);
  return toBase64(bytes) === text ? bytes : malformed('not canonical base64');
};

const isKeyName = (name: string): boolean => name !== '' && isWellFormed(name) && !/[\s+]/u.test(name);

const keyHashOf = (name: string, type: number, publicKey: Uint8Array): Uint8Array =>
  hash('sha256', concat(utf8(`${name}\n`), Uint8Array.of(type), publicKey), 'buffer').subarray(
    0,
    KEY_HASH_BYTES,
  );

const verifierKeyText = (name: string, type: number, publicKey: Uint8Array): string =>
  `${name}+${toHex(keyHashOf(name, type, publicKey))}+${toBase64(concat(Uint8Array.of(type), publicKey))}`;

/**
 * Reads `name+hash+base64(type ‖ key)`.
 * @throws QflError `protocol` when malformed, of an unknown type, or when the hash does not belong to the key.
 */
export const parseVerifierKey = (text: string): VerifierKey => {
  const [name = '', hashHex = '', ...rest] = text.split('+');
  const bytes = strictBase64(rest.join('+'));
  const type = bytes[0];
  const publicKey = bytes.subarray(1);
  if (!isKeyName(name)) return malformed('a verifier key needs a name without spaces and "+"');
  if (type !== KEY_TYPE_ED25519 && type !== KEY_TYPE_COSIGNATURE) return malformed('unknown key type');
  if (publicKey.byteLength !== ED25519_KEY_BYTES) return malformed('an Ed25519 key has 32 bytes');
  const keyHash = keyHashOf(name, type, publicKey);
  if (toHex(keyHash) !== hashHex) return malformed('the key hash does not belong to the key');
  return { name, keyHash, type, publicKey, text };
};

const privateKeyOf = (seed: Uint8Array): KeyObject =>
  // PKCS #8 of RFC 8410: a fixed head, then the 32-byte seed.
  createPrivateKey({
    key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
    format: 'der',
    type: 'pkcs8',
  });

const publicKeyOf = (bytes: Uint8Array): KeyObject =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes]),
    format: 'der',
    type: 'spki',
  });

/**
 * An Ed25519 signer (key type 0x01) from its 32-byte seed.
 * @throws QflError `config_invalid` for a bad name or a seed of another length.
 */
export const ed25519NoteSigner = (name: string, seed: Uint8Array): NoteSigner => {
  if (!isKeyName(name) || seed.byteLength !== ED25519_KEY_BYTES) {
    throw new QflError('config_invalid', {
      detail: 'a note signer needs a name without spaces and "+", and a 32-byte seed',
    });
  }
  const key = privateKeyOf(seed);
  const publicKey = Buffer.from(createPublicKey(key).export({ format: 'der', type: 'spki' })).subarray(-32);
  return {
    name,
    keyHash: keyHashOf(name, KEY_TYPE_ED25519, publicKey),
    verifierKey: verifierKeyText(name, KEY_TYPE_ED25519, publicKey),
    sign: (message) => sign(null, message, key),
  };
};

const isNoteText = (text: string): boolean =>
  text.endsWith('\n') &&
  // Control characters other than the newline have no place in a note.
  // oxlint-disable-next-line no-control-regex
  !/[\u0000-\u0009\u000b-\u001f]/u.test(text) &&
  isWellFormed(text);

/** Signs `text` (ends in a newline) with each signer. */
export const signNote = (text: string, signers: readonly NoteSigner[]): string => {
  if (!isNoteText(text)) return malformed('a note is text without control characters that ends in a newline');
  const lines = signers.map(
    (signer) =>
      `${SIGNATURE_START}${signer.name} ${toBase64(concat(signer.keyHash, signer.sign(utf8(text))))}\n`,
  );
  return `${text}\n${lines.join('')}`;
};

const parseSignatureLine = (line: string): NoteSignature => {
  const [name = '', encoded = '', ...rest] = line.slice(SIGNATURE_START.length).split(' ');
  if (!line.startsWith(SIGNATURE_START) || rest.length > 0 || !isKeyName(name)) {
    return malformed('a signature line is "— name base64"');
  }
  const bytes = strictBase64(encoded);
  if (bytes.byteLength <= KEY_HASH_BYTES) return malformed('a signature line is too short');
  return { name, keyHash: bytes.subarray(0, KEY_HASH_BYTES), signature: bytes.subarray(KEY_HASH_BYTES) };
};

/**
 * Takes a note apart; nothing is verified.
 * @throws QflError `protocol`
 */
export const parseNote = (note: string | Uint8Array): Note => {
  const whole = typeof note === 'string' ? note : fromUtf8(note);
  if (typeof note !== 'string' && !Buffer.from(whole, 'utf8').equals(note)) return malformed('not UTF-8');
  const split = whole.lastIndexOf('\n\n');
  const text = whole.slice(0, split + 1);
  const tail = whole.slice(split + 2);
  if (split < 0 || !isNoteText(text) || !isNoteText(tail)) {
    return malformed('a note is text, an empty line, and signature lines');
  }
  const lines = tail.slice(0, -1).split('\n');
  if (lines.length > SIGNATURES_MAX)
    return malformed(`a note carries more than ${SIGNATURES_MAX} signatures`);
  return { text, signatures: lines.map(parseSignatureLine) };
};

const sameKey = (key: VerifierKey, { name, keyHash }: NoteSignature): boolean =>
  key.name === name && Buffer.compare(key.keyHash, keyHash) === 0;

/** The time (seconds since 1970) that a cosignature line claims; it is signed together with the note. */
export const cosignatureTimeS = (signature: Uint8Array): number => {
  if (signature.byteLength !== TIME_BYTES + ED25519_SIGNATURE_BYTES) return malformed('not a cosignature');
  return Number(Buffer.from(signature).readBigUInt64BE(0));
};

const holds = (key: VerifierKey, text: string, signature: Uint8Array): boolean => {
  const publicKey = publicKeyOf(key.publicKey);
  if (key.type === KEY_TYPE_ED25519) {
    return signature.byteLength === ED25519_SIGNATURE_BYTES && verify(null, utf8(text), publicKey, signature);
  }
  // C2SP tlog-cosignature, cosignature/v1: the time stands in front of the signature and inside the message.
  const message = utf8(`cosignature/v1\ntime ${cosignatureTimeS(signature)}\n${text}`);
  return verify(null, message, publicKey, signature.subarray(TIME_BYTES));
};

export interface VerifiedNote {
  readonly text: string;
  /** Keys of ours that signed it, each once, at least one. */
  readonly signedBy: readonly VerifierKey[];
  /** Signatures by keys we were not given; they prove nothing. */
  readonly unknown: readonly NoteSignature[];
}

/**
 * Opens a note: every signature by a known key must hold, and at least one must be there.
 * @throws QflError `protocol` when malformed or signed twice by one key, `bad_signature`, `unknown_key` when no known key signed.
 */
export const openNote = (note: string | Uint8Array, known: readonly VerifierKey[]): VerifiedNote => {
  const { text, signatures } = parseNote(note);
  const signedBy: VerifierKey[] = [];
  const unknown: NoteSignature[] = [];
  for (const line of signatures) {
    const key = known.find((candidate) => sameKey(candidate, line));
    if (key === undefined) unknown.push(line);
    else if (signedBy.includes(key)) malformed(`${key.name} signed twice`);
    else if (holds(key, text, line.signature)) signedBy.push(key);
    else throw new QflError('bad_signature', { detail: `the signature of ${key.name} does not hold` });
  }
  if (signedBy.length === 0) {
    throw new QflError('unknown_key', { detail: 'the note is not signed by any key that is known here' });
  }
  return { text, signedBy, unknown };
};
