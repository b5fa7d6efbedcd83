import { randomBytes } from 'node:crypto';

/** Uniform random bytes; `count` of them. Production passes the operating system's generator, tests a seeded one. */
export type RandomBytes = (count: number) => Uint8Array;

export const secureRandomBytes: RandomBytes = (count) => randomBytes(count);

export const randomHex = (random: RandomBytes, bytes: number): string =>
  Buffer.from(random(bytes)).toString('hex');
