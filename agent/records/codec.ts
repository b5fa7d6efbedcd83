/** What stands in the store's values: resource headers and rows. Parsed when read: a disk is an edge too. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { assert } from '../../shared/errors.ts';
import type { RowAttributes } from './draft.ts';

const Blinded = z.string().regex(/^[0-9a-f]{32}$/);

const Header = z.strictObject({
  version: z.literal(1),
  /** Import that wrote it. */
  run: z.string(),
  patient: Blinded.optional(),
  terms: z.array(Blinded),
  links: z.array(Blinded),
  identifiers: z.array(Blinded),
  optOut: z.boolean(),
  /** Rows of its parts; absent where it has none. */
  parts: z.array(z.strictObject({ ref: Blinded, terms: z.array(Blinded) })).optional(),
});
export type RecordHeader = z.infer<typeof Header>;

const NEWLINE = 0x0a;

/** Header as one line of JSON, then the resource's own bytes. */
export const encodeRecord = (header: RecordHeader, json: Uint8Array): Uint8Array =>
  Buffer.concat([utf8(`${JSON.stringify(header)}\n`), json]);

export const decodeRecord = (value: Uint8Array): { header: RecordHeader; json: Uint8Array } => {
  const end = value.indexOf(NEWLINE);
  assert(end > 0, 'a stored record starts with its header');
  return {
    header: Header.parse(JSON.parse(fromUtf8(value.subarray(0, end)))),
    json: value.subarray(end + 1),
  };
};

/**
 * What a type's marker holds from the version on whose rows hold times. Before, it was '3' (names, and components as rows), '2' (values were kept)
 * or empty.
 */
export const VALUES_KEPT = utf8('4');
export const keepsValues = (marker: Uint8Array | undefined): boolean =>
  marker !== undefined && Buffer.compare(marker, VALUES_KEPT) === 0;

const Row = z.strictObject({
  counted: z.boolean(),
  status: z.string().optional(),
  date: z.string().optional(),
  /** Absent in rows written before times were kept. */
  seconds: z.number().optional(),
  gender: z.string().optional(),
  birthDate: z.string().optional(),
  systems: z.array(z.string()).optional(),
  /** Absent in rows written before values were kept, and where the resource has none. */
  value: z.strictObject({ number: z.string(), units: z.array(z.string()) }).optional(),
  name: z.string().optional(),
});
export type Row = z.infer<typeof Row>;

export const encodeRow = (
  attributes: RowAttributes,
  counted: boolean,
  systems?: readonly string[],
): Uint8Array =>
  utf8(JSON.stringify({ counted, ...attributes, ...(systems === undefined ? {} : { systems }) }));

export const decodeRow = (value: Uint8Array): Row => Row.parse(JSON.parse(fromUtf8(value)));
