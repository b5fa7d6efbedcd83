/** Where named tensors lie in one flat vector. */
import type { TensorPart } from './model.ts';

export interface Layout<Name extends string> {
  /** Numbers in the vector. */
  readonly size: number;
  readonly tensors: readonly TensorPart[];
  /** Where each tensor begins and ends. */
  readonly spans: Readonly<Record<Name, readonly [from: number, to: number]>>;
}

const lengthOf = (shape: readonly number[]): number => shape.reduce((product, length) => product * length, 1);

/** One tensor behind the other, in the order given. Tensors without any number are left out of `tensors`. */
export const layoutOf = <Name extends string>(
  shapes: readonly (readonly [name: Name, shape: readonly number[]])[],
): Layout<Name> => {
  const tensors: TensorPart[] = [];
  const spans: Partial<Record<Name, readonly [number, number]>> = {};
  let offset = 0;
  for (const [name, shape] of shapes) {
    const length = lengthOf(shape);
    if (length > 0) tensors.push({ name, shape, offset });
    spans[name] = [offset, offset + length];
    offset += length;
  }
  // Each name of the list has its span now.
  return { size: offset, tensors, spans: spans as Record<Name, readonly [number, number]> };
};

/** The numbers of one tensor, in place. */
export const viewOf = <Name extends string>(
  { spans }: Layout<Name>,
  name: Name,
  vector: Float64Array,
): Float64Array => {
  const [from, to] = spans[name];
  return vector.subarray(from, to);
};

/** The tensors of a part of a longer vector that begins at `offset`. */
const shifted = (tensors: readonly TensorPart[], offset: number): TensorPart[] =>
  tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + offset }));

/** The tensors of a layout in which the part called `name` has tensors of its own. */
export const nested = <Name extends string>(
  { tensors, spans }: Layout<Name>,
  name: Name,
  inner: readonly TensorPart[],
): TensorPart[] =>
  tensors.flatMap((tensor) => (tensor.name === name ? shifted(inner, spans[name][0]) : [tensor]));
