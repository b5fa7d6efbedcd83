/**
 * The agent's mirror of the key directory: all leaves, checked one by one and against the signed root, kept on disk. What was seen
 * once stays: a directory that forgets, forks or changes a key without its chain is refused, and nothing is sealed on its word.
 */
import { CompactRange, leafHash } from '../../shared/audit/merkle.ts';
import { openCheckpoint } from '../../shared/audit/checkpoint.ts';
import { parseVerifierKey } from '../../shared/audit/note.ts';
import { equalConstantTime } from '../../shared/bytes.ts';
import { applyLeaf, type DirectoryState } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { LeavesReply, METHODS } from '../../shared/wire/session.ts';
import { unframed } from '../../shared/wire/framing.ts';

const PREFIX = 'directory/';
const TIMEOUT_MS = 15_000;
const leafKey = (index: number): string => PREFIX + String(index).padStart(12, '0');

export interface DirectoryMirror {
  readonly state: DirectoryState;
  readonly checkpoint: { readonly size: number; readonly root: Uint8Array };
  /** Fetches and checks what is new. @throws QflError `key_changed`, `bad_signature`, `protocol` */
  sync(peer: Peer): Promise<void>;
}

const refuse = (detail: string): QflError =>
  new QflError('key_changed', {
    detail,
    next: 'The coordinator shows a different history than before. Do not go on; call its operator and the other hospitals.',
  });

export const openDirectoryMirror = async (store: Store, logVerifierKey: string): Promise<DirectoryMirror> => {
  const verifier = parseVerifierKey(logVerifierKey);
  let state: DirectoryState = new Map();
  let range = new CompactRange();
  for await (const { value } of store.list({ prefix: PREFIX })) {
    state = applyLeaf(state, value);
    range.append(leafHash(value));
  }
  let syncing: Promise<void> | undefined;

  /** Applies leaves to copies, so that a refused batch leaves nothing behind. */
  const accept = async (leaves: readonly Uint8Array[], note: string): Promise<boolean> => {
    const { checkpoint } = openCheckpoint(note, [verifier]);
    if (checkpoint.origin !== verifier.name) throw refuse('the checkpoint is of another log');
    const next = range.clone();
    let nextState = state;
    for (const leaf of leaves) {
      nextState = applyLeaf(nextState, leaf);
      next.append(leafHash(leaf));
    }
    if (checkpoint.size < next.size) throw refuse('the directory is smaller than what it has shown before');
    if (checkpoint.size === next.size && !equalConstantTime(checkpoint.root, next.root()))
      throw refuse('the directory does not have the root that its leaves give');
    const first = range.size;
    if (leaves.length > 0)
      await store.write(
        leaves.map((value, index): StoreOperation => ({ type: 'put', key: leafKey(first + index), value })),
      );
    state = nextState;
    range = next;
    return checkpoint.size > next.size;
  };
  const fetchAll = async (peer: Peer): Promise<void> => {
    for (let more = true; more;) {
      const { header, payload } = await peer.request(
        METHODS.leaves,
        { header: { from: range.size } },
        { timeoutMs: TIMEOUT_MS },
      );
      const reply = LeavesReply.safeParse(header);
      if (!reply.success) throw new QflError('protocol', { detail: 'a wrong directory reply' });
      const leaves = unframed(payload);
      more = await accept(leaves, reply.data.checkpoint);
      if (more && leaves.length === 0)
        throw new QflError('protocol', { detail: 'the directory withholds leaves' });
    }
  };

  return {
    get state() {
      return state;
    },
    get checkpoint() {
      return { size: range.size, root: range.root() };
    },
    sync(peer) {
      syncing ??= fetchAll(peer).finally(() => {
        syncing = undefined;
      });
      return syncing;
    },
  };
};
