/**
 * A witness, C2SP tlog-witness `add-checkpoint`: given the old size, a proof and a signed checkpoint it checks that the log only grew,
 * remembers the new checkpoint durably, and only then cosigns. Comparing and remembering are one step per log, so two requests that cross
 * cannot roll it back. Statuses are those of the specification; how they travel is the caller's affair.
 */
import { z } from 'zod';
import { fromUtf8, toBase64, toHex, utf8 } from '../bytes.ts';
import { hashOf } from '../crypto/hash.ts';
import { QflError, toQflError } from '../errors.ts';
import type { Store } from '../store/port.ts';
import { strictBase64 } from './base64.ts';
import { type Checkpoint, openCheckpoint, parseCheckpointText } from './checkpoint.ts';
import { type Cosigner, cosignatureLine } from './cosignature.ts';
import { verifyConsistency } from './merkle-verify.ts';
import { parseNote } from './note.ts';
import type { VerifierKey } from './verifier-key.ts';
import { createSerialByKey } from '../serial.ts';

const PROOF_LINES_MAX = 63;
export const ADD_CHECKPOINT_BYTES_MAX = 64 * 1024;

export interface AddCheckpoint {
  readonly oldSize: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note, as it came. */
  readonly note: string;
}

export const addCheckpointBody = ({ oldSize, proof, note }: AddCheckpoint): string =>
  `old ${oldSize}\n${proof.map((hash) => `${toBase64(hash)}\n`).join('')}\n${note}`;

/** @throws QflError `protocol` */
export const parseAddCheckpoint = (body: string): AddCheckpoint => {
  const split = body.indexOf('\n\n');
  const [first = '', ...lines] = body.slice(0, Math.max(0, split)).split('\n');
  const [, digits] = /^old (0|[1-9][0-9]{0,15})$/.exec(first) ?? [];
  if (split < 0 || digits === undefined || lines.length > PROOF_LINES_MAX)
    throw new QflError('protocol', { detail: 'not an add-checkpoint request' });
  return { oldSize: Number(digits), proof: lines.map(strictBase64), note: body.slice(split + 2) };
};

export type WitnessReply =
  | { readonly status: 200; readonly lines: string }
  /** The size it cosigned last. */
  | { readonly status: 409; readonly size: number }
  /** Malformed; signed by no key of that log; unknown log; the proof does not hold. */
  | { readonly status: 400 | 403 | 404 | 422; readonly detail: string };

const Known = z.strictObject({
  origin: z.string(),
  size: z.int().nonnegative(),
  root: z.base64(),
});
type Known = z.infer<typeof Known>;

export interface Witness {
  addCheckpoint(body: string): Promise<WitnessReply>;
  /** What it cosigned last of a log. @throws QflError `storage_failed` */
  known(origin: string): Promise<Known | undefined>;
}

export interface WitnessOptions {
  readonly store: Store;
  /** Where in the store, ending in `/`. */
  readonly prefix: string;
  /** Signs beside one another: Ed25519 and ML-DSA-44. */
  cosigners(): readonly Cosigner[];
  /** Which logs it knows; a checkpoint needs a signature by one of the keys, and every signature by one of them must hold. */
  keysOf(origin: string): readonly VerifierKey[] | undefined;
  nowMs(): number;
  /** More than the protocol asks: looks at a checkpoint whose proof held. Throws to refuse it. */
  approve?(checkpoint: Checkpoint): Promise<void>;
  /** A checkpoint signed by the log, of the size that was cosigned and with another root: the log has two histories. */
  forked?(known: Known, note: string): void;
}

const refusal = (status: 400 | 403 | 404 | 422, detail: string): WitnessReply => ({ status, detail });

/** Two rules of the size: from 0 the proof is empty and there is nothing to compare; from the same size the roots are one. */
const extendsKnown = (known: Known | undefined, proof: readonly Uint8Array[], next: Checkpoint): boolean =>
  known === undefined || known.size === 0
    ? proof.length === 0
    : verifyConsistency({
        oldSize: known.size,
        newSize: next.size,
        oldRoot: strictBase64(known.root),
        newRoot: next.root,
        path: proof,
      });

export const createWitness = (options: WitnessOptions): Witness => {
  const { store, prefix } = options;
  const keyOf = (origin: string): string => prefix + toHex(hashOf('qfl witness log', utf8(origin)));
  const known = async (origin: string): Promise<Known | undefined> => {
    const value = await store.get(keyOf(origin));
    return value === undefined ? undefined : Known.parse(JSON.parse(fromUtf8(value)));
  };
  const inTurn = createSerialByKey<string>();
  /** In a log's turn: compare, approve, remember durably, cosign. */
  const take = async (
    { oldSize, proof, note }: AddCheckpoint,
    checkpoint: Checkpoint,
  ): Promise<WitnessReply> => {
    const last = await known(checkpoint.origin);
    const lastSize = last?.size ?? 0;
    if (oldSize !== lastSize) return { status: 409, size: lastSize };
    const isSameSize = lastSize === checkpoint.size && lastSize > 0;
    if (last !== undefined && isSameSize && toBase64(checkpoint.root) !== last.root) {
      options.forked?.(last, note);
      return { status: 409, size: lastSize };
    }
    if (!extendsKnown(last, proof, checkpoint)) {
      // Not proven yet: the log may have sent a wrong proof. It is not cosigned, and that shows.
      return refusal(422, 'the consistency proof does not hold');
    }
    await options.approve?.(checkpoint);
    const { origin, size, root } = checkpoint;
    if (!isSameSize)
      await store.write([
        {
          type: 'put',
          key: keyOf(origin),
          value: utf8(JSON.stringify({ origin, size, root: toBase64(root) } satisfies Known)),
        },
      ]);
    const { text } = parseNote(note);
    const timeS = Math.floor(options.nowMs() / 1_000);
    const lines = await Promise.all(
      options.cosigners().map((cosigner) => cosignatureLine(cosigner, text, timeS)),
    );
    return { status: 200, lines: lines.join('') };
  };

  return {
    known,
    async addCheckpoint(body) {
      let request: AddCheckpoint;
      let origin: string;
      try {
        request = parseAddCheckpoint(body);
        ({ origin } = parseCheckpointText(request.note.slice(0, request.note.lastIndexOf('\n\n') + 1)));
      } catch (error) {
        return refusal(400, toQflError(error).message);
      }
      const keys = options.keysOf(origin);
      if (keys === undefined) return refusal(404, 'this log is not known here');
      let checkpoint: Checkpoint;
      try {
        ({ checkpoint } = openCheckpoint(request.note, keys));
      } catch (error) {
        return refusal(403, toQflError(error).message);
      }
      if (request.oldSize > checkpoint.size) return refusal(400, 'the old size is above the new one');
      return inTurn(origin, () => take(request, checkpoint));
    },
  };
};
