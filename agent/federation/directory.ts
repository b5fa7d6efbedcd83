/**
 * The agent's mirror of the key directory: all leaves, checked one by one and against the signed root, kept on disk. What was seen
 * once stays: a directory that forgets, forks or changes a key without its chain is refused, and nothing is sealed on its word.
 */
import { CompactRange, leafHash } from '../../shared/audit/merkle.ts';
import { openCheckpoint } from '../../shared/audit/checkpoint.ts';
import { parseVerifierKey } from '../../shared/audit/note.ts';
import { equalConstantTime } from '../../shared/bytes.ts';
import { applyLeaf, type DirectoryState } from '../../shared/directory/chain.ts';
import { QflError } from '../../shared/errors.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { LeavesReply, METHODS } from '../../shared/wire/session.ts';
import { unframed } from '../../shared/wire/framing.ts';

const PREFIX = 'directory/';
const TIMEOUT_MS = 15_000;
/** About 1,000 sites for a year; what a synchronisation holds in memory stays bounded. */
const LEAVES_PER_SYNC_MAX = 400_000;
const leafKey = (index: number): string => PREFIX + String(index).padStart(12, '0');

export interface DirectoryMirror {
  readonly state: DirectoryState;
  readonly checkpoint: { readonly size: number; readonly root: Uint8Array };
  /** Fetches and checks what is new. @throws QflError `key_changed`, `bad_signature`, `protocol` */
  sync(peer: Peer): Promise<void>;
}

interface Gathered {
  state: DirectoryState;
  readonly range: CompactRange;
  readonly leaves: Uint8Array[];
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

  /** What a synchronisation gathers: copies, so that whatever is refused in the end leaves nothing behind. */
  const begin = (): Gathered => ({ state, range: range.clone(), leaves: [] });
  /** Adds a reply's leaves; true when the signed root says that these are all. */
  const gather = (gathered: Gathered, leaves: readonly Uint8Array[], note: string): boolean => {
    const { checkpoint } = openCheckpoint(note, [verifier]);
    if (checkpoint.origin !== verifier.name) throw refuse('the checkpoint is of another log');
    if (gathered.leaves.length + leaves.length > LEAVES_PER_SYNC_MAX)
      throw new QflError('too_large', { detail: 'the directory sends more records than it may hold' });
    for (const leaf of leaves) {
      gathered.state = applyLeaf(gathered.state, leaf);
      gathered.range.append(leafHash(leaf));
      gathered.leaves.push(leaf);
    }
    const { size } = gathered.range;
    if (checkpoint.size < size) throw refuse('the directory is smaller than what it has shown before');
    if (checkpoint.size === size && !equalConstantTime(checkpoint.root, gathered.range.root()))
      throw refuse('the directory does not have the root that its leaves give');
    return checkpoint.size === size;
  };
  /** Only now does anything of it count: a record is used when the whole tree it stands in is signed. */
  const adopt = async (gathered: Gathered): Promise<void> => {
    const first = range.size;
    if (gathered.leaves.length > 0)
      await store.write(
        gathered.leaves.map((value, index): StoreOperation => ({
          type: 'put',
          key: leafKey(first + index),
          value,
        })),
      );
    state = gathered.state;
    range = gathered.range;
  };
  const fetchAll = async (peer: Peer): Promise<void> => {
    const gathered = begin();
    for (let complete = false; !complete;) {
      const { header, payload } = await peer.request(
        METHODS.leaves,
        { header: { from: gathered.range.size } },
        { timeoutMs: TIMEOUT_MS },
      );
      const reply = LeavesReply.safeParse(header);
      if (!reply.success) throw new QflError('protocol', { detail: 'a wrong directory reply' });
      const leaves = unframed(payload);
      complete = gather(gathered, leaves, reply.data.checkpoint);
      if (!complete && leaves.length === 0)
        throw new QflError('protocol', { detail: 'the directory withholds leaves' });
    }
    await adopt(gathered);
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
