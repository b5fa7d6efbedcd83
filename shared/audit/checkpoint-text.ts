/** The text of a checkpoint, C2SP tlog-checkpoint: origin, tree size, root hash, each on a line. */
import { toBase64 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { strictBase64 } from './base64.ts';
import { HASH_BYTES } from './merkle.ts';

export interface Checkpoint {
  /** The log's unique name, e.g. `qfl/<federation>/audit/<site>`. */
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  /** Further lines, opaque; almost always none. */
  readonly extensions: readonly string[];
}

const malformed = (detail: string): never => {
  throw new QflError('protocol', { detail: `not a checkpoint: ${detail}` });
};

export const checkpointText = ({ origin, size, root, extensions }: Checkpoint): string =>
  `${[origin, String(size), toBase64(root), ...extensions].join('\n')}\n`;

/** @throws QflError `protocol` */
export const parseCheckpointText = (text: string): Checkpoint => {
  const [origin = '', size = '', root = '', ...extensions] = text.slice(0, -1).split('\n');
  if (origin === '' || !text.endsWith('\n')) return malformed('the origin is missing');
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) {
    return malformed('the size is not a decimal number below 2^53');
  }
  if (extensions.includes('')) return malformed('an extension line is empty');
  const bytes = strictBase64(root);
  if (bytes.byteLength !== HASH_BYTES) return malformed('the root has not 32 bytes');
  return { origin, size: Number(size), root: bytes, extensions };
};
