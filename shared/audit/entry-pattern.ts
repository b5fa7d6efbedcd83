/**
 * The one spelling of an audit leaf as a pattern: canonical JSON of ASCII codes and integers, members in the order of their names. Checked
 * without a schema, so that a verifier keeps up with the disk; which actions there are it does not say, so that an old verifier reads a new log.
 */
const code = '[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}';
const integer = '(?:0|[1-9][0-9]{0,15})';
const orNull = (pattern: string): string => `(?:null|"${pattern}")`;
const object = `\\{"id":"${code}","kind":"${code}"\\}`;

const PATTERN = new RegExp(
  `^\\{"action":"${code}","actor":${orNull('[0-9a-f]{32}')},"bootId":"[0-9a-f]{32}","classification":${orNull(code)},` +
    `"cost":(?:null|${integer}),"counter":(${integer}),"detail":${orNull('[0-9a-f]{64}')},"id":"[0-7][0-9A-HJKMNP-TV-Z]{25}",` +
    `"objects":\\[(?:${object}(?:,${object})*)?\\],"outcome":"${code}","purpose":${orNull(code)},"requestId":${orNull(code)},` +
    `"role":${orNull(code)},"session":${orNull('[0-9a-f]{64}')},"source":"${code}","timeMs":(${integer}),"v":1\\}$`,
);

export interface LeafFacts {
  readonly counter: number;
  readonly timeMs: number;
}

/** Undefined when `leaf` is not spelt as an entry. */
export const leafFacts = (leaf: Uint8Array): LeafFacts | undefined => {
  const text = Buffer.from(leaf.buffer, leaf.byteOffset, leaf.byteLength).toString('latin1');
  const match = PATTERN.exec(text);
  return match === null ? undefined : { counter: Number(match[1]), timeMs: Number(match[2]) };
};
