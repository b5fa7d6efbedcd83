/**
 * Fast Fourier transform of real vectors on typed arrays: two real values ride in one complex one, then radix 2, decimation in
 * time, with twiddle factors from a table (Cooley, Tukey 1965). Error grows like 1e-16·log2(size) of the vector's Euclidean length.
 */
import { assert } from '../../errors.ts';

/** The lower half of the spectrum, entries 0 … size/2; the upper half is its mirror image. */
export interface Spectrum {
  readonly re: Float64Array;
  readonly im: Float64Array;
}

export interface RealTransform {
  readonly size: number;
  /** Σ x_j e^(−2πi·jk/size). */
  forward(values: Float64Array): Spectrum;
  /** The real vector of this spectrum: inverse of `forward`. */
  inverse(spectrum: Spectrum): Float64Array;
}

/** e^(−2πi·k/size), k under size/2. */
const twiddles = (size: number): Spectrum => {
  const re = new Float64Array(size / 2);
  const im = new Float64Array(size / 2);
  for (let at = 0; at < size / 2; at += 1) {
    re[at] = Math.cos((2 * Math.PI * at) / size);
    im[at] = -Math.sin((2 * Math.PI * at) / size);
  }
  return { re, im };
};

const reorder = ({ re, im }: Spectrum): void => {
  const size = re.length;
  for (let at = 1, mirrored = 0; at < size; at += 1) {
    let bit = size >> 1;
    for (; (mirrored & bit) !== 0; bit >>= 1) mirrored ^= bit;
    mirrored ^= bit;
    if (at >= mirrored) continue;
    const real = re[at]!;
    const imaginary = im[at]!;
    re[at] = re[mirrored]!;
    im[at] = im[mirrored]!;
    re[mirrored] = real;
    im[mirrored] = imaginary;
  }
};

/** Complex transform in place; `table` is for twice the size, so that only every second factor is used at the last level. */
const complexForward = (values: Spectrum, table: Spectrum): void => {
  const { re, im } = values;
  const size = re.length;
  reorder(values);
  for (let half = 1; half < size; half *= 2) {
    const stride = table.re.length / half;
    for (let start = 0; start < size; start += 2 * half) {
      for (let at = 0, turn = 0; at < half; at += 1, turn += stride) {
        const low = start + at;
        const high = low + half;
        const c = table.re[turn]!;
        const s = table.im[turn]!;
        const real = re[high]! * c - im[high]! * s;
        const imaginary = re[high]! * s + im[high]! * c;
        re[high] = re[low]! - real;
        im[high] = im[low]! - imaginary;
        re[low] = re[low]! + real;
        im[low] = im[low]! + imaginary;
      }
    }
  }
};

/** Spectrum of the real vector whose even and odd values were the parts of the complex one. */
const unpack = ({ re, im }: Spectrum, table: Spectrum): Spectrum => {
  const half = re.length;
  const out = { re: new Float64Array(half + 1), im: new Float64Array(half + 1) };
  for (let k = 0; k <= half; k += 1) {
    const at = k % half;
    const mirror = (half - k) % half;
    const evenRe = (re[at]! + re[mirror]!) / 2;
    const evenIm = (im[at]! - im[mirror]!) / 2;
    const oddRe = (im[at]! + im[mirror]!) / 2;
    const oddIm = (re[mirror]! - re[at]!) / 2;
    const c = k === half ? -1 : table.re[k]!;
    const s = k === half ? 0 : table.im[k]!;
    out.re[k] = evenRe + c * oddRe - s * oddIm;
    out.im[k] = evenIm + c * oddIm + s * oddRe;
  }
  return out;
};

/** The other way; the result is conjugated, so that a forward transform inverts it. */
const pack = ({ re, im }: Spectrum, table: Spectrum): Spectrum => {
  const half = re.length - 1;
  const out = { re: new Float64Array(half), im: new Float64Array(half) };
  for (let k = 0; k < half; k += 1) {
    const mirror = half - k;
    const evenRe = (re[k]! + re[mirror]!) / 2;
    const evenIm = (im[k]! - im[mirror]!) / 2;
    const turnedRe = (re[k]! - re[mirror]!) / 2;
    const turnedIm = (im[k]! + im[mirror]!) / 2;
    const c = table.re[k]!;
    const s = table.im[k]!;
    out.re[k] = evenRe - (turnedIm * c - turnedRe * s);
    out.im[k] = -(evenIm + (turnedRe * c + turnedIm * s));
  }
  return out;
};

/** @param size a power of two, at least 4. */
export const realTransform = (size: number): RealTransform => {
  assert(size >= 4 && (size & (size - 1)) === 0, 'the size of a transform is a power of two');
  const table = twiddles(size);
  return {
    size,
    forward(values) {
      assert(values.length === size, 'a transform is applied to vectors of its size');
      const packed = { re: new Float64Array(size / 2), im: new Float64Array(size / 2) };
      for (let at = 0; at < size / 2; at += 1) {
        packed.re[at] = values[2 * at]!;
        packed.im[at] = values[2 * at + 1]!;
      }
      complexForward(packed, table);
      return unpack(packed, table);
    },
    inverse(spectrum) {
      assert(spectrum.re.length === size / 2 + 1, 'a transform is applied to spectra of its size');
      const packed = pack(spectrum, table);
      complexForward(packed, table);
      const values = new Float64Array(size);
      for (let at = 0; at < size / 2; at += 1) {
        values[2 * at] = packed.re[at]! / (size / 2);
        values[2 * at + 1] = -packed.im[at]! / (size / 2);
      }
      return values;
    },
  };
};
