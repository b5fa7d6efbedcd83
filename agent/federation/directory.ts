/**
 * The agent's mirror of the key directory: all leaves, checked one by one and against the signed root, kept on disk. What was seen once
 * stays: a directory that forgets, forks or changes a key without its chain is refused. Of what was seen, only what a quorum of sites has
 * cosigned is in use (`state`), and for new questions only while those signatures are fresh.
 */
import { openCheckpoint } from '../../shared/audit/checkpoint.ts';
import { CompactRange, leafHash } from '../../shared/audit/merkle.ts';
import type { VerifierKey } from '../../shared/audit/verifier-key.ts';
import { equalConstantTime, fromUtf8, utf8 } from '../../shared/bytes.ts';
import { type Clock, CLOCK_SKEW_MS, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import {
  type DirectoryState,
  keysAfter,
  type Published,
  type SiteKeys,
} from '../../shared/directory/chain.ts';
import { growthSinceS, openCosigned, witnessesOf } from '../../shared/directory/quorum.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { unframed } from '../../shared/wire/framing.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { LeavesReply, METHODS } from '../../shared/wire/session.ts';
import { z } from 'zod';

const PREFIX = 'directory/';
const CONFIRMED = 'directory-confirmed';
const TIMEOUT_MS = 15_000;
/** About 1,000 sites for a year; what a synchronisation holds in memory stays bounded. */
const LEAVES_PER_SYNC_MAX = 400_000;
/** States behind the newest that can still be confirmed or compared. */
const RECENT_MAX = 256;
/** The event loop is left after this much checking. */
const SLICE_MS = 8;
export const DIRECTORY_AGE_MAX_MS = 10 * MINUTE_MS;
const leafKey = (index: number): string => PREFIX + String(index).padStart(12, '0');

/** Who answers `directory.leaves`: a session's peer, or the coordinator's public face. */
export type LeafSource = Pick<Peer, 'request'>;

export interface Confirmed {
  readonly size: number;
  readonly root: Uint8Array;
  /** Since when the quorum stands, by the witnesses' clocks. */
  readonly atMs: number;
  /** The checkpoint with its cosignatures. */
  readonly note: string;
}

/** Why, and since when, a site's keys are not used. */
export interface Suspicion {
  readonly reason: string;
  readonly sinceMs: number;
}

export interface DirectoryMirror {
  /**
   * What a quorum of sites has cosigned: the only keys in use. What takes a key out of use needs no quorum: a revocation counts as soon as
   * it was seen, and so does a site's own alarm.
   */
  readonly state: DirectoryState;
  /** All that is mirrored; beyond `state` good only for one's own chain and the coordinator's. */
  readonly seen: DirectoryState;
  /** Of all that is mirrored. */
  readonly checkpoint: { readonly size: number; readonly root: Uint8Array };
  readonly confirmed: Confirmed | undefined;
  /** Fetches and checks what is new. @throws QflError `key_changed`, `bad_signature`, `protocol` */
  sync(peer: LeafSource): Promise<void>;
  /**
   * Takes a cosigned checkpoint: true when it has its quorum, so that everything up to its size is in use.
   * @throws QflError `key_changed` when it contradicts the mirror, `bad_signature`, `protocol`
   */
  confirm(note: string): Promise<boolean>;
  /** The root when the directory had that size; undefined when that is too long ago or not yet. */
  rootAt(size: number): Uint8Array | undefined;
  /** Keys of this site are not used until the reason is gone, or the site has recovered since; undefined takes it back. */
  suspend(site: SiteId, suspicion: Suspicion | undefined): void;
  /** May new questions rely on the directory? @throws QflError `directory_stale` */
  requireFresh(): void;
  /** Waits until that size is in use, or `ms` are over; says whether it is. */
  until(size: number, ms: number): Promise<boolean>;
}

export interface MirrorOptions {
  readonly store: Store;
  readonly self: SiteId;
  readonly federation: string;
  /** Every key that signs the log's checkpoints. */
  readonly logKeys: readonly VerifierKey[];
  readonly clock: Clock;
  readonly ageMaxMs?: number;
  /** Leaves, once they are on the disk; again at every start, in case the program ended before it had looked at them. */
  adopted?(leaves: readonly Uint8Array[]): Promise<void>;
}

interface View {
  readonly state: DirectoryState;
  readonly root: Uint8Array;
}
interface Gathered {
  readonly state: Map<SiteId, SiteKeys>;
  readonly range: CompactRange;
  readonly leaves: Uint8Array[];
  readonly recent: Map<number, View>;
}

const Stored = z.strictObject({ size: z.int(), root: z.base64(), atMs: z.number(), note: z.string() });

const refuse = (detail: string): QflError =>
  new QflError('key_changed', {
    detail,
    next: 'The coordinator shows a different history than before. Do not go on; call its operator and the other hospitals.',
  });

const createPauses = (): (() => Promise<void>) => {
  let sinceMs = performance.now();
  return async () => {
    if (performance.now() - sinceMs < SLICE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    sinceMs = performance.now();
  };
};

const remember = (recent: Map<number, View>, size: number, view: View): void => {
  recent.set(size, view);
  recent.delete(size - RECENT_MAX);
};

const readConfirmed = async (store: Store): Promise<Confirmed | undefined> => {
  const value = await store.get(CONFIRMED);
  if (value === undefined) return undefined;
  const stored = Stored.parse(JSON.parse(fromUtf8(value)));
  return { ...stored, root: Buffer.from(stored.root, 'base64') };
};

/** Sets what a leaf makes of its site: a copy of all sites for each of very many leaves would take longer than to verify them. */
const apply = (state: Map<SiteId, SiteKeys>, leaf: Uint8Array, published?: Published): void => {
  const { keys } = keysAfter(state, leaf, published);
  state.set(keys.site, keys);
};
const countOf = async (store: Store): Promise<number> => {
  let count = 0;
  for await (const _ of store.keys({ prefix: PREFIX })) count += 1;
  return count;
};

/** The leaves that a home has mirrored, applied: for commands while the program rests. */
export const storedDirectory = async (store: Store): Promise<DirectoryState> => {
  const state = new Map<SiteId, SiteKeys>();
  for await (const { value } of store.list({ prefix: PREFIX })) apply(state, value);
  return state;
};

export const openDirectoryMirror = async (options: MirrorOptions): Promise<DirectoryMirror> => {
  const { store, self, federation, logKeys, clock, ageMaxMs = DIRECTORY_AGE_MAX_MS } = options;
  let confirmed = await readConfirmed(store);
  let state: DirectoryState = new Map();
  let seen: DirectoryState = new Map();
  let range = new CompactRange();
  let recent = new Map<number, View>();
  const stored = await countOf(store);
  const opened = new Map<SiteId, SiteKeys>();
  for await (const { value } of store.list({ prefix: PREFIX })) {
    apply(opened, value);
    range.append(leafHash(value));
    const isRecent = range.size > stored - RECENT_MAX;
    if (isRecent) remember(recent, range.size, { state: new Map(opened), root: range.root() });
    if (range.size === confirmed?.size) state = new Map(opened);
    await options.adopted?.([value]);
  }
  seen = opened;
  if (confirmed !== undefined && confirmed.size > range.size) {
    // The disk lost leaves that were confirmed: they are fetched again, and until then nothing is in use.
    confirmed = undefined;
  }
  const suspended = new Map<SiteId, Suspicion>();
  /** `state` without what must not be used any more. */
  let inUse: DirectoryState = state;
  const restrict = (): void => {
    const next = new Map(state);
    for (const [site, keys] of state) {
      const revokedMs = keys.revokedMs ?? seen.get(site)?.revokedMs;
      const suspicion = suspended.get(site);
      const isOver = suspicion !== undefined && suspicion.sinceMs < (keys.recoveredMs ?? -Infinity);
      const reason = isOver ? undefined : suspicion?.reason;
      if (revokedMs !== keys.revokedMs || reason !== undefined)
        next.set(site, { ...keys, revokedMs, suspended: reason });
    }
    inUse = next;
  };
  restrict();
  let syncing: Promise<void> | undefined;
  const waiters = new Set<() => void>();

  /** What a synchronisation gathers: copies, so that whatever is refused in the end leaves nothing behind. */
  const begin = (): Gathered => ({
    state: new Map(seen),
    range: range.clone(),
    leaves: [],
    recent: new Map(recent),
  });
  /** Adds a reply's leaves; true when the signed root says that these are all. */
  const gather = async (
    gathered: Gathered,
    leaves: readonly Uint8Array[],
    note: string,
  ): Promise<boolean> => {
    const { checkpoint } = openCheckpoint(note, logKeys);
    if (checkpoint.origin !== logKeys[0]?.name) throw refuse('the checkpoint is of another log');
    if (gathered.leaves.length + leaves.length > LEAVES_PER_SYNC_MAX)
      throw new QflError('too_large', { detail: 'the directory sends more records than it may hold' });
    const pause = createPauses();
    // What others had cosigned then did not have these.
    const published = { afterMs: confirmed?.atMs ?? -Infinity, nowMs: clock.nowMs() };
    for (const leaf of leaves) {
      apply(gathered.state, leaf, published);
      gathered.range.append(leafHash(leaf));
      gathered.leaves.push(leaf);
      const { size } = gathered.range;
      if (size > checkpoint.size - RECENT_MAX)
        remember(gathered.recent, size, { state: new Map(gathered.state), root: gathered.range.root() });
      await pause();
    }
    const { size } = gathered.range;
    if (checkpoint.size < size) throw refuse('the directory is smaller than what it has shown before');
    if (checkpoint.size === size && !equalConstantTime(checkpoint.root, gathered.range.root()))
      throw refuse('the directory does not have the root that its leaves give');
    return checkpoint.size === size;
  };
  /** Only now does anything of it count: a record is kept when the whole tree it stands in is signed. */
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
    seen = gathered.state;
    range = gathered.range;
    recent = gathered.recent;
    restrict();
    await options.adopted?.(gathered.leaves);
  };
  const fetchAll = async (peer: LeafSource): Promise<void> => {
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
      complete = await gather(gathered, leaves, reply.data.checkpoint);
      if (!complete && leaves.length === 0)
        throw new QflError('protocol', { detail: 'the directory withholds leaves' });
    }
    await adopt(gathered);
  };

  const confirm = async (note: string): Promise<boolean> => {
    const { checkpoint } = openCheckpoint(note, logKeys);
    const view = recent.get(checkpoint.size);
    const known = checkpoint.size <= range.size;
    if (view === undefined || checkpoint.size < (confirmed?.size ?? 0)) {
      if (known) return false;
      throw new QflError('protocol', { detail: 'a cosigned checkpoint of leaves that were not sent' });
    }
    if (!equalConstantTime(view.root, checkpoint.root))
      throw refuse(`the directory of size ${checkpoint.size} that others cosign is not the one shown here`);
    const roster = new Map(
      [...witnessesOf(state), ...witnessesOf(view.state)].map(({ site }) => [site, view.state.get(site)]),
    );
    const { cosigned } = await openCosigned(
      note,
      logKeys,
      federation,
      [...roster.values()].filter((keys) => keys !== undefined),
    );
    // A cosignature from further ahead than clocks differ says nothing.
    const latestS = (clock.nowMs() + CLOCK_SKEW_MS) / SECOND_MS;
    const plausible = new Map([...cosigned].filter(([, timeS]) => timeS <= latestS));
    const sinceS = growthSinceS(state, view.state, plausible, self);
    if (sinceS === undefined) return false;
    await adoptConfirmed(
      { size: checkpoint.size, root: checkpoint.root, atMs: sinceS * SECOND_MS, note },
      view,
    );
    return true;
  };
  const adoptConfirmed = async (next: Confirmed, view: View): Promise<void> => {
    // Verification took turns of the event loop: a newer one may have come in between.
    const isOlder = confirmed?.size === next.size && next.atMs < confirmed.atMs;
    if (isOlder || (confirmed !== undefined && next.size < confirmed.size)) return;
    const { size, atMs, note } = next;
    await store.write([
      {
        type: 'put',
        key: CONFIRMED,
        value: utf8(JSON.stringify({ size, atMs, note, root: Buffer.from(next.root).toString('base64') })),
      },
    ]);
    confirmed = next;
    state = view.state;
    restrict();
    for (const waiter of waiters) waiter();
  };

  return {
    get state() {
      return inUse;
    },
    suspend(site, suspicion) {
      if (suspicion === undefined) suspended.delete(site);
      else suspended.set(site, suspicion);
      restrict();
    },
    get seen() {
      return seen;
    },
    get checkpoint() {
      return { size: range.size, root: range.root() };
    },
    get confirmed() {
      return confirmed;
    },
    sync(peer) {
      syncing ??= fetchAll(peer).finally(() => {
        syncing = undefined;
      });
      return syncing;
    },
    confirm,
    rootAt: (size) => recent.get(size)?.root,
    requireFresh() {
      const ageMs = confirmed === undefined ? undefined : clock.nowMs() - confirmed.atMs;
      if (ageMs !== undefined && ageMs <= ageMaxMs) return;
      throw new QflError('directory_stale', {
        detail:
          ageMs === undefined
            ? 'no quorum of hospitals has confirmed the key directory yet'
            : `a quorum of hospitals last confirmed the key directory ${Math.round(ageMs / MINUTE_MS)} minutes ago; at most ${Math.round(ageMaxMs / MINUTE_MS)} are allowed`,
        next: 'Usually too few hospitals are connected; see "qfl agent status". If they are, the coordinator may be withholding changes: call its operator.',
        facts: { confirmedMs: confirmed?.atMs ?? null, confirmedSize: confirmed?.size ?? null },
      });
    },
    until: (size, ms) =>
      new Promise((resolve) => {
        const isThere = (): boolean => (confirmed?.size ?? 0) >= size;
        const done = (): void => {
          clearTimeout(timer);
          waiters.delete(look);
          resolve(isThere());
        };
        const look = (): void => {
          if (isThere()) done();
        };
        const timer = setTimeout(done, ms);
        waiters.add(look);
        look();
      }),
  };
};
