/**
 * libsodium's secretstream (XChaCha20-Poly1305, ordered, with rekey and final tags) as objects that give their memory
 * back. The wrapper allocates each state in WebAssembly memory and never frees it (56 bytes a stream, measured: 22 MB
 * after 400,000); `close` overwrites the state and frees it, once. Long messages go through OpenSSL, with the same bytes
 * as result.
 */
import { isNative, openNative, sealNative } from './secretstream-native.ts';
import type { StateAddress } from 'libsodium-wrappers';
import {
  type Address,
  addressOf,
  fitsScratch,
  openInScratch,
  release,
  sealInScratch,
} from './secretstream-memory.ts';
import { sodium } from './sodium.ts';

export const STREAM_KEY_BYTES = 32;
export const STREAM_HEADER_BYTES = 24;
export const STREAM_OVERHEAD_BYTES = 17;

export type StreamTag = 'message' | 'rekey' | 'final';
const TAGS: Readonly<Record<StreamTag, number>> = {
  message: sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE,
  rekey: sodium.crypto_secretstream_xchacha20poly1305_TAG_REKEY,
  final: sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL,
};
const tagName = (tag: number): StreamTag | undefined => {
  if (tag === TAGS.message) return 'message';
  if (tag === TAGS.rekey) return 'rekey';
  return tag === TAGS.final ? 'final' : undefined;
};

export interface PushStream {
  /** 24 bytes the other side needs to start pulling; not secret. */
  readonly header: Uint8Array;
  /** The sealed message, with `room` free bytes in front of it for the caller's own header. */
  push(message: Uint8Array, tag: StreamTag, associatedData: Uint8Array | null, room?: number): Uint8Array;
  close(): void;
}

export interface PullStream {
  /** The next message, or undefined when it does not authenticate (changed, repeated, lost or out of order). */
  pull(
    sealed: Uint8Array,
    associatedData: Uint8Array | null,
  ): { message: Uint8Array; tag: StreamTag } | undefined;
  close(): void;
}

export const openPushStream = (key: Uint8Array): PushStream => {
  const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
  const address = addressOf(state);
  let open = true;
  return {
    header,
    push(message, tag, associatedData, room = 0) {
      if (!open) throw new Error('the stream is closed');
      const out = Buffer.allocUnsafe(room + message.byteLength + STREAM_OVERHEAD_BYTES);
      if (isNative(message.byteLength)) sealNative(address, message, TAGS[tag], associatedData, out, room);
      else if (fitsScratch(message.byteLength, associatedData))
        sealInScratch(address, message, TAGS[tag], associatedData, out, room);
      else
        out.set(
          sodium.crypto_secretstream_xchacha20poly1305_push(state, message, associatedData, TAGS[tag]),
          room,
        );
      return out;
    },
    close() {
      if (open) release(address);
      open = false;
    },
  };
};

/** By whichever way is the fastest for this length; all three give the same. */
const pullAny = (
  state: StateAddress,
  address: Address,
  sealed: Uint8Array,
  associatedData: Uint8Array | null,
) => {
  const length = sealed.byteLength - STREAM_OVERHEAD_BYTES;
  if (isNative(length)) return openNative(address, sealed, associatedData);
  if (fitsScratch(length, associatedData)) return openInScratch(address, sealed, associatedData);
  return sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed, associatedData);
};

export const openPullStream = (key: Uint8Array, header: Uint8Array): PullStream => {
  const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(header, key);
  const address = addressOf(state);
  let open = true;
  return {
    pull(sealed, associatedData) {
      if (!open || sealed.byteLength < STREAM_OVERHEAD_BYTES) return undefined;
      const pulled = pullAny(state, address, sealed, associatedData);
      if (pulled === undefined || pulled === false) return undefined;
      const tag = tagName(pulled.tag);
      return tag === undefined ? undefined : { message: pulled.message, tag };
    },
    close() {
      if (open) release(address);
      open = false;
    },
  };
};
