/** The header of a safetensors file: which tensor lies where, and whether that can be. */
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { bytesOf, type Dtype, DTYPES } from './dtype.ts';
import { doubledName } from './names.ts';

/** Of the length of the header, before it. */
export const LENGTH_BYTES = 8;
/** Ten thousand tensors with long names: more than any model here has. */
export const HEADER_BYTES_MAX = 2 * 1024 * 1024;
export const METADATA = '__metadata__';
const DIMENSIONS_MAX = 16;

export interface TensorPlace {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte and the one after the last, from the end of the header on. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of their bytes. */
  readonly places: readonly TensorPlace[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Where the tensors' bytes begin in the file. */
  readonly dataAt: number;
}

const Count = z.int().nonnegative();
const Entry = z.strictObject({
  dtype: z.enum(DTYPES),
  shape: z.array(Count).max(DIMENSIONS_MAX),
  data_offsets: z.tuple([Count, Count]),
});
const Metadata = z.record(z.string(), z.string());

export const refuse = (detail: string): never => {
  throw new QflError('invalid_request', {
    detail: `not a safetensors file: ${detail}`,
    next: 'Write it again with a library for safetensors, or as deploy/training.md shows.',
  });
};

/** Numbers in a tensor; 1 in one without dimensions. @throws QflError `invalid_request` when there are more than a number can count */
export const elementsOf = (shape: readonly number[]): number => {
  const elements = shape.reduce((product, length) => product * length, 1);
  // A product that left the safe integers may have lost its last digits before it was multiplied by 0.
  const largest = shape.reduce((product, length) => product * Math.max(1, length), 1);
  return Number.isSafeInteger(largest * 8)
    ? elements
    : refuse('a shape has more numbers than can be counted');
};

const headerLength = (file: Uint8Array, bytesMax: number): number => {
  if (file.byteLength < LENGTH_BYTES) return refuse(`${file.byteLength} bytes are too few`);
  const length = new DataView(file.buffer, file.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(bytesMax))
    return refuse(`its header says it has ${length} bytes, and ${bytesMax} are allowed`);
  if (length > BigInt(file.byteLength - LENGTH_BYTES)) return refuse('its header is cut short');
  return Number(length);
};

const parseObject = (bytes: Uint8Array): Map<string, unknown> => {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: 'not a safetensors file: its header is not JSON in UTF-8',
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || !text.startsWith('{'))
    return refuse('its header does not begin with "{"');
  const doubled = doubledName(text);
  if (doubled !== undefined) return refuse(`its header has "${doubled.slice(0, 80)}" twice`);
  return new Map<string, unknown>(Object.entries(value));
};

const placeOf = (name: string, value: unknown): TensorPlace => {
  const shown = name.slice(0, 80);
  const parsed = Entry.safeParse(value);
  if (!parsed.success)
    return refuse(`the entry of "${shown}" is not valid: ${z.prettifyError(parsed.error)}`);
  const { dtype, shape, data_offsets } = parsed.data;
  const [begin, end] = data_offsets;
  const wanted = elementsOf(shape) * bytesOf(dtype);
  if (end - begin !== wanted)
    return refuse(`"${shown}" needs ${wanted} bytes as ${dtype} [${shape.join(', ')}], not ${end - begin}`);
  return { name, dtype, shape, begin, end };
};

/** By place; an empty tensor goes before the one that begins at the same byte. */
const byPlace = (left: TensorPlace, right: TensorPlace): number =>
  left.begin - right.begin || left.end - right.end;

/** Every byte belongs to one tensor: no file hides anything, and none reads as two different things. */
const checkCover = (places: readonly TensorPlace[], bytes: number): void => {
  let at = 0;
  for (const { name, begin, end } of places) {
    const shown = name.slice(0, 80);
    if (begin < at) refuse(`"${shown}" overlaps the tensor before it`);
    if (begin > at) refuse(`there is a gap of ${begin - at} bytes before "${shown}"`);
    at = end;
  }
  if (at !== bytes) refuse(`its tensors have ${at} bytes together, and ${bytes} are there`);
};

/**
 * Reads and checks the header. The format: u64 little-endian length, that many bytes of JSON, then the tensors' bytes
 * (https://github.com/huggingface/safetensors, "Format").
 * @throws QflError `invalid_request` for whatever is not in order
 */
export const parseHeader = (file: Uint8Array, headerBytesMax = HEADER_BYTES_MAX): Header => {
  const length = headerLength(file, headerBytesMax);
  const dataAt = LENGTH_BYTES + length;
  const entries = parseObject(file.subarray(LENGTH_BYTES, dataAt));
  const said = Metadata.safeParse(entries.get(METADATA) ?? {});
  entries.delete(METADATA);
  if (!said.success) return refuse('its __metadata__ holds something that is no text');
  const places = [...entries].map(([name, value]) => placeOf(name, value)).toSorted(byPlace);
  checkCover(places, file.byteLength - dataAt);
  return { places, metadata: said.data, dataAt };
};
