/**
 * The same secretstream, byte for byte, through OpenSSL: for messages from 8 KiB on, where it is two to five times as fast as
 * WebAssembly (measured). A secretstream message is ChaCha20-Poly1305 (RFC 8439) over a 64-byte block, the tag and zeros, and the
 * message; of the sealed block only the first byte is sent. That holds for messages of a multiple of 16 bytes: for others libsodium
 * pads its MAC in a way of its own, and they stay with it. The state stays in libsodium's memory, so both can take turns.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import {
  type Address,
  STATE_COUNTER_AT,
  STATE_INNER_NONCE_AT,
  STATE_KEY_BYTES,
  STATE_NONCE_BYTES,
  rekey,
  view,
} from './secretstream-memory.ts';

const BLOCK_BYTES = 64;
const MAC_BYTES = 16;
const INNER_NONCE_BYTES = 8;
/** Below this the cost of setting OpenSSL up is more than it saves. */
const NATIVE_BYTES_MIN = 8_192;
/** Bit of a tag that moves the key forward. */
const TAG_REKEY_BIT = 2;
const AEAD = { authTagLength: MAC_BYTES } as const;

export const isNative = (messageBytes: number): boolean =>
  messageBytes >= NATIVE_BYTES_MIN && messageBytes % MAC_BYTES === 0;

// OpenSSL takes its own copy of both at once, so views of libsodium's memory are safe to pass.
const keyOf = (state: Address): Uint8Array => view(state, STATE_KEY_BYTES);
const nonceOf = (state: Address): Uint8Array => view(state + STATE_COUNTER_AT, STATE_NONCE_BYTES);

/** The state after one message, as libsodium moves it. */
const advance = (state: Address, mac: Uint8Array, tag: number): void => {
  const nonce = view(state + STATE_INNER_NONCE_AT, INNER_NONCE_BYTES);
  for (let index = 0; index < INNER_NONCE_BYTES; index += 1) nonce[index]! ^= mac[index]!;
  const counter = view(state + STATE_COUNTER_AT, STATE_INNER_NONCE_AT - STATE_COUNTER_AT);
  const before = Buffer.from(counter.buffer, counter.byteOffset, counter.byteLength);
  const next = (before.readUInt32LE() + 1) >>> 0;
  before.writeUInt32LE(next);
  if ((tag & TAG_REKEY_BIT) !== 0 || next === 0) rekey(state);
};

/** Writes first byte, ciphertext and MAC into `out` at `at`. */
export const sealNative = (
  state: Address,
  message: Uint8Array,
  tag: number,
  associatedData: Uint8Array | null,
  out: Buffer,
  at: number,
): void => {
  const cipher = createCipheriv('chacha20-poly1305', keyOf(state), nonceOf(state), AEAD);
  if (associatedData !== null)
    cipher.setAAD(associatedData, { plaintextLength: BLOCK_BYTES + message.byteLength });
  const block = Buffer.alloc(BLOCK_BYTES);
  block[0] = tag;
  out[at] = cipher.update(block)[0]!;
  out.set(cipher.update(message), at + 1);
  cipher.final();
  const mac = cipher.getAuthTag();
  out.set(mac, at + 1 + message.byteLength);
  advance(state, mac, tag);
};

/** The block as it was sealed, from its first byte: the rest of it is keystream over zeros. */
const sealedBlock = (state: Address, first: number): Buffer => {
  const counterAndNonce = Buffer.alloc(16);
  counterAndNonce[0] = 1;
  counterAndNonce.set(nonceOf(state), 4);
  const keystream = createCipheriv('chacha20', keyOf(state), counterAndNonce).update(
    Buffer.alloc(BLOCK_BYTES),
  );
  keystream[0] = first;
  return keystream;
};

/** The next message and its tag; undefined when it does not authenticate, and then the state has not moved. */
export const openNative = (
  state: Address,
  sealed: Uint8Array,
  associatedData: Uint8Array | null,
): { message: Uint8Array; tag: number } | undefined => {
  const macAt = sealed.byteLength - MAC_BYTES;
  const mac = sealed.subarray(macAt);
  const decipher = createDecipheriv('chacha20-poly1305', keyOf(state), nonceOf(state), AEAD);
  if (associatedData !== null) decipher.setAAD(associatedData, { plaintextLength: BLOCK_BYTES + macAt - 1 });
  const tag = decipher.update(sealedBlock(state, sealed[0]!))[0]!;
  const message = decipher.update(sealed.subarray(1, macAt));
  decipher.setAuthTag(mac);
  try {
    decipher.final();
  } catch {
    return undefined;
  }
  advance(state, mac, tag);
  return { message, tag };
};
