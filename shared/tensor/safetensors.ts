/**
 * Named tensors as bytes, in the safetensors format: the same bytes for the same tensors, so that a digest names a model.
 * Nothing in such a file can run, and every byte of it belongs to a tensor.
 */
import { concat } from '../bytes.ts';
import type { TensorPart } from '../learning/model.ts';
import { bytesOf, type Dtype, readNumbers, writeNumbers } from './dtype.ts';
import { elementsOf, LENGTH_BYTES, METADATA, parseHeader, refuse } from './header.ts';

export { elementsOf } from './header.ts';

export interface Tensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Row by row. */
  readonly values: Float64Array;
}

/** A tensor whose numbers are not read yet. */
export interface RawTensor extends Omit<Tensor, 'values'> {
  /** A view of the file's bytes. */
  readonly bytes: Uint8Array;
}

export interface TensorFile {
  readonly tensors: readonly RawTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * @param file whole
 * @throws QflError `invalid_request` for a file that is not in order: wrong lengths, gaps, overlaps, doubled names, unknown formats
 */
export const readSafetensors = (file: Uint8Array, headerBytesMax?: number): TensorFile => {
  const { places, metadata, dataAt } = parseHeader(file, headerBytesMax);
  return {
    metadata,
    tensors: places.map(({ begin, end, ...place }) => ({
      ...place,
      bytes: file.subarray(dataAt + begin, dataAt + end),
    })),
  };
};

/** @throws QflError `invalid_request` for an I64 beyond 2^53 − 1 */
export const tensorOf = ({ bytes, ...tensor }: RawTensor): Tensor => ({
  ...tensor,
  values: readNumbers(tensor.dtype, bytes),
});

/** JSON, filled up with spaces so that the first tensor begins at a multiple of 8. */
const headerBytes = (entries: readonly (readonly [string, unknown])[]): Uint8Array => {
  const text = Buffer.from(
    `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`,
  );
  const length = Math.ceil(text.byteLength / 8) * 8;
  const bytes = Buffer.alloc(LENGTH_BYTES + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  text.copy(bytes, LENGTH_BYTES);
  return bytes;
};

const checkTensors = (tensors: readonly Tensor[]): void => {
  const names = new Set<string>();
  for (const { name, shape, values } of tensors) {
    if (name === METADATA || names.has(name)) refuse(`"${name}" is a name that is taken already`);
    names.add(name);
    if (elementsOf(shape) !== values.length)
      refuse(`"${name}" has ${values.length} numbers for the shape [${shape.join(', ')}]`);
  }
};

/**
 * In the order given; metadata in the order of its names.
 * @throws QflError `invalid_request` for doubled names, shapes that do not fit, numbers that the format cannot hold
 */
export const writeSafetensors = (
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array => {
  checkTensors(tensors);
  const sizes = tensors.map(({ dtype, values }) => values.length * bytesOf(dtype));
  const data = new Uint8Array(sizes.reduce((sum, bytes) => sum + bytes, 0));
  const said = Object.entries(metadata).toSorted(([left], [right]) => (left < right ? -1 : 1));
  const entries: [string, unknown][] = said.length === 0 ? [] : [[METADATA, Object.fromEntries(said)]];
  let begin = 0;
  for (const [at, { name, dtype, shape, values }] of tensors.entries()) {
    const end = begin + sizes[at]!;
    writeNumbers(dtype, values, data.subarray(begin, end));
    entries.push([name, { dtype, shape, data_offsets: [begin, end] }]);
    begin = end;
  }
  return concat(headerBytes(entries), data);
};

/** A model's flat vector as a file: its parts under their names. */
export const writeFlat = (
  parts: readonly TensorPart[],
  weights: Float64Array,
  dtype: Dtype = 'F64',
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array =>
  writeSafetensors(
    parts.map(({ name, shape, offset }) => ({
      name,
      dtype,
      shape,
      values: weights.subarray(offset, offset + elementsOf(shape)),
    })),
    metadata,
  );

const FLOATS: ReadonlySet<Dtype> = new Set(['F64', 'F32', 'F16', 'BF16']);

const isSameShape = (left: readonly number[], right: readonly number[]): boolean =>
  left.length === right.length && left.every((length, at) => length === right[at]);

/** Numbers in the flat vector of these parts. */
export const sizeOf = (parts: readonly TensorPart[]): number =>
  parts.reduce((end, { offset, shape }) => Math.max(end, offset + elementsOf(shape)), 0);

/**
 * The flat vector of a file that has exactly these parts, each of its shape and in a floating-point format.
 * @throws QflError `invalid_request` for a missing, another or a misshapen tensor, and for numbers that are not finite
 */
export const readFlat = (parts: readonly TensorPart[], file: Uint8Array): Float64Array<ArrayBuffer> => {
  const found = new Map(readSafetensors(file).tensors.map((tensor) => [tensor.name, tensor]));
  const into = new Float64Array(sizeOf(parts));
  for (const { name, shape, offset } of parts) {
    const tensor = found.get(name);
    if (tensor === undefined) return refuse(`the tensor "${name}" is missing`);
    if (!isSameShape(shape, tensor.shape))
      return refuse(`"${name}" has the shape [${tensor.shape.join(', ')}], not [${shape.join(', ')}]`);
    if (!FLOATS.has(tensor.dtype)) return refuse(`"${name}" holds ${tensor.dtype}, no weights`);
    readNumbers(tensor.dtype, tensor.bytes, into, offset);
    found.delete(name);
  }
  const [other] = found.keys();
  if (other !== undefined) return refuse(`the tensor "${other.slice(0, 80)}" is none of the model`);
  if (!into.every(Number.isFinite)) return refuse('a number in it is not finite');
  return into;
};
