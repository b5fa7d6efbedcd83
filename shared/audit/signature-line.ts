import { concat, toBase64 } from '../bytes.ts';

export const SIGNATURE_START = '— ';

/** The line that stands for a signature in a note, its newline included. */
export const signatureLine = (
  { name, keyHash }: { readonly name: string; readonly keyHash: Uint8Array },
  signature: Uint8Array,
): string => `${SIGNATURE_START}${name} ${toBase64(concat(keyHash, signature))}\n`;
