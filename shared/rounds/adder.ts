/**
 * Adds keystreams to words four lanes at a time. V8 adds one word after another, which costs as much as ChaCha20 itself; this module of WebAssembly, put
 * together below, takes a tenth of that even with the copies in and out of its memory. It is held against plain additions before its first use.
 */
import { assert } from '../errors.ts';

/** Bytes that are added at once: the sum and four keystreams stay in the processor's cache. A multiple of 16. */
export const ADDER_BYTES = 64 * 1_024;
/** Keystreams that are added in one pass: one load and store of the sum for four loads. */
export const ADDER_STREAMS = 4;
const PAGE_BYTES = 65_536;

// The types of the runtime do not have it. All that is used of it:
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  readonly addOne: (bytes: number) => void;
  readonly takeOne: (bytes: number) => void;
  readonly addFour: (bytes: number) => void;
  readonly takeFour: (bytes: number) => void;
}

/** LEB128 without a sign. */
const leb = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
const section = (id: number, bytes: readonly number[]): number[] => [id, ...sized(bytes)];
const vector = (items: readonly (readonly number[])[]): number[] => [...leb(items.length), ...items.flat()];
const name = (text: string): number[] => sized([...Buffer.from(text)]);

const I32 = 0x7f;
const ADD = 0xae;
const TAKE = 0xb1;
/** `v128.load` at the address on the stack, `offset` bytes further on. */
const load = (offset: number): number[] => [0xfd, 0x00, 4, ...leb(offset)];
/** `local.get 1`: how many bytes are done. */
const AT = [0x20, 1];

/** (bytes) → (): for each 16 bytes, sum = sum ∘ stream 1 ∘ … ∘ stream `streams`, with `i32x4.add` or `i32x4.sub` for ∘. */
const loopOf = (streams: number, operation: number): number[] => {
  const combine = Array.from({ length: streams }, (_, at) => [
    ...AT,
    ...load((at + 1) * ADDER_BYTES),
    0xfd,
    ...leb(operation),
  ]);
  const code = [
    [1, 1, I32],
    [0x02, 0x40, 0x03, 0x40],
    // Out of the loop once `at` is `bytes` or more.
    [...AT, 0x20, 0, 0x4f, 0x0d, 1],
    [...AT, ...AT, ...load(0), ...combine.flat(), 0xfd, 0x0b, 4, 0],
    // at += 16, and again.
    [...AT, 0x41, 16, 0x6a, 0x21, 1, 0x0c, 0],
    [0x0b, 0x0b, 0x0b],
  ];
  return sized(code.flat());
};

const FUNCTIONS = [
  ['addOne', loopOf(1, ADD)],
  ['takeOne', loopOf(1, TAKE)],
  ['addFour', loopOf(ADDER_STREAMS, ADD)],
  ['takeFour', loopOf(ADDER_STREAMS, TAKE)],
] as const;

const moduleBytes = (): Uint8Array =>
  Uint8Array.from([
    ...Buffer.from('\0asm\x01\0\0\0', 'latin1'),
    ...section(1, vector([[0x60, ...vector([[I32]]), ...vector([])]])),
    ...section(3, vector(FUNCTIONS.map(() => [0]))),
    ...section(5, vector([[0, ...leb(Math.ceil(((ADDER_STREAMS + 1) * ADDER_BYTES) / PAGE_BYTES))]])),
    ...section(
      7,
      vector([[...name('memory'), 2, 0], ...FUNCTIONS.map(([text], at) => [...name(text), 0, at])]),
    ),
    ...section(10, vector(FUNCTIONS.map(([, code]) => code))),
  ]);

export interface Adder {
  /** Room for `ADDER_BYTES` of the sum. */
  readonly sum: Uint8Array<ArrayBuffer>;
  /** Room for the keystreams. */
  readonly streams: readonly Uint8Array<ArrayBuffer>[];
  /** The first `bytes` of the sum, with those of the first stream, or of all four, added or taken away. */
  readonly one: (sign: 1 | -1, bytes: number) => void;
  readonly four: (sign: 1 | -1, bytes: number) => void;
}

export const createAdder = (): Adder => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
  const { memory, addOne, takeOne, addFour, takeFour } = exports as Exports;
  const [sum, ...streams] = Array.from(
    { length: ADDER_STREAMS + 1 },
    (_, at) => new Uint8Array(memory.buffer, at * ADDER_BYTES, ADDER_BYTES),
  );
  const adder: Adder = {
    sum: sum!,
    streams,
    one: (sign, bytes) => (sign === 1 ? addOne : takeOne)(bytes),
    four: (sign, bytes) => (sign === 1 ? addFour : takeFour)(bytes),
  };
  checkAdder(adder);
  return adder;
};

const CHECK_WORDS = 16;
/** Wrong sums would be wrong for everybody and look like noise: an engine that cannot add is found here. */
const checkAdder = ({ sum, streams, one, four }: Adder): void => {
  const words = [sum, ...streams].map(({ buffer, byteOffset }) =>
    new Int32Array(buffer, byteOffset, CHECK_WORDS).map((_, at) =>
      Math.imul(byteOffset + at + 1, 0x9e3779b1),
    ),
  );
  const [before, ...added] = words as [Int32Array, ...Int32Array[]];
  for (const sign of [1, -1] as const)
    for (const [run, count] of [
      [one, 1],
      [four, ADDER_STREAMS],
    ] as const) {
      [sum, ...streams].forEach((room, at) => room.set(new Uint8Array(words[at]!.buffer)));
      run(sign, CHECK_WORDS * 4);
      const expected = before.map((word, at) =>
        added.slice(0, count).reduce((total, stream) => (total + sign * stream[at]!) | 0, word),
      );
      assert(
        Buffer.compare(sum.subarray(0, CHECK_WORDS * 4), new Uint8Array(expected.buffer)) === 0,
        'four words added at once are what each added alone is',
      );
    }
};
