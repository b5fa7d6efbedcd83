/**
 * Cutting a patient's terms to k. The order is a public function of the list, the patient and the term, so the cut looks at nobody
 * else, and no term is always the one left out.
 */
import { utf8 } from '../../shared/bytes.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { assert } from '../../shared/errors.ts';

/** @param scope names the list; the same patient is cut alike in every question over it */
export const createCut = (scope: string, k: number) => {
  assert(Number.isInteger(k) && k >= 1, 'a patient counts for at least one term');
  const scopeBytes = utf8(scope);
  const rank = (person: string, cell: number, name: string): { cell: number; key: string } => ({
    cell,
    key: Buffer.from(hashOf('qfl concept cut', scopeBytes, utf8(person), utf8(name))).toString('latin1'),
  });
  /** At most k of `cells`; `names[cell]` is the cell's public name. */
  return (person: string, cells: readonly number[], names: readonly string[]): readonly number[] => {
    if (cells.length <= k) return cells;
    return cells
      .map((cell) => rank(person, cell, names[cell] ?? ''))
      .toSorted((left, right) => (left.key < right.key ? -1 : 1))
      .slice(0, k)
      .map(({ cell }) => cell);
  };
};
export type Cut = ReturnType<typeof createCut>;
