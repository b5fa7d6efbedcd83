/** Checkpoints, C2SP tlog-checkpoint: the tree's size and root inside a signed note. */
import { type Checkpoint, checkpointText, parseCheckpointText } from './checkpoint-text.ts';
import { type Cosigner, cosignatureLine } from './cosignature.ts';
import { type NoteSigner, openNote, parseNote, signNote, type VerifiedNote } from './note.ts';
import type { VerifierKey } from './verifier-key.ts';

export { type Checkpoint, checkpointText, parseCheckpointText } from './checkpoint-text.ts';

export const signCheckpoint = (checkpoint: Checkpoint, signers: readonly NoteSigner[]): string =>
  signNote(checkpointText(checkpoint), signers);

/** Signed at once by `signer`, then, off the event loop, by each cosigner; `timeS` is the second they state. */
export const signCheckpointBy = async (
  checkpoint: Checkpoint,
  signer: NoteSigner,
  cosigners: readonly Cosigner[],
  timeS: number,
): Promise<string> => {
  const text = checkpointText(checkpoint);
  const lines = await Promise.all(cosigners.map((cosigner) => cosignatureLine(cosigner, text, timeS)));
  return signNote(text, [signer]) + lines.join('');
};

/** What a checkpoint claims, without any check of its signatures. */
export const readCheckpoint = (note: string | Uint8Array): Checkpoint =>
  parseCheckpointText(parseNote(note).text);

/** @throws QflError `protocol`, `bad_signature`, `unknown_key` */
export const openCheckpoint = (
  note: string | Uint8Array,
  known: readonly VerifierKey[],
): { readonly checkpoint: Checkpoint; readonly note: VerifiedNote } => {
  const opened = openNote(note, known);
  return { checkpoint: parseCheckpointText(opened.text), note: opened };
};
