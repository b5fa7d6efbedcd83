/** Paths and bundles of C2SP tlog-tiles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`. */
import { concat } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { TILE_WIDTH } from './tiles.ts';

export interface TileAddress {
  /** 0–63, or the entries themselves. */
  readonly level: number | 'entries';
  readonly index: number;
  /** 256 for a full tile. */
  readonly width: number;
}

/** An entry's length has 16 bits in a bundle. */
export const BUNDLE_ENTRY_BYTES_MAX = 0xffff;

const groups = (index: number): string => {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const parts = padded.match(/.{3}/g) ?? [];
  return parts.map((part, at) => (at === parts.length - 1 ? part : `x${part}`)).join('/');
};

/** Path of a tile below the log's prefix. */
export const tilePath = ({ level, index, width }: TileAddress): string =>
  `tile/${level}/${groups(index)}${width === TILE_WIDTH ? '' : `.p/${width}`}`;

const SHAPE = /^tile\/(entries|0|[1-9]\d?)\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** Only the one spelling of each path is read. @throws QflError `not_found` */
export const parseTilePath = (path: string): TileAddress => {
  const [, level = '', index = '', width] = SHAPE.exec(path) ?? [];
  const address: TileAddress = {
    level: level === 'entries' ? level : Number(level),
    index: Number(index.replaceAll(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const inRange = address.level === 'entries' || address.level <= 63;
  if (level === '' || !inRange || tilePath(address) !== path)
    throw new QflError('not_found', { detail: 'no tile has that path' });
  return address;
};

/** Each entry behind its length of 16 bits. */
export const entryBundle = (leaves: readonly Uint8Array[]): Uint8Array =>
  concat(...leaves.flatMap((leaf) => [Uint8Array.of(leaf.byteLength >> 8, leaf.byteLength & 0xff), leaf]));

/** @throws QflError `protocol` */
export const parseEntryBundle = (bytes: Uint8Array): Uint8Array[] => {
  const leaves: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.byteLength) {
    const end = at + 2 + ((bytes[at] ?? 0) << 8) + (bytes[at + 1] ?? 0);
    if (at + 2 > bytes.byteLength || end > bytes.byteLength)
      throw new QflError('protocol', { detail: 'an entry bundle is cut short' });
    leaves.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return leaves;
};
