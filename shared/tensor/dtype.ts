/** Number formats of tensors in files: little-endian, as safetensors names them. */
import { QflError } from '../errors.ts';

interface Format {
  readonly bytes: number;
  /** Number at a byte. */
  readonly read: (view: DataView, at: number) => number;
  /** None: is only read. @throws QflError `invalid_request` for a number it cannot hold */
  readonly write?: (view: DataView, at: number, value: number) => void;
}

/** IEEE 754 half precision: 1 sign, 5 exponent, 10 fraction bits. */
const halfOf = (bits: number): number => {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};

const word = new DataView(new ArrayBuffer(4));
/** bfloat16: the upper half of a float32. */
const brainOf = (bits: number): number => {
  word.setUint32(0, bits * 65_536);
  return word.getFloat32(0);
};

const isWithin = (value: number, low: number, high: number): void => {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new QflError('invalid_request', { detail: `${value} is no whole number from ${low} to ${high}` });
};

const safeInteger = (value: bigint): number => {
  const number = Number(value);
  if (!Number.isSafeInteger(number))
    throw new QflError('invalid_request', { detail: `the integer ${value} is beyond 2^53 − 1` });
  return number;
};

const FORMATS = {
  F64: {
    bytes: 8,
    read: (view, at) => view.getFloat64(at, true),
    write: (view, at, value) => view.setFloat64(at, value, true),
  },
  F32: {
    bytes: 4,
    read: (view, at) => view.getFloat32(at, true),
    write: (view, at, value) => view.setFloat32(at, value, true),
  },
  F16: { bytes: 2, read: (view, at) => halfOf(view.getUint16(at, true)) },
  BF16: { bytes: 2, read: (view, at) => brainOf(view.getUint16(at, true)) },
  I64: {
    bytes: 8,
    read: (view, at) => safeInteger(view.getBigInt64(at, true)),
    write(view, at, value) {
      isWithin(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
      view.setBigInt64(at, BigInt(value), true);
    },
  },
  I32: {
    bytes: 4,
    read: (view, at) => view.getInt32(at, true),
    write(view, at, value) {
      isWithin(value, -(2 ** 31), 2 ** 31 - 1);
      view.setInt32(at, value, true);
    },
  },
  U8: {
    bytes: 1,
    read: (view, at) => view.getUint8(at),
    write(view, at, value) {
      isWithin(value, 0, 255);
      view.setUint8(at, value);
    },
  },
} as const satisfies Record<string, Format>;

export type Dtype = keyof typeof FORMATS;
export const DTYPES = ['F64', 'F32', 'F16', 'BF16', 'I64', 'I32', 'U8'] as const satisfies readonly Dtype[];
export const bytesOf = (dtype: Dtype): number => FORMATS[dtype].bytes;

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Numbers of whole bytes of one format, as float64: exact, but for I64 beyond 2^53 − 1, which is refused.
 * @param into at least as long as there are numbers, from `offset` on
 * @throws QflError `invalid_request`
 */
export const readNumbers = (
  dtype: Dtype,
  bytes: Uint8Array,
  into: Float64Array = new Float64Array(bytes.byteLength / bytesOf(dtype)),
  offset = 0,
): Float64Array => {
  const { read, bytes: width }: Format = FORMATS[dtype];
  const view = viewOf(bytes);
  const count = bytes.byteLength / width;
  for (let at = 0; at < count; at += 1) into[offset + at] = read(view, at * width);
  return into;
};

/** Writes `values`, rounded where the format is narrower, to the beginning of `into`. @throws QflError `invalid_request` */
export const writeNumbers = (dtype: Dtype, values: Float64Array, into: Uint8Array): void => {
  const { write, bytes: width }: Format = FORMATS[dtype];
  if (write === undefined)
    throw new QflError('invalid_request', { detail: `tensors are not written as ${dtype}, only read` });
  const view = viewOf(into);
  for (let at = 0; at < values.length; at += 1) write(view, at * width, values[at]!);
};
