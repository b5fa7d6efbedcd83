/** The three heads of the closed-form cell on its backbone. They share one wiring, and so one pass over it. */
import type { Seeded } from '../../seeded.ts';
import { fillGlorot } from '../glorot.ts';
import { type Layout, viewOf } from '../layout.ts';
import type { Wiring } from './wiring.ts';

export type HeadName = 'f.weight' | 'g.weight' | 'h.weight' | 'f.bias' | 'g.bias' | 'h.bias';

/** Weights, or slopes by them: one number for each connection, then one for each unit. */
export interface Heads {
  readonly f: Float64Array;
  readonly g: Float64Array;
  readonly h: Float64Array;
  readonly fBias: Float64Array;
  readonly gBias: Float64Array;
  readonly hBias: Float64Array;
}

/** One number for each unit and head. */
export interface HeadSums {
  readonly f: Float64Array;
  readonly g: Float64Array;
  readonly h: Float64Array;
}

export const headSums = (units: number): HeadSums => ({
  f: new Float64Array(units),
  g: new Float64Array(units),
  h: new Float64Array(units),
});

export const headShapes = ({ rows, column }: Wiring): (readonly [HeadName, readonly number[]])[] => [
  ['f.weight', [column.length]],
  ['g.weight', [column.length]],
  ['h.weight', [column.length]],
  ['f.bias', [rows]],
  ['g.bias', [rows]],
  ['h.bias', [rows]],
];

export const headsOf = (layout: Layout<HeadName>, vector: Float64Array): Heads => ({
  f: viewOf(layout, 'f.weight', vector),
  g: viewOf(layout, 'g.weight', vector),
  h: viewOf(layout, 'h.weight', vector),
  fBias: viewOf(layout, 'f.bias', vector),
  gBias: viewOf(layout, 'g.bias', vector),
  hBias: viewOf(layout, 'h.bias', vector),
});

export const beginHeads = ({ f, g, h }: Heads, { rows, columns, density }: Wiring, random: Seeded): void => {
  for (const head of [f, g, h]) fillGlorot(head, columns * density, rows * density, random);
};

/** Writes each head's bias and sum over the backbone. */
export const sumHeads = (
  { rows, start, column }: Wiring,
  { f: fWeight, g: gWeight, h: hWeight, fBias, gBias, hBias }: Heads,
  backbone: Float64Array,
  backboneAt: number,
  sums: HeadSums,
): void => {
  for (let row = 0; row < rows; row += 1) {
    let f = fBias[row]!;
    let g = gBias[row]!;
    let h = hBias[row]!;
    const end = start[row + 1]!;
    for (let k = start[row]!; k < end; k += 1) {
      const z = backbone[backboneAt + column[k]!]!;
      f += fWeight[k]! * z;
      g += gWeight[k]! * z;
      h += hWeight[k]! * z;
    }
    sums.f[row] = f;
    sums.g[row] = g;
    sums.h[row] = h;
  }
};

/** The other way: from slopes by the sums to slopes by the weights and by the backbone, added to both. */
export const sumHeadsSlopes = (
  { rows, start, column }: Wiring,
  { f: fWeight, g: gWeight, h: hWeight }: Heads,
  backbone: Float64Array,
  backboneAt: number,
  slopes: HeadSums,
  { f: fInto, g: gInto, h: hInto, fBias, gBias, hBias }: Heads,
  backboneSlopes: Float64Array,
): void => {
  for (let row = 0; row < rows; row += 1) {
    const f = slopes.f[row]!;
    const g = slopes.g[row]!;
    const h = slopes.h[row]!;
    fBias[row]! += f;
    gBias[row]! += g;
    hBias[row]! += h;
    const end = start[row + 1]!;
    for (let k = start[row]!; k < end; k += 1) {
      const at = column[k]!;
      const z = backbone[backboneAt + at]!;
      fInto[k]! += f * z;
      gInto[k]! += g * z;
      hInto[k]! += h * z;
      backboneSlopes[at]! += f * fWeight[k]! + g * gWeight[k]! + h * hWeight[k]!;
    }
  }
};
