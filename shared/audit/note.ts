/**
 * Signed notes, C2SP signed-note: text that ends in a newline, an empty line, then one line per signature. Unchanged format,
 * so that any third party's verifier reads ours.
 */
import { fromUtf8, utf8 } from '../bytes.ts';
import { ed25519SignerOf, verifyEd25519Raw } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import { strictBase64 } from './base64.ts';
import { isWellFormed } from './canonical.ts';
import { cosignatureHolds } from './cosignature.ts';
import { SIGNATURE_START, signatureLine } from './signature-line.ts';
import {
  isKeyName,
  KEY_HASH_BYTES,
  KEY_TYPE_ED25519,
  type VerifierKey,
  verifierKeyOf,
} from './verifier-key.ts';

export { strictBase64 } from './base64.ts';
export { cosignatureTimeS } from './cosignature.ts';
export { parseVerifierKey, type VerifierKey } from './verifier-key.ts';

const SEED_BYTES = 32;
/** A thousand sites that sign with two keys each, and the log itself; the format itself has no bound. */
const SIGNATURES_MAX = 2_050;

/** Whoever can sign a note under one name. `verifierKey` is the public text `name+hash+base64`. */
export interface NoteSigner {
  readonly name: string;
  /** First 4 bytes of SHA-256(name ‖ "\n" ‖ type ‖ public key). */
  readonly keyHash: Uint8Array;
  readonly verifierKey: string;
  sign(message: Uint8Array): Uint8Array;
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

/**
 * An Ed25519 signer (key type 0x01) from its 32-byte seed.
 * @throws QflError `config_invalid` for a bad name or a seed of another length.
 */
export const ed25519NoteSigner = (name: string, seed: Uint8Array): NoteSigner => {
  if (!isKeyName(name) || seed.byteLength !== SEED_BYTES) {
    throw new QflError('config_invalid', {
      detail: 'a note signer needs a name without spaces and "+", and a 32-byte seed',
    });
  }
  const { publicKey, sign } = ed25519SignerOf(seed);
  const { keyHash, text } = verifierKeyOf(name, KEY_TYPE_ED25519, publicKey);
  return { name, keyHash, verifierKey: text, sign };
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
  const lines = signers.map((signer) => signatureLine(signer, signer.sign(utf8(text))));
  return `${text}\n${lines.join('')}`;
};

export const parseSignatureLine = (line: string): NoteSignature => {
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

export const signedBy = (key: VerifierKey, { name, keyHash }: NoteSignature): boolean =>
  key.name === name && Buffer.compare(key.keyHash, keyHash) === 0;

/** Does this signature of `key` hold over the note's text? False for anything malformed. */
export const signatureHolds = (key: VerifierKey, text: string, signature: Uint8Array): boolean =>
  key.type === KEY_TYPE_ED25519
    ? verifyEd25519Raw(key.publicKey, utf8(text), signature)
    : cosignatureHolds(key, text, signature);

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
  const signers: VerifierKey[] = [];
  const unknown: NoteSignature[] = [];
  for (const line of signatures) {
    const key = known.find((candidate) => signedBy(candidate, line));
    if (key === undefined) unknown.push(line);
    else if (signers.includes(key)) malformed(`${key.name} signed twice`);
    else if (signatureHolds(key, text, line.signature)) signers.push(key);
    else throw new QflError('bad_signature', { detail: `the signature of ${key.name} does not hold` });
  }
  if (signers.length === 0) {
    throw new QflError('unknown_key', { detail: 'the note is not signed by any key that is known here' });
  }
  return { text, signedBy: signers, unknown };
};
