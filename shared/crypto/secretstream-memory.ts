/**
 * The states of secretstreams in libsodium's WebAssembly memory: 52 bytes each, key 32, counter 4, inner nonce 8, 8 unused
 * (`crypto_secretstream_xchacha20poly1305_state` in libsodium's header; a test compares what both providers make of it).
 */
import { z } from 'zod';
import { assert } from '../errors.ts';
import { sodium } from './sodium.ts';

export const STATE_BYTES = 52;
export const STATE_KEY_BYTES = 32;
export const STATE_COUNTER_AT = 32;
export const STATE_INNER_NONCE_AT = 36;
export const STATE_NONCE_BYTES = 12;

/** An address in WebAssembly memory. */
export type Address = number;

interface Wasm {
  /** Replaced when the memory grows, so never kept. */
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): Address;
  _free(address: Address): void;
  _crypto_secretstream_xchacha20poly1305_rekey(state: Address): void;
  /** Lengths are 64-bit in C: low half, high half. */
  _crypto_secretstream_xchacha20poly1305_push(
    ...args: [
      state: Address,
      sealed: Address,
      sealedLength: Address,
      message: Address,
      length: number,
      lengthHigh: number,
      associated: Address,
      associatedLength: number,
      associatedLengthHigh: number,
      tag: number,
    ]
  ): number;
  _crypto_secretstream_xchacha20poly1305_pull(
    ...args: [
      state: Address,
      message: Address,
      messageLength: Address,
      tag: Address,
      sealed: Address,
      length: number,
      lengthHigh: number,
      associated: Address,
      associatedLength: number,
      associatedLengthHigh: number,
    ]
  ): number;
}
const FUNCTIONS = [
  '_malloc',
  '_free',
  '_crypto_secretstream_xchacha20poly1305_rekey',
  '_crypto_secretstream_xchacha20poly1305_push',
  '_crypto_secretstream_xchacha20poly1305_pull',
] as const;
const wasm: Wasm = z
  .custom<Wasm>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Reflect.get(value, 'HEAPU8') instanceof Uint8Array &&
      FUNCTIONS.every((name) => typeof Reflect.get(value, name) === 'function'),
    'this build of libsodium-wrappers does not show its memory',
  )
  .parse(Reflect.get(sodium, 'libsodium'));

/** The state address inside what the wrapper returns. */
export const addressOf = (state: unknown): Address => z.int().positive().parse(state);

/** The bytes at an address, as a view: valid until the next call into libsodium. */
export const view = (address: Address, length: number): Uint8Array =>
  wasm.HEAPU8.subarray(address, address + length);

/** Moves the key of a stream forward. */
export const rekey = (state: Address): void => wasm._crypto_secretstream_xchacha20poly1305_rekey(state);

/** Overwrites and frees. */
export const release = (address: Address): void => {
  view(address, STATE_BYTES).fill(0);
  wasm._free(address);
};

/**
 * Room for one message on its way through WebAssembly, taken once: the wrapper allocates, copies and frees four times a call, which
 * for a kilobyte costs as much as the cipher.
 */
const SCRATCH_BYTES = 16_384;
const OVERHEAD_BYTES = 17;
const ASSOCIATED_BYTES_MAX = 64;
const scratch = {
  input: wasm._malloc(SCRATCH_BYTES),
  output: wasm._malloc(SCRATCH_BYTES),
  associated: wasm._malloc(ASSOCIATED_BYTES_MAX),
  tag: wasm._malloc(1),
};

/** Do a message of this length and its associated data fit the scratch room? */
export const fitsScratch = (bytes: number, associatedData: Uint8Array | null): boolean =>
  bytes + OVERHEAD_BYTES <= SCRATCH_BYTES && (associatedData?.byteLength ?? 0) <= ASSOCIATED_BYTES_MAX;

const place = (associatedData: Uint8Array | null): [Address, number] => {
  if (associatedData === null) return [0, 0];
  wasm.HEAPU8.set(associatedData, scratch.associated);
  return [scratch.associated, associatedData.byteLength];
};

/** libsodium's push, from `message` into `out` at `at`. Both must fit the scratch room. */
export const sealInScratch = (
  state: Address,
  message: Uint8Array,
  tag: number,
  associatedData: Uint8Array | null,
  out: Buffer,
  at: number,
): void => {
  wasm.HEAPU8.set(message, scratch.input);
  const [associated, associatedLength] = place(associatedData);
  const code = wasm._crypto_secretstream_xchacha20poly1305_push(
    state,
    scratch.output,
    0,
    scratch.input,
    message.byteLength,
    0,
    associated,
    associatedLength,
    0,
    tag,
  );
  assert(code === 0, 'a secretstream push cannot fail');
  out.set(view(scratch.output, message.byteLength + OVERHEAD_BYTES), at);
};

/** libsodium's pull; undefined when it does not authenticate. */
export const openInScratch = (
  state: Address,
  sealed: Uint8Array,
  associatedData: Uint8Array | null,
): { message: Uint8Array; tag: number } | undefined => {
  wasm.HEAPU8.set(sealed, scratch.input);
  const [associated, associatedLength] = place(associatedData);
  const code = wasm._crypto_secretstream_xchacha20poly1305_pull(
    state,
    scratch.output,
    0,
    scratch.tag,
    scratch.input,
    sealed.byteLength,
    0,
    associated,
    associatedLength,
    0,
  );
  if (code !== 0) return undefined;
  return {
    message: Buffer.from(view(scratch.output, sealed.byteLength - OVERHEAD_BYTES)),
    tag: wasm.HEAPU8[scratch.tag]!,
  };
};
