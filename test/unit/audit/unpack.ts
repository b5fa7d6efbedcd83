import { extract } from 'tar-stream';
import { fromUtf8 } from '../../../shared/bytes.ts';

/** The files of an archive, read by somebody else's reader. */
export const unpack = async (tar: Buffer): Promise<Map<string, string>> => {
  const files = new Map<string, string>();
  const reader = extract();
  reader.end(tar);
  for await (const entry of reader) {
    const pieces: Uint8Array[] = [];
    for await (const piece of entry) pieces.push(Uint8Array.from(piece as Uint8Array));
    files.set(entry.header.name, fromUtf8(Buffer.concat(pieces)));
  }
  return files;
};
