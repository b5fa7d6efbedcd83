/** Both providers of secretstream against each other: libsodium itself on one side, ours (which takes OpenSSL for long messages) on the other. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isNative } from '../../../shared/crypto/secretstream-native.ts';
import {
  openPullStream,
  openPushStream,
  STREAM_OVERHEAD_BYTES,
  type StreamTag,
} from '../../../shared/crypto/secretstream.ts';
import { sodium } from '../../../shared/crypto/sodium.ts';

const TAG_NUMBERS: Readonly<Record<StreamTag, number>> = { message: 0, rekey: 2, final: 3 };
const steps = fc.array(
  fc.record({
    length: fc.oneof(
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 8_180, max: 8_210 }),
      fc.integer({ min: 500, max: 1_200 }).map((sixteenths) => sixteenths * 16),
      fc.constantFrom(65_600, 262_208),
    ),
    tag: fc.constantFrom<StreamTag>('message', 'message', 'rekey', 'final'),
    associated: fc.option(fc.uint8Array({ maxLength: 40 })),
  }),
  { minLength: 1, maxLength: 12 },
);

test('long messages of whole blocks are native, all others are not', () => {
  expect([8_191, 8_192, 8_193, 8_208, 65_600, 1_088].map(isNative)).toEqual([
    false,
    true,
    false,
    true,
    true,
    false,
  ]);
});

describe('ours and libsodium give the same bytes', () => {
  test('what ours seals, libsodium opens', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const key = randomBytes(32);
        const ours = openPushStream(key);
        const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(ours.header, key);
        for (const { length, tag, associated } of sequence) {
          const message = randomBytes(length);
          const sealed = ours.push(message, tag, associated);
          const pulled = sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed, associated);
          if (pulled === false) throw new Error(`libsodium refuses ${length} bytes with tag ${tag}`);
          expect(pulled.tag).toBe(TAG_NUMBERS[tag]);
          expect(Buffer.compare(pulled.message, message)).toBe(0);
        }
        ours.close();
      }),
      { numRuns: 100 },
    );
  });

  test('what libsodium seals, ours opens', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const key = randomBytes(32);
        const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
        const ours = openPullStream(key, header);
        for (const { length, tag, associated } of sequence) {
          const message = randomBytes(length);
          const sealed = sodium.crypto_secretstream_xchacha20poly1305_push(
            state,
            message,
            associated,
            TAG_NUMBERS[tag],
          );
          const pulled = ours.pull(sealed, associated);
          expect(pulled?.tag).toBe(tag);
          expect(Buffer.compare(pulled!.message, message)).toBe(0);
        }
        ours.close();
      }),
      { numRuns: 100 },
    );
  });
});

describe.each([200, 16_384])('a message of %i bytes', (length) => {
  const open = () => {
    const key = randomBytes(32);
    const push = openPushStream(key);
    return { push, pull: openPullStream(key, push.header), message: randomBytes(length) };
  };

  test('opens only unchanged, in order, with its associated data; a failure does not move the stream', () => {
    const { push, pull, message } = open();
    const associated = randomBytes(9);
    const first = push.push(message, 'message', associated);
    const second = push.push(message, 'message', associated);
    expect(pull.pull(second, associated)).toBeUndefined();
    for (const at of [0, 1, length >> 1, first.byteLength - 17, first.byteLength - 1]) {
      const flipped = Buffer.from(first);
      flipped[at]! ^= 1;
      expect(pull.pull(flipped, associated)).toBeUndefined();
    }
    expect(pull.pull(first.subarray(0, -1), associated)).toBeUndefined();
    expect(pull.pull(first, randomBytes(9))).toBeUndefined();
    expect(pull.pull(first, null)).toBeUndefined();
    expect(Buffer.compare(pull.pull(first, associated)!.message, message)).toBe(0);
    expect(pull.pull(first, associated)).toBeUndefined();
    expect(pull.pull(second, associated)?.tag).toBe('message');
  });

  test('leaves the room in front that was asked for', () => {
    const { push, pull, message } = open();
    const sealed = push.push(message, 'rekey', null, 5);
    expect(sealed.byteLength).toBe(5 + length + STREAM_OVERHEAD_BYTES);
    expect(pull.pull(sealed.subarray(5), null)?.tag).toBe('rekey');
  });

  test('is refused by a closed stream', () => {
    const { push, pull, message } = open();
    const sealed = push.push(message, 'message', null);
    pull.close();
    pull.close();
    push.close();
    expect(pull.pull(sealed, null)).toBeUndefined();
    expect(() => push.push(message, 'message', null)).toThrowError('closed');
  });
});
