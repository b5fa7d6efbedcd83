/** Whatever is written comes back, and no change of a byte goes through as another set of tensors with the same places. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QflError } from '../../../shared/errors.ts';
import {
  elementsOf,
  readSafetensors,
  type Tensor,
  tensorOf,
  writeSafetensors,
} from '../../../shared/tensor/safetensors.ts';
import { doubledName } from '../../../shared/tensor/names.ts';

const numbers = {
  F64: fc.double(),
  F32: fc.float(),
  I64: fc.maxSafeInteger(),
  I32: fc.integer(),
  U8: fc.nat(255),
} as const;
const dtype = fc.constantFrom('F64', 'F32', 'I64', 'I32', 'U8');
const shape = fc.array(fc.nat(4), { maxLength: 3 });
const tensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.string({ unit: 'grapheme' }), dtype, shape)
  .filter(([name]) => name !== '__metadata__')
  .chain(([name, kind, lengths]) => {
    const count = elementsOf(lengths);
    return fc
      .array<number>(numbers[kind], { minLength: count, maxLength: count })
      .map((values) => ({ name, dtype: kind, shape: lengths, values: Float64Array.from(values) }));
  });
const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 6 });
const metadata = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 });

describe('safetensors', () => {
  test('come back as they were written, and are written alike again', () => {
    fc.assert(
      fc.property(tensors, metadata, (written, said) => {
        const file = writeSafetensors(written, said);
        const read = readSafetensors(file);
        const found = new Map(read.tensors.map((raw) => [raw.name, tensorOf(raw)]));
        expect(found.size).toBe(written.length);
        // -0 is 0 where the format is a whole number.
        for (const one of written)
          expect(found.get(one.name)).toEqual({
            ...one,
            values: one.dtype.startsWith('F') ? one.values : one.values.map((value) => value + 0),
          });
        expect({ ...read.metadata }).toEqual({ ...said });
        expect(writeSafetensors(written, said)).toEqual(file);
      }),
    );
  });

  test('with a byte changed, cut off or added are refused in words, or hold other numbers or names', () => {
    fc.assert(
      fc.property(
        tensors,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.nat(2),
        (written, at, flip, kind) => {
          const file = Buffer.from(writeSafetensors(written));
          const changed =
            kind === 0
              ? file.subarray(0, at % file.length)
              : kind === 1
                ? Buffer.concat([file, Buffer.from([flip])])
                : Buffer.from(file);
          if (kind === 2) changed[at % file.length]! ^= flip;
          try {
            const read = readSafetensors(changed);
            // Bytes that are cut off or added belong to no tensor, and never pass.
            expect(kind).toBe(2);
            const covered = read.tensors.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
            const header = 8 + Number(changed.readBigUInt64LE());
            expect(header + covered).toBe(changed.byteLength);
          } catch (error) {
            expect(error).toBeInstanceOf(QflError);
          }
        },
      ),
    );
  });

  test('names: the one that is doubled is found in any JSON, and none in what has none', () => {
    fc.assert(
      fc.property(fc.json(), fc.string(), (text, name) => {
        expect(doubledName(text)).toBeUndefined();
        const member = `${JSON.stringify(name)}:${text}`;
        expect(doubledName(`[{${member},${member}}]`)).toBe(name);
        expect(doubledName(`[{${member}},{${member}}]`)).toBeUndefined();
      }),
    );
  });
});
