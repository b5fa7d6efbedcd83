/** Which key was probably meant. */
import { z } from 'zod';

/** Edits (insert, delete, replace) between two words. */
const distance = (left: string, right: string): number => {
  let row = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const replace = row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[right.length]!;
};

/** The nearest of `names` when it is near enough to be a slip: a third of its letters. */
export const nearest = (name: string, names: readonly string[]): string | undefined => {
  const ranked = names
    .map((candidate) => ({ candidate, edits: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .toSorted((left, right) => left.edits - right.edits);
  const best = ranked[0];
  return best !== undefined && best.edits <= Math.max(1, Math.floor(best.candidate.length / 3))
    ? best.candidate
    : undefined;
};

const unwrap = (schema: unknown): unknown => {
  const isWrapper =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional;
  return isWrapper ? unwrap(schema.unwrap()) : schema;
};

/** The keys that a schema has at `path`; empty where any name goes. */
export const keysAt = (schema: unknown, path: readonly PropertyKey[]): readonly string[] => {
  const inner = unwrap(schema);
  const [head, ...rest] = path;
  if (inner instanceof z.ZodArray) return head === undefined ? [] : keysAt(inner.element, rest);
  if (!(inner instanceof z.ZodObject)) return [];
  if (head === undefined) return Object.keys(inner.shape);
  return keysAt(inner.shape[String(head)], rest);
};
