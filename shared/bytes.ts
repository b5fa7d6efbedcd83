/** Small helpers over byte arrays; nothing here is constant-time unless it says so. */
import { timingSafeEqual } from 'node:crypto';

export const utf8 = (text: string): Uint8Array => Buffer.from(text, 'utf8');
export const fromUtf8 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
export const toHex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
export const fromHex = (hex: string): Uint8Array => Buffer.from(hex, 'hex');
export const toBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
export const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64');
export const toBase64Url = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
export const fromBase64Url = (text: string): Uint8Array => Buffer.from(text, 'base64url');
export const concat = (...parts: readonly Uint8Array[]): Uint8Array => Buffer.concat(parts);

/** Equality in time that depends only on the lengths. */
export const equalConstantTime = (left: Uint8Array, right: Uint8Array): boolean =>
  left.byteLength === right.byteLength && timingSafeEqual(left, right);

/** Unsigned 32-bit big-endian. */
export const u32 = (value: number): Uint8Array => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Unsigned 64-bit big-endian. */
export const u64 = (value: bigint): Uint8Array => {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};

/**
 * Concatenation in which no two different lists give the same bytes: each part is preceded by its length (u32).
 * Everything that is hashed or signed as several fields goes through here.
 */
export const framed = (...parts: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat(parts.flatMap((part) => [u32(part.byteLength), part]));
