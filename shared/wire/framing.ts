import { QflError } from '../errors.ts';

/** Splits what `framed` (bytes.ts) joined. @throws QflError `protocol` */
export const unframed = (bytes: Uint8Array): Uint8Array[] => {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  let offset = 0;
  while (offset < view.byteLength) {
    const length = offset + 4 <= view.byteLength ? view.readUInt32BE(offset) : Infinity;
    if (offset + 4 + length > view.byteLength)
      throw new QflError('protocol', { detail: 'a field runs past the end' });
    parts.push(bytes.subarray(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
  return parts;
};
