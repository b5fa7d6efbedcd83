/**
 * A program's own keys, kept in its encrypted store: identity, KEM epochs, daily prekeys, and the secret behind hedged randomness.
 */
import { DAY_MS } from '../clock.ts';
import { equalConstantTime, fromBase64, toBase64, toHex, utf8, fromUtf8 } from '../bytes.ts';
import { deriveKey, hashOf } from '../crypto/hash.ts';
import { createIdentity, ed25519SignerOf, type Identity } from '../crypto/signature.ts';
import { createHedge, type Hedge, type XWingKeyPair, xwingKeyPair } from '../crypto/xwing.ts';
import { KEM_OVERLAP_MS, type SiteKeys } from '../directory/chain.ts';
import {
  type DirectoryRecord,
  type IdentityRecord,
  type PrekeyRecord,
  type RecoverRecord,
  signLeaf,
} from '../directory/record.ts';
import { ed25519Cosigner, mldsa44Cosigner, type Cosigner } from '../audit/cosignature.ts';
import { ed25519NoteSigner, type NoteSigner } from '../audit/note.ts';
import { lattice } from '../crypto/lattice/provider.ts';
import { assert, QflError } from '../errors.ts';
import type { SiteId } from '../ids.ts';
import type { RandomBytes } from '../random.ts';
import type { Store, StoreOperation } from '../store/port.ts';
import { PrekeyId } from '../wire/envelope.ts';
import { z } from 'zod';

const SEED_BYTES = 32;
/** The first identity's seed, and the root of every secret that must outlive a rotation: blinding, pseudonyms, the signers of own logs. */
const ROOT = 'key/identity';
/** The identity in force, where it is not the first one any more. */
const CURRENT = 'key/identity-now';
/** An identity that is announced, or about to be. */
const NEXT = 'key/identity-next';
const KEM = 'key/kem/';
/** Drawn before an emergency drew anew: in the directory after all, if a coordinator kept their record back. */
const SPARE_IDENTITY = 'key/spare-identity/';
const SPARE_KEM = 'key/spare-kem/';
const PREKEY = 'key/prekey/';
/** There while a secret that was deleted or replaced may still be in the files of the disk. */
const UNSWEPT = 'key/unswept';
export const KEM_EPOCH_DAYS = 90;
export const PREKEY_LIFE_MS = 2 * DAY_MS;
/** A new epoch begins when the one before is this old: day 75 of 90. */
export const RENEW_SHARE = 5 / 6;

const StoredPrekey = z.strictObject({ seed: z.base64(), toMs: z.int() });

/** What a rotation replaces. In an emergency, everything at once, and nothing overlaps. */
export type RotationKind = 'kem' | 'identity' | 'emergency';

export interface Vault {
  /** Signs with the identity in force: after a rotation, the new one. */
  readonly identity: Identity;
  /** The identity of this moment, for what is signed in several parts. */
  identityNow(): Identity;
  readonly hedge: Hedge;
  /** 32-byte seed of the key that signs this program's log of that name. */
  noteSeed(name: string): Uint8Array;
  /** 32-byte key for one purpose, bound to this program's identity: pseudonyms, blinding. */
  secretFor(purpose: string): Uint8Array;
  /** KEM keys of the epochs here, newest first; the newest may not be announced yet. */
  kemKeys(): Promise<{ epoch: number; pair: XWingKeyPair }[]>;
  /**
   * Signs checkpoints of the log of that name with Ed25519, and beside it with ML-DSA-44. A site's own audit log has the key
   * `OWN_LOG`, which its directory record announces.
   */
  logSigner(origin: string, key?: string): { readonly signer: NoteSigner; readonly cosigner: Cosigner };
  /** What this program cosigns others' checkpoints with, under `name`. */
  cosigners(name: string): readonly Cosigner[];
  /** The identity record and leaf that announce the newest KEM epoch: the first one enrols, a later one rotates. */
  identityLeaf(site: SiteId, nowMs: number, before: SiteKeys | undefined): Promise<Uint8Array>;
  /**
   * The leaf that announces new keys. They are on the disk before it is returned; they count here once `settle` saw the leaf in the directory.
   * Asked again before that, it announces the same keys at the place in the chain of now; in an emergency it draws new ones each time.
   */
  rotationLeaf(kind: RotationKind, nowMs: number, before: SiteKeys, epochDays?: number): Promise<Uint8Array>;
  /**
   * Follows the own chain: announced keys come into force, and epochs whose overlap is over are destroyed, as are prekeys that the chain does
   * not have any more. Returns whether anything changed.
   */
  settle(keys: SiteKeys, nowMs: number): Promise<boolean>;
  /** The record of new keys after a loss, of a vault that was made for it; signed by the new identity. */
  recoveryRecord(
    site: SiteId,
    times: { atMs: number; fromMs: number },
    before: SiteKeys,
  ): Promise<RecoverRecord>;
  /** Signs a record that brings no keys. */
  signedRecord(record: DirectoryRecord): Uint8Array;
  /** Makes and keeps tomorrow's prekey beside today's; the leaf announces them. */
  prekeyLeaf(nowMs: number, before: SiteKeys): Promise<Uint8Array>;
  /** The secret of a prekey or of a `static-N` epoch key; undefined when gone. */
  prekeySeed(id: PrekeyId): Promise<Uint8Array | undefined>;
  /** Destroys prekeys whose time is over. */
  forgetPrekeys(nowMs: number): Promise<void>;
}

/** Seeds of the note keys: what signs the program's own audit log, and what it cosigns others' with. */
export const OWN_LOG = 'own audit log';
const WITNESS = 'witness';
const LATTICE = ' ml-dsa-44';

/** What a rotation has just made, the one announced, and those in their overlap. */
const EPOCHS_MAX = 9;
interface KemPair {
  readonly epoch: number;
  readonly pair: XWingKeyPair;
}
interface HeldIdentity {
  readonly seed: Uint8Array;
  readonly identity: Identity;
}
const heldOf = (seed: Uint8Array): HeldIdentity => ({ seed, identity: createIdentity(seed) });
const openIdentity = async (store: Store, root: Uint8Array): Promise<HeldIdentity> =>
  heldOf((await store.get(CURRENT)) ?? root);

const noteSeedOf = (seed: Uint8Array, name: string): Uint8Array =>
  deriveKey(seed, utf8(name), 'qfl note signer');
const notePublicOf = (seed: Uint8Array, name: string) => ({
  ed25519: toBase64(ed25519SignerOf(noteSeedOf(seed, name)).publicKey),
  mldsa44: toBase64(lattice.signer(noteSeedOf(seed, name + LATTICE)).publicKey),
});

/** Is it time for the next epoch? */
export const isEpochDue = ({ kem: [newest] }: SiteKeys, nowMs: number, epochDays: number): boolean =>
  newest === undefined || nowMs >= newest.fromMs + epochDays * DAY_MS * RENEW_SHARE;

const epochKey = (epoch: number): string => `${KEM}${String(epoch).padStart(6, '0')}`;

const chain = (before: SiteKeys | undefined) => ({
  sequence: before === undefined ? 0 : before.sequence + 1,
  previous: before === undefined ? null : toHex(before.lastLeaf),
});
const readPrekey = (value: Uint8Array) => StoredPrekey.parse(JSON.parse(fromUtf8(value)));

export const hasVault = async (store: Pick<Store, 'get'>): Promise<boolean> =>
  (await store.get(ROOT)) !== undefined;

/** Makes the keys of a new program. @throws QflError `conflict` when there are some already */
export const createVault = async (store: Store, random: RandomBytes): Promise<Vault> => {
  if (await hasVault(store)) throw new QflError('conflict', { detail: 'this folder has keys already' });
  await store.write([
    { type: 'put', key: ROOT, value: random(SEED_BYTES) },
    { type: 'put', key: epochKey(0), value: random(SEED_BYTES) },
  ]);
  return openVault(store, random);
};

/** Destroys secrets: out of the files too, so that a copy of the disk does not open what was recorded; also when the program ends in between. */
const createShredder = (store: Store) => {
  return {
    /** Out of view. @param replacing secrets that take the place of others */
    drop: (gone: readonly string[], replacing: readonly StoreOperation[] = []): Promise<void> =>
      store.write([
        { type: 'put', key: UNSWEPT, value: new Uint8Array(0) },
        ...replacing,
        ...gone.map((key): StoreOperation => ({ type: 'del', key })),
      ]),
    /** Out of the files: what was dropped now, and what a crash left. */
    async sweep(): Promise<void> {
      if ((await store.get(UNSWEPT)) === undefined) return;
      await store.compact('key/');
      await store.write([{ type: 'del', key: UNSWEPT }]);
    },
  };
};

/** Opens the keys of a program. @throws QflError `config_invalid` when there are none */
export const openVault = async (store: Store, random: RandomBytes): Promise<Vault> => {
  const seed = await store.get(ROOT);
  if (seed === undefined)
    throw new QflError('config_invalid', {
      detail: 'this folder holds no keys',
      next: 'Run "qfl coordinator init" or "qfl agent join" first.',
    });
  const shredder = createShredder(store);
  await shredder.sweep();
  let current = await openIdentity(store, seed);
  const identity: Identity = {
    get publicKeys() {
      return current.identity.publicKeys;
    },
    sign: (label, message) => current.identity.sign(label, message),
    signHybrid: (label, message) => current.identity.signHybrid(label, message),
  };
  const hedge = createHedge(deriveKey(seed, utf8('hedge'), 'qfl hedge secret'), random);

  // Today's prekey opens every question that comes; there are at most a few.
  const seeds = new Map<string, Uint8Array>();
  let forgettings = 0;

  const kemKeys = async () => {
    const found: { epoch: number; pair: XWingKeyPair }[] = [];
    for await (const { key, value } of store.list({ prefix: KEM, reverse: true, limit: EPOCHS_MAX }))
      found.push({ epoch: Number(key.slice(KEM.length)), pair: xwingKeyPair(value) });
    return found;
  };
  const newPrekey = (
    nowMs: number,
  ): { announced: PrekeyRecord['prekeys'][number]; operation: StoreOperation } => {
    const pair = xwingKeyPair(hedge.seed('prekey', utf8(String(nowMs)), SEED_BYTES));
    const id = PrekeyId.parse(toHex(hashOf('qfl prekey id', pair.publicKey)).slice(0, 16));
    const toMs = nowMs + PREKEY_LIFE_MS;
    const value = utf8(JSON.stringify({ seed: toBase64(pair.seed), toMs }));
    return {
      announced: { id, key: toBase64(pair.publicKey), fromMs: nowMs, toMs },
      operation: { type: 'put', key: `${PREKEY}${id}`, value },
    };
  };

  const noteSeed = (name: string): Uint8Array => noteSeedOf(seed, name);
  /** What an identity record says beside its place in the chain. */
  const brings = (from: HeldIdentity, epoch: KemPair, nowMs: number, epochDays = KEM_EPOCH_DAYS) => ({
    ed25519: toBase64(from.identity.publicKeys.ed25519),
    mldsa65: toBase64(from.identity.publicKeys.mldsa65),
    kem: {
      epoch: epoch.epoch,
      key: toBase64(epoch.pair.publicKey),
      fromMs: nowMs,
      toMs: nowMs + epochDays * DAY_MS + KEM_OVERLAP_MS,
    },
    witness: notePublicOf(from.seed, WITNESS),
    log: notePublicOf(seed, OWN_LOG),
  });
  /** Puts a secret that was drawn before aside, so that a new one can be drawn in its place. */
  const putAside = (prefix: string, secret: Uint8Array | undefined): StoreOperation[] =>
    secret === undefined
      ? []
      : [{ type: 'put', key: prefix + toHex(hashOf('qfl spare key', secret)).slice(0, 32), value: secret }];
  /** The epoch after the one in the chain: made, unless an attempt before has made it and it need not be `fresh`. */
  const nextEpoch = async ({ kem: [announced] }: SiteKeys, fresh: boolean): Promise<KemPair> => {
    const epoch = (announced?.epoch ?? -1) + 1;
    const kept = (await kemKeys()).find((one) => one.epoch === epoch);
    if (kept !== undefined && !fresh) return kept;
    const made = hedge.seed('kem epoch', utf8(String(epoch)), SEED_BYTES);
    await store.write([
      ...putAside(`${SPARE_KEM}${epoch}/`, kept?.pair.seed),
      { type: 'put', key: epochKey(epoch), value: made },
    ]);
    return { epoch, pair: xwingKeyPair(made) };
  };
  const nextIdentity = async (fresh: boolean): Promise<HeldIdentity> => {
    const kept = await store.get(NEXT);
    if (kept !== undefined && !fresh) return heldOf(kept);
    const made = hedge.seed('identity', new Uint8Array(0), SEED_BYTES);
    await store.write([...putAside(SPARE_IDENTITY, kept), { type: 'put', key: NEXT, value: made }]);
    return heldOf(made);
  };
  const listed = async (prefix: string): Promise<{ key: string; value: Uint8Array }[]> => {
    const found: { key: string; value: Uint8Array }[] = [];
    for await (const one of store.list({ prefix })) found.push(one);
    return found;
  };
  /** Takes an announced identity into force: usually the last one drawn. */
  const promote = async (keys: SiteKeys): Promise<boolean> => {
    const last = await store.get(NEXT);
    if (last === undefined) return false;
    const drawn = [{ key: NEXT, value: last }, ...(await listed(SPARE_IDENTITY))];
    for (const { value } of drawn) {
      const next = heldOf(value);
      if (toHex(next.identity.publicKeys.ed25519) !== toHex(keys.identity.ed25519)) continue;
      await shredder.drop(
        drawn.map(({ key }) => key),
        [{ type: 'put', key: CURRENT, value }],
      );
      current = next;
      await shredder.sweep();
      return true;
    }
    return false;
  };
  /** The newest epoch in the chain may be one that was put aside; the others that were drawn for its place are destroyed. */
  const settleEpoch = async ({ kem: [announced] }: SiteKeys): Promise<void> => {
    const spares = announced === undefined ? [] : await listed(`${SPARE_KEM}${announced.epoch}/`);
    if (announced === undefined || spares.length === 0) return;
    const taken = spares.filter(({ value }) =>
      equalConstantTime(xwingKeyPair(value).publicKey, announced.key),
    );
    await shredder.drop(
      spares.map(({ key }) => key),
      taken.map(({ value }) => ({ type: 'put', key: epochKey(announced.epoch), value })),
    );
    await shredder.sweep();
  };
  /** Destroys the epochs that nobody may use any more; true when there were some. */
  const destroyEpochs = async (keys: SiteKeys, nowMs: number): Promise<boolean> => {
    const newest = keys.kem[0]?.epoch ?? -1;
    const good = new Set(keys.kem.filter(({ toMs }) => nowMs < toMs).map(({ epoch }) => epoch));
    const gone: string[] = [];
    for await (const key of store.keys({ prefix: KEM })) {
      const epoch = Number(key.slice(KEM.length));
      if (epoch < newest && !good.has(epoch)) gone.push(key);
    }
    if (gone.length === 0) return false;
    await shredder.drop(gone);
    await shredder.sweep();
    return true;
  };
  const destroyPrekeys = async (isOver: (id: string, toMs: number) => boolean): Promise<void> => {
    forgettings += 1;
    const gone: string[] = [];
    for (const { key, value } of await listed(PREKEY))
      if (isOver(key.slice(PREKEY.length), readPrekey(value).toMs)) gone.push(key);
    if (gone.length > 0) await shredder.drop(gone);
    forgettings += 1;
    if (gone.length > 0) seeds.clear();
    await shredder.sweep();
  };
  /**
   * After an emergency, or a recovery, no prekey of before counts: told by the chain, and not by what has just changed, so that a crash in between does
   * not keep any. One that was made since and is not in the chain yet stays.
   */
  const destroyStolen = async (
    { prekeys, past: [last], sinceMs }: SiteKeys,
    nowMs: number,
  ): Promise<void> => {
    if (prekeys.length > 0 && (last === undefined || last.takenToMs > last.endMs)) return;
    const announced = new Set<string>(prekeys.map(({ id }) => id));
    await destroyPrekeys(
      (id, toMs) => toMs <= nowMs || (toMs - PREKEY_LIFE_MS < sinceMs && !announced.has(id)),
    );
  };

  return {
    identity,
    identityNow: () => current.identity,
    hedge,
    kemKeys,
    noteSeed,
    logSigner: (origin, key = origin) => ({
      signer: ed25519NoteSigner(origin, noteSeed(key)),
      cosigner: mldsa44Cosigner(origin, noteSeed(key + LATTICE)),
    }),
    cosigners: (name) => [
      // Of the identity in force: a stolen one must not go on as a witness.
      ed25519Cosigner(name, noteSeedOf(current.seed, WITNESS)),
      mldsa44Cosigner(name, noteSeedOf(current.seed, WITNESS + LATTICE)),
    ],
    secretFor: (purpose) => deriveKey(seed, utf8(purpose), 'qfl secret for'),
    async identityLeaf(site, nowMs, before) {
      const [newest] = await kemKeys();
      assert(newest !== undefined, 'a vault has a KEM key');
      const record: IdentityRecord = {
        v: 1,
        site,
        ...chain(before),
        atMs: nowMs,
        kind: before === undefined ? 'enrol' : 'rotate',
        ...brings(current, newest, nowMs),
      };
      return signLeaf(record, identity, before === undefined ? {} : { previous: identity });
    },
    async rotationLeaf(kind, nowMs, before, epochDays) {
      // What was drawn before an emergency may have been copied with the rest.
      const isFresh = kind === 'emergency';
      const epoch = await nextEpoch(before, isFresh);
      const next = kind === 'kem' ? current : await nextIdentity(isFresh);
      const record: DirectoryRecord = {
        v: 1,
        site: before.site,
        ...chain(before),
        atMs: nowMs,
        kind: 'rotate',
        ...brings(next, epoch, nowMs, epochDays),
        ...(kind === 'emergency' ? { emergency: true as const } : {}),
      };
      return signLeaf(record, next.identity, { previous: current.identity });
    },
    async settle(keys, nowMs) {
      const isNew = await promote(keys);
      // While another identity has the name, as before a recovery comes into force, the chain says nothing of these keys.
      if (toHex(keys.identity.ed25519) !== toHex(current.identity.publicKeys.ed25519)) return false;
      await settleEpoch(keys);
      const isRid = await destroyEpochs(keys, nowMs);
      await destroyStolen(keys, nowMs);
      return isNew || isRid;
    },
    async recoveryRecord(site, { atMs, fromMs }, before) {
      const [epoch] = await kemKeys();
      assert(epoch !== undefined, 'a vault has a KEM key');
      const brought = brings(current, epoch, atMs);
      const kem = { ...brought.kem, toMs: brought.kem.toMs + (fromMs - atMs) };
      return { v: 1, site, ...chain(before), atMs, kind: 'recover', ...brought, kem, fromMs };
    },
    signedRecord: (record) => signLeaf(record, current.identity),
    async prekeyLeaf(nowMs, before) {
      const made = newPrekey(nowMs);
      // The secret is durable before anybody can seal to it.
      await store.write([made.operation]);
      const kept = before.prekeys.filter(({ toMs }) => toMs > nowMs).slice(-1);
      const prekeys = [
        ...kept.map(({ id, key, fromMs, toMs }) => ({ id, key: toBase64(key), fromMs, toMs })),
        made.announced,
      ];
      const record: PrekeyRecord = {
        v: 1,
        site: before.site,
        ...chain(before),
        atMs: nowMs,
        kind: 'prekeys',
        prekeys,
      };
      return signLeaf(record, identity);
    },
    async prekeySeed(id) {
      const [, epoch] = /^static-(\d+)$/.exec(id) ?? [];
      if (epoch !== undefined) return store.get(epochKey(Number(epoch)));
      const held = seeds.get(id);
      if (held !== undefined) return held;
      const forgettingsBefore = forgettings;
      const value = await store.get(`${PREKEY}${id}`);
      if (value === undefined) return undefined;
      const opened = fromBase64(readPrekey(value).seed);
      // A prekey that was read while others were destroyed may be one of them: it must not live on in here.
      if (forgettings === forgettingsBefore) seeds.set(id, opened);
      return opened;
    },
    forgetPrekeys: (nowMs) => destroyPrekeys((_id, toMs) => toMs <= nowMs),
  };
};
