/**
 * Cosignatures, C2SP tlog-cosignature: "at this second, this was the largest tree of that log that I have seen, and it holds all I saw
 * before". Two types: Ed25519 (0x04) over a text, ML-DSA-44 (0x06) over a `cosigned_message` that names the cosigner too. A log signs its own
 * checkpoints with 0x06 in the same form.
 */
import { concat, u64, utf8 } from '../bytes.ts';
import { lattice } from '../crypto/lattice/provider.ts';
import { ed25519SignerOf, verifyEd25519Raw } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import { type Checkpoint, parseCheckpointText } from './checkpoint-text.ts';
import { signatureLine } from './signature-line.ts';
import { KEY_TYPE_COSIGNATURE, KEY_TYPE_MLDSA44, type VerifierKey, verifierKeyOf } from './verifier-key.ts';

const TIME_BYTES = 8;
const NAME_BYTES_MAX = 255;

export interface Cosigner {
  readonly key: VerifierKey;
  /** `timestamped_signature`: the second, then the signature. `text` is a checkpoint's. */
  cosign(text: string, timeS: number): Promise<Uint8Array>;
}

/** TLS presentation language: `opaque name<1..2^8-1>`. */
const opaque8 = (text: string): Uint8Array => {
  const bytes = utf8(text);
  if (bytes.byteLength === 0 || bytes.byteLength > NAME_BYTES_MAX)
    throw new QflError('protocol', { detail: `a name in a cosignature has 1–${NAME_BYTES_MAX} bytes` });
  return concat(Uint8Array.of(bytes.byteLength), bytes);
};

/** What an Ed25519 cosignature signs. */
export const ed25519Message = (text: string, timeS: number): Uint8Array =>
  utf8(`cosignature/v1\ntime ${timeS}\n${text}`);

/** What an ML-DSA-44 cosignature signs: the struct `cosigned_message` with `start` 0. Extension lines are outside it. */
export const cosignedMessage = (
  name: string,
  timeS: number,
  { origin, size, root }: Checkpoint,
): Uint8Array =>
  concat(
    utf8('subtree/v1\n\0'),
    opaque8(name),
    u64(BigInt(timeS)),
    opaque8(origin),
    u64(0n),
    u64(BigInt(size)),
    root,
  );

export const ed25519Cosigner = (name: string, seed: Uint8Array): Cosigner => {
  const { publicKey, sign } = ed25519SignerOf(seed);
  return {
    key: verifierKeyOf(name, KEY_TYPE_COSIGNATURE, publicKey),
    cosign: (text, timeS) => Promise.resolve(concat(u64(BigInt(timeS)), sign(ed25519Message(text, timeS)))),
  };
};

export const mldsa44Cosigner = (name: string, seed: Uint8Array): Cosigner => {
  const signer = lattice.signer(seed);
  return {
    key: verifierKeyOf(name, KEY_TYPE_MLDSA44, signer.publicKey),
    async cosign(text, timeS) {
      const message = cosignedMessage(name, timeS, parseCheckpointText(text));
      return concat(u64(BigInt(timeS)), await signer.sign(message));
    },
  };
};

/** One signature line, its newline included. */
export const cosignatureLine = async (cosigner: Cosigner, text: string, timeS: number): Promise<string> =>
  signatureLine(cosigner.key, await cosigner.cosign(text, timeS));

/** The second that a cosignature claims; it is signed together with the note. @throws QflError `protocol` when there is none */
export const cosignatureTimeS = (signature: Uint8Array): number => {
  const timeS = signature.byteLength > TIME_BYTES ? Buffer.from(signature).readBigUInt64BE(0) : -1n;
  if (timeS >= 0n && timeS <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(timeS);
  throw new QflError('protocol', { detail: 'not a cosignature' });
};

/** Does the cosignature of `key` (type 0x04 or 0x06) hold over a checkpoint's text? False for anything malformed. */
export const cosignatureHolds = (key: VerifierKey, text: string, signature: Uint8Array): boolean => {
  try {
    const timeS = cosignatureTimeS(signature);
    const rest = signature.subarray(TIME_BYTES);
    return key.type === KEY_TYPE_MLDSA44
      ? lattice.verify(key.publicKey, cosignedMessage(key.name, timeS, parseCheckpointText(text)), rest)
      : verifyEd25519Raw(key.publicKey, ed25519Message(text, timeS), rest);
  } catch {
    return false;
  }
};
