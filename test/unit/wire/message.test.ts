import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, framed } from '../../../shared/bytes.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';
import { paddedSize } from '../../../shared/crypto/padding.ts';
import { unframed } from '../../../shared/wire/framing.ts';
import {
  Assembler,
  decodeMessage,
  encodeMessage,
  type Message,
  MESSAGE_BYTES_MAX,
  MESSAGE_TYPES,
  partFrames,
  wholeFrame,
} from '../../../shared/wire/message.ts';

const encode = (message: Message): Uint8Array => concat(...encodeMessage(message));
const event = (payload: Uint8Array): Message => ({ type: 'event', id: 0, header: { m: 'x' }, payload });
const framesOf = (message: Message, partId = 1): Uint8Array[] => {
  const encoded = encodeMessage(message);
  const whole = wholeFrame(encoded);
  return (whole === undefined ? [...partFrames(encoded, partId)] : [whole]).map((parts) => concat(...parts));
};
const messages = fc.record({
  type: fc.constantFrom(...MESSAGE_TYPES),
  id: fc.integer({ min: 0, max: 0xffffffff }),
  header: fc.option(fc.jsonValue(), { nil: undefined }),
  payload: fc.uint8Array({ maxLength: 200 }),
});

describe('a message', () => {
  test('a fixed layout: type, id, header length, header, payload', () => {
    const bytes = encode({ type: 'chunk', id: 258, header: [1], payload: Uint8Array.of(9, 8) });
    expect(Buffer.from(bytes).toString('hex')).toBe('0200000102000000035b315d0908');
  });

  test('comes back as it was', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const back = decodeMessage(encode(message));
        expect(back.type).toBe(message.type);
        expect(back.id).toBe(message.id);
        expect(JSON.stringify(back.header)).toBe(JSON.stringify(message.header));
        expect(Buffer.compare(back.payload, message.payload)).toBe(0);
      }),
    );
  });

  test('arbitrary bytes are a message or a protocol error, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(['done', 'protocol']).toContain(outcomeOf(() => decodeMessage(bytes)));
      }),
      { numRuns: 2_000 },
    );
  });

  test('a header length past the end and a type past the list are refused', () => {
    const bytes = Buffer.from(encode(event(new Uint8Array(3))));
    const long = Buffer.from(bytes);
    long.writeUInt32BE(1_000, 5);
    expect(() => decodeMessage(long)).toThrowError(expect.objectContaining({ code: 'protocol' }));
    bytes[0] = MESSAGE_TYPES.length;
    expect(() => decodeMessage(bytes)).toThrowError(expect.objectContaining({ code: 'protocol' }));
  });
});

const paddedBytes = (message: Message): number => {
  const encoded = encodeMessage(message);
  const whole = wholeFrame(encoded, true);
  const frames = whole === undefined ? [...partFrames(encoded, 1, true)] : [whole];
  return frames.reduce((sum, parts) => sum + paddedSize(concat(...parts).byteLength), 0);
};

describe('frames of a message whose length is public', () => {
  test('carry hardly any padding, and give the same message', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_500_000 }), (length) => {
        const message = event(Buffer.alloc(length, 7));
        expect(paddedBytes(message)).toBeLessThan(length + 4_096 + 1_024 + length / 200);
        const encoded = encodeMessage(message);
        const assembler = new Assembler();
        const whole = wholeFrame(encoded, true);
        const frames = whole === undefined ? [...partFrames(encoded, 1, true)] : [whole];
        const arrived = frames.map((parts) => assembler.accept(concat(...parts)));
        expect(arrived.slice(0, -1).every((one) => one === undefined)).toBe(true);
        expect(decodeMessage(arrived.at(-1)!).payload.byteLength).toBe(length);
      }),
      { numRuns: 300 },
    );
  });

  test('are as large as before for others: a length that may be told a person is hidden by its bucket', () => {
    const encoded = encodeMessage(event(new Uint8Array(70_000)));
    expect(wholeFrame(encoded)).toBeDefined();
    expect(wholeFrame(encoded, true)).toBeUndefined();
  });
});

describe('frames', () => {
  test('of ten megabytes interleave with those of small messages', () => {
    const large = event(Buffer.alloc(10_000_000, 5));
    const frames = framesOf(large);
    expect(frames.length).toBe(39);
    expect(Math.max(...frames.map(({ byteLength }) => byteLength))).toBeLessThanOrEqual(262_144);
    const assembler = new Assembler();
    const arrived: number[] = [];
    for (const frame of frames) {
      for (const one of [frame, ...framesOf(event(new Uint8Array(4)))]) {
        const whole = assembler.accept(one);
        if (whole !== undefined) arrived.push(decodeMessage(whole).payload.byteLength);
      }
    }
    expect(arrived.filter((length) => length === 4)).toHaveLength(39);
    expect(arrived.indexOf(10_000_000)).toBe(38);
  });

  test('of two long messages may alternate', () => {
    const [left, right] = [
      framesOf(event(Buffer.alloc(600_000, 1)), 1),
      framesOf(event(Buffer.alloc(600_000, 2)), 2),
    ];
    const assembler = new Assembler();
    const wholes = left
      .flatMap((frame, index) => [frame, right[index]!])
      .map((frame) => assembler.accept(frame))
      .filter((whole) => whole !== undefined);
    expect(wholes.map((whole) => decodeMessage(whole).payload[599_999])).toEqual([1, 2]);
  });

  test('a message that is too long is not sent', () => {
    expect(() => framesOf(event(new Uint8Array(MESSAGE_BYTES_MAX)))).toThrowError(
      expect.objectContaining({ code: 'too_large' }),
    );
    expect(framesOf(event(new Uint8Array(MESSAGE_BYTES_MAX - 100))).length).toBeGreaterThan(60);
  });

  const more = (partId: number, bytes = 10): Uint8Array =>
    concat(Uint8Array.of(1, 0, 0, 0, partId), new Uint8Array(bytes));
  test('what never ends is bounded: parts of one message, and messages begun', () => {
    const endless = new Assembler();
    expect(() => {
      for (let index = 0; index < 100; index += 1) endless.accept(more(1));
    }).toThrowError(expect.objectContaining({ code: 'too_large' }));
    const many = new Assembler();
    expect(() => {
      for (let partId = 0; partId < 100; partId += 1) many.accept(more(partId));
    }).toThrowError(expect.objectContaining({ code: 'protocol' }));
  });

  test('arbitrary frames are accepted or refused, nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 40 }), (frames) => {
        const assembler = new Assembler();
        const outcome = outcomeOf(() => frames.forEach((frame) => assembler.accept(frame)));
        expect(['done', 'protocol', 'too_large']).toContain(outcome);
      }),
    );
  });
});

describe('framing', () => {
  test('splits what was joined', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), (parts) => {
        expect(unframed(framed(...parts)).map((part) => [...part])).toEqual(parts.map((part) => [...part]));
      }),
    );
  });
  test('a field past the end is refused', () => {
    for (const bytes of [
      Uint8Array.of(0),
      Uint8Array.of(0, 0, 0, 2, 1),
      Uint8Array.of(255, 255, 255, 255, 1),
    ])
      expect(() => unframed(bytes)).toThrowError(expect.objectContaining({ code: 'protocol' }));
  });
});
