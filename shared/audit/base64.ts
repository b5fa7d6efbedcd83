import { fromBase64, toBase64 } from '../bytes.ts';
import { QflError } from '../errors.ts';

/** Base64 that has exactly one spelling per value: padding right, no stray bits, no spaces. @throws QflError `protocol` */
export const strictBase64 = (text: string): Uint8Array => {
  const bytes = fromBase64(text);
  if (toBase64(bytes) === text) return bytes;
  throw new QflError('protocol', { detail: 'not canonical base64' });
};
