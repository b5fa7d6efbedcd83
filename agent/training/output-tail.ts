/** The end of what a foreign program prints, for the site's own log: bounded, and without the numbers of patients. */
import { fromUtf8 } from '../../shared/bytes.ts';

const TAIL_BYTES = 4 * 1024;
export const TAIL_CHARS = 2_000;

export interface OutputTail {
  add(piece: Uint8Array): void;
  text(): string;
}

/** What it was given to read are numbers: a trace that prints some of it shows how many digits there were, no more. */
const redacted = (text: string): string =>
  text
    .replaceAll(/\d/g, '#')
    .replaceAll(/[^\P{C}\n]/gu, ' ')
    .slice(-TAIL_CHARS);

export const createOutputTail = (): OutputTail => {
  let tail: Uint8Array = new Uint8Array(0);
  return {
    add(piece) {
      tail = Buffer.concat([tail, piece]).subarray(-TAIL_BYTES);
    },
    text: () => redacted(fromUtf8(tail)),
  };
};
