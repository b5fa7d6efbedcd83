/** The format byte by byte, and everything that must not be taken for it. */
import { describe, expect, test } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import {
  readFlat,
  readSafetensors,
  tensorOf,
  type Tensor,
  writeFlat,
  writeSafetensors,
} from '../../../shared/tensor/safetensors.ts';

/** A file of a header as text and bytes in hex. */
const fileOf = (header: string, hex: string): Uint8Array => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([length, Buffer.from(header), Buffer.from(hex, 'hex')]);
};
const one = (dtype: string, shape: string, hex: string): Tensor[] =>
  readSafetensors(
    fileOf(`{"t":{"dtype":"${dtype}","shape":${shape},"data_offsets":[0,${hex.length / 2}]}}`, hex),
  ).tensors.map(tensorOf);
const refusal = (file: Uint8Array, headerBytesMax?: number): string => {
  try {
    readSafetensors(file, headerBytesMax);
  } catch (error) {
    expect(error).toBeInstanceOf(QflError);
    return error instanceof QflError ? `${error.code}: ${error.detail}` : '';
  }
  return 'taken';
};
const entry = (begin: number, end: number, shape = `[${end - begin}]`): string =>
  `{"dtype":"U8","shape":${shape},"data_offsets":[${begin},${end}]}`;

describe('written', () => {
  test('byte for byte as worked out by hand', () => {
    const bytes = writeSafetensors([
      { name: 'a', dtype: 'F32', shape: [2], values: Float64Array.of(1, -2) },
      { name: 'b', dtype: 'I32', shape: [], values: Float64Array.of(7) },
    ]);
    const header =
      '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I32","shape":[],"data_offsets":[8,12]}}';
    // 107 characters, filled up to 112 = 0x70; 1.0 = 3f800000, -2.0 = c0000000, each with its last byte first.
    expect(header.length).toBe(107);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      `7000000000000000${Buffer.from(`${header}     `).toString('hex')}0000803f000000c007000000`,
    );
  });

  test('the same for metadata in any order, and unlike for other metadata', () => {
    const tensors: Tensor[] = [{ name: 'a', dtype: 'U8', shape: [1], values: Float64Array.of(255) }];
    const bytes = writeSafetensors(tensors, { x: '1', y: '2' });
    expect(writeSafetensors(tensors, { y: '2', x: '1' })).toEqual(bytes);
    expect(readSafetensors(bytes).metadata).toEqual({ x: '1', y: '2' });
  });

  test.each([
    ['a shape that does not fit', { shape: [3] }],
    ['a whole number that the format cannot hold', { dtype: 'U8' as const, values: Float64Array.of(256, 0) }],
    ['a fraction as a whole number', { dtype: 'I64' as const, values: Float64Array.of(0.5, 0) }],
    ['a format that is only read', { dtype: 'BF16' as const }],
    ['the name of the metadata', { name: '__metadata__' }],
  ])('never with %s', (_name, change) => {
    const tensor: Tensor = { name: 'a', dtype: 'F64', shape: [2], values: Float64Array.of(1, 2), ...change };
    expect(() => writeSafetensors([tensor])).toThrow(QflError);
  });

  test('never with a doubled name', () => {
    const tensor: Tensor = { name: 'a', dtype: 'F64', shape: [], values: Float64Array.of(1) };
    expect(() => writeSafetensors([tensor, tensor])).toThrow(/taken/);
  });
});

describe('read', () => {
  // IEEE 754 and bfloat16 by hand: 0x3c00 is 1, 0xc000 is -2, 0x0001 is 2^-24, 0x7bff is 65504; 0x3f80 is 1, 0x4049 is 3.140625.
  test.each([
    ['F64', '[1]', '000000000000f03f', [1]],
    ['F32', '[1]', '0000003f', [0.5]],
    ['F16', '[4]', '003c00c00100ff7b', [1, -2, 2 ** -24, 65_504]],
    ['F16', '[3]', '007c00fc0080', [Infinity, -Infinity, -0]],
    ['F16', '[1]', '007e', [NaN]],
    ['BF16', '[3]', '803f4940807f', [1, 3.140625, Infinity]],
    ['I64', '[2]', 'ffffffffffffffffffffffffffff1f00', [-1, Number.MAX_SAFE_INTEGER]],
    ['I32', '[1]', '00000080', [-(2 ** 31)]],
    ['U8', '[3]', '00ff07', [0, 255, 7]],
    ['U8', '[]', '09', [9]],
    ['U8', '[0,5]', '', []],
  ])('%s %s of %s', (dtype, shape, hex, values) => {
    expect([...(one(dtype, shape, hex)[0]?.values ?? [])]).toEqual(values);
  });

  test('from a view that does not begin at a multiple of 8', () => {
    const file = fileOf('{"t":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', '000000000000f03f');
    const shifted = Buffer.concat([Buffer.from([1, 2, 3]), file]).subarray(3);
    expect(readSafetensors(shifted).tensors.map(tensorOf)[0]?.values).toEqual(Float64Array.of(1));
  });

  test('tensors in the order of their bytes, whatever the header’s', () => {
    const file = fileOf(`{"b":${entry(1, 3)},"a":${entry(0, 1)},"__proto__":${entry(3, 4)}}`, '01020304');
    expect(readSafetensors(file).tensors.map(({ name }) => name)).toEqual(['a', 'b', '__proto__']);
  });

  test('never an integer that a number cannot hold', () => {
    expect(() => one('I64', '[1]', '0000000000002000')).toThrow(/beyond/);
  });
});

describe('refused', () => {
  const good = fileOf(`{"a":${entry(0, 1)},"b":${entry(1, 3)}}`, '010203');

  test('nothing that is in order', () => expect(refusal(good)).toBe('taken'));

  test.each([
    ['no bytes at all', new Uint8Array(0), /too few/],
    ['a length beyond what is allowed', Buffer.from('ffffffffffffffff7b7d', 'hex'), /are allowed/],
    ['a length beyond the file', Buffer.from('0a000000000000007b7d', 'hex'), /cut short/],
    ['no JSON', fileOf('{"a":', ''), /not JSON/],
    ['no UTF-8', Buffer.from('03000000000000007bff7d', 'hex'), /not JSON/],
    ['a byte order mark', fileOf('\uFEFF{}', ''), /JSON/],
    ['a list', fileOf('[]', ''), /begin/],
    ['a space before it', fileOf(' {}', ''), /begin/],
    ['null', fileOf('null', ''), /begin/],
    ['a doubled name', fileOf(`{"a":${entry(0, 1)},"a":${entry(1, 3)}}`, '010203'), /"a" twice/],
    [
      'a name doubled by an escape',
      fileOf(`{"a":${entry(0, 1)},"\\u0061":${entry(1, 3)}}`, '010203'),
      /twice/,
    ],
    [
      'a doubled member',
      fileOf('{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}', '01'),
      /"dtype" twice/,
    ],
    ['a gap', fileOf(`{"a":${entry(0, 1)},"b":${entry(2, 3)}}`, '010203'), /gap of 1 bytes/],
    ['a gap at the start', fileOf(`{"b":${entry(1, 3)}}`, '010203'), /gap/],
    ['an overlap', fileOf(`{"a":${entry(0, 2)},"b":${entry(1, 3)}}`, '010203'), /overlaps/],
    ['bytes of nobody', fileOf(`{"a":${entry(0, 1)}}`, '0102'), /and 2 are there/],
    ['too few bytes', fileOf(`{"a":${entry(0, 3)}}`, '0102'), /and 2 are there/],
    [
      'an end before its begin',
      fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,1]}}', '0102'),
      /needs 1 bytes/,
    ],
    ['a size that is not the shape’s', fileOf(`{"a":${entry(0, 2, '[3]')}}`, '0102'), /needs 3 bytes/],
    ['a shape that overflows', fileOf(`{"a":${entry(0, 0, '[4294967296,4294967296]')}}`, ''), /counted/],
    [
      'one that overflows before a 0',
      fileOf(`{"a":${entry(0, 0, '[4294967296,4294967296,0]')}}`, ''),
      /counted/,
    ],
    ['a shape beyond 2^53', fileOf(`{"a":${entry(0, 0, '[1e300]')}}`, ''), /not valid/],
    ['a negative length', fileOf(`{"a":${entry(0, 0, '[-1]')}}`, ''), /not valid/],
    ['a fraction', fileOf(`{"a":${entry(0, 1, '[0.5]')}}`, '01'), /not valid/],
    [
      'an unknown format',
      fileOf('{"a":{"dtype":"C64","shape":[],"data_offsets":[0,8]}}', '00'.repeat(8)),
      /not valid/,
    ],
    [
      'an unknown member',
      fileOf('{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":1}}', '01'),
      /not valid/,
    ],
    ['metadata that are no texts', fileOf('{"__metadata__":{"a":1}}', ''), /no text/],
    ['metadata that are a list', fileOf('{"__metadata__":[]}', ''), /no text/],
  ])('%s', (_name, file, why) => {
    expect(refusal(file)).toMatch(why);
    expect(refusal(file)).toMatch(/^invalid_request: /);
  });

  test('a header larger than the caller wants', () => {
    expect(refusal(good, 10)).toMatch(/10 are allowed/);
  });
});

describe('a flat vector', () => {
  const parts = [
    { name: 'w', shape: [2, 2], offset: 0 },
    { name: 'b', shape: [2], offset: 4 },
  ];
  const weights = Float64Array.of(0.1, 0.2, 0.3, 0.4, Math.PI, -1e-300);

  test('comes back bit for bit', () => expect(readFlat(parts, writeFlat(parts, weights))).toEqual(weights));

  test.each([
    ['a missing tensor', writeFlat(parts.slice(0, 1), weights), /"b" is missing/],
    ['another tensor', writeFlat([...parts, { name: 'x', shape: [], offset: 0 }], weights), /"x" is none/],
    [
      'another shape',
      writeFlat([{ name: 'w', shape: [4], offset: 0 }, parts[1]!], weights),
      /\[4\], not \[2, 2\]/,
    ],
    [
      'a number that is not finite',
      writeFlat(
        parts,
        weights.map((value, at) => (at === 1 ? NaN : value)),
      ),
      /finite/,
    ],
    [
      'whole numbers',
      writeFlat(
        parts,
        weights.map(() => 1),
        'I32',
      ),
      /I32/,
    ],
  ])('is not read from a file with %s', (_name, file, why) => {
    expect(() => readFlat(parts, file)).toThrow(why);
  });
});
