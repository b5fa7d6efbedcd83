/** Bytes → JSON value, with the reasons for a refusal named and no content in them. */
import { isUtf8 } from 'node:buffer';

export type ParsedJson =
  { readonly kind: 'value'; readonly value: unknown } | { readonly kind: 'refused'; readonly reason: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Index just after the string that starts at `start`; the end of the text when it never closes. */
const afterString = (bytes: Buffer, start: number): number => {
  let end = bytes.indexOf(QUOTE, start + 1);
  while (end >= 0) {
    let backslashes = 0;
    while (bytes[end - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
    end = bytes.indexOf(QUOTE, end + 1);
  }
  return bytes.length;
};

/** True when brackets nest deeper than `depthMax`: found before parsing, since later walks recurse. */
export const nestsTooDeep = (bytes: Buffer, depthMax: number): boolean => {
  let depth = 0;
  for (let index = 0; index < bytes.length;) {
    const byte = bytes[index];
    if (byte === QUOTE) {
      index = afterString(bytes, index);
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    index += 1;
  }
  return false;
};

const refused = (reason: string): ParsedJson => ({ kind: 'refused', reason });

const withoutByteOrderMark = (bytes: Buffer): Buffer =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;

export const parseJson = (raw: Buffer, depthMax: number): ParsedJson => {
  const bytes = withoutByteOrderMark(raw);
  if (!isUtf8(bytes)) return refused('not valid UTF-8');
  if (bytes.includes(0)) return refused('a NUL byte');
  if (nestsTooDeep(bytes, depthMax)) return refused('nested too deeply');
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return { kind: 'value', value };
  } catch {
    // The parser's message quotes the text, so it goes nowhere.
    return refused('not valid JSON');
  }
};
