/**
 * The states of secretstreams in libsodium's WebAssembly memory: 52 bytes each, key 32, counter 4, inner nonce 8, 8 unused
 * (`crypto_secretstream_xchacha20poly1305_state` in libsodium's header; a test compares what both providers make of it).
 */
import { z } from 'zod';
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
  _free(address: Address): void;
  _crypto_secretstream_xchacha20poly1305_rekey(state: Address): void;
}
const wasm: Wasm = z
  .custom<Wasm>(
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Reflect.get(value, 'HEAPU8') instanceof Uint8Array &&
      typeof Reflect.get(value, '_free') === 'function' &&
      typeof Reflect.get(value, '_crypto_secretstream_xchacha20poly1305_rekey') === 'function',
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
