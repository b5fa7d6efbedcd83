/**
 * Canonical JSON (RFC 8785) over the subset the log uses: strings, safe integers, booleans, null, arrays, objects.
 * Floats are refused, because two programs may print them differently and a leaf must have one spelling.
 */
import { fromUtf8, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';

export type CanonicalValue =
  string | number | boolean | null | readonly CanonicalValue[] | { readonly [name: string]: CanonicalValue };

/** Deeper than any leaf of ours; keeps hostile input from exhausting the stack. */
const DEPTH_MAX = 32;

const refuse = (detail: string): never => {
  throw new QflError('invalid_request', { detail });
};

const writeNumber = (value: number): string =>
  Number.isSafeInteger(value)
    ? String(value)
    : refuse('canonical JSON here holds integers within ±(2^53 − 1) only');

/** Every surrogate stands in its pair. */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text);

/** Needs no escape: most strings of a leaf, written without the cost of the general case. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** Lone surrogates have no UTF-8 spelling (RFC 8785 §3.2.2.2). */
const writeString = (value: string): string =>
  PLAIN.test(value)
    ? `"${value}"`
    : isWellFormed(value)
      ? JSON.stringify(value)
      : refuse('a string holds a lone surrogate');

const byCodeUnits = ([left]: readonly [string, unknown], [right]: readonly [string, unknown]): number =>
  left < right ? -1 : 1;

/** Code-unit order (RFC 8785 §3.2.3) is what `<` on strings compares. What was read from a log is in order already. */
const inOrder = (members: readonly (readonly [string, unknown])[]): boolean =>
  members.every(([name], at) => at === 0 || members[at - 1]![0] < name);

const writeObject = (value: object, depth: number): string => {
  const members: [string, unknown][] = Object.entries(value);
  if (!inOrder(members)) members.sort(byCodeUnits);
  let text = '{';
  for (const [name, member] of members) {
    text += `${text.length > 1 ? ',' : ''}${writeString(name)}:${write(member, depth + 1)}`;
  }
  return `${text}}`;
};

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

const write = (value: unknown, depth: number): string => {
  if (depth > DEPTH_MAX) return refuse(`canonical JSON is nested deeper than ${DEPTH_MAX}`);
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return writeString(value);
  if (typeof value === 'number') return writeNumber(value);
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`;
  if (isPlainObject(value)) return writeObject(value, depth);
  return refuse(`canonical JSON cannot hold a value of type ${typeof value}`);
};

/**
 * The one spelling of `value`, as text.
 * @throws QflError `invalid_request` for floats, `undefined`, class instances, lone surrogates, too deep nesting.
 */
export const canonicalJson = (value: CanonicalValue): string => write(value, 0);

/** `canonicalJson` as UTF-8 bytes. */
export const canonicalBytes = (value: CanonicalValue): Uint8Array => utf8(canonicalJson(value));

/**
 * Reads canonical JSON and accepts only its one spelling: reordered or doubled members, spaces, other escapes and
 * bad UTF-8 are refused. The value still has to meet its schema.
 * @throws QflError `invalid_request`
 */
export const parseCanonical = (bytes: Uint8Array): unknown => {
  const text = fromUtf8(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new QflError('invalid_request', { detail: 'not JSON', cause });
  }
  if (!Buffer.from(write(value, 0), 'utf8').equals(bytes)) refuse('JSON, but not in its canonical spelling');
  return value;
};
