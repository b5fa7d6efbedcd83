/**
 * A program's own keys, kept in its encrypted store: identity, KEM epochs, daily prekeys, and the secret behind hedged randomness.
 */
import { DAY_MS } from '../clock.ts';
import { fromBase64, toBase64, toHex, utf8, fromUtf8 } from '../bytes.ts';
import { deriveKey, hashOf } from '../crypto/hash.ts';
import { createIdentity, ed25519SignerOf, type Identity } from '../crypto/signature.ts';
import { createHedge, type Hedge, type XWingKeyPair, xwingKeyPair } from '../crypto/xwing.ts';
import type { SiteKeys } from '../directory/chain.ts';
import { type IdentityRecord, type PrekeyRecord, signLeaf } from '../directory/record.ts';
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
const IDENTITY = 'key/identity';
const KEM = 'key/kem/';
const PREKEY = 'key/prekey/';
export const KEM_EPOCH_MS = 90 * DAY_MS;
export const KEM_OVERLAP_MS = 7 * DAY_MS;
export const PREKEY_LIFE_MS = 2 * DAY_MS;

const StoredPrekey = z.strictObject({ seed: z.base64(), toMs: z.int() });

export interface Vault {
  readonly identity: Identity;
  readonly hedge: Hedge;
  /** 32-byte seed of the key that signs this program's log of that name. */
  noteSeed(name: string): Uint8Array;
  /** 32-byte key for one purpose, bound to this program's identity: pseudonyms, blinding. */
  secretFor(purpose: string): Uint8Array;
  /** KEM keys of epochs in force, newest first. */
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

const epochKey = (epoch: number): string => `${KEM}${String(epoch).padStart(6, '0')}`;

const chain = (before: SiteKeys | undefined) => ({
  sequence: before === undefined ? 0 : before.sequence + 1,
  previous: before === undefined ? null : toHex(before.lastLeaf),
});
const readPrekey = (value: Uint8Array) => StoredPrekey.parse(JSON.parse(fromUtf8(value)));

/** Makes the keys of a new program. @throws QflError `conflict` when there are some already */
export const createVault = async (store: Store, random: RandomBytes): Promise<Vault> => {
  if ((await store.get(IDENTITY)) !== undefined)
    throw new QflError('conflict', { detail: 'this folder has keys already' });
  await store.write([
    { type: 'put', key: IDENTITY, value: random(SEED_BYTES) },
    { type: 'put', key: epochKey(0), value: random(SEED_BYTES) },
  ]);
  return openVault(store, random);
};

/** Opens the keys of a program. @throws QflError `config_invalid` when there are none */
export const openVault = async (store: Store, random: RandomBytes): Promise<Vault> => {
  const seed = await store.get(IDENTITY);
  if (seed === undefined)
    throw new QflError('config_invalid', {
      detail: 'this folder holds no keys',
      next: 'Run "qfl coordinator init" or "qfl agent join" first.',
    });
  const identity = createIdentity(seed);
  const hedge = createHedge(deriveKey(seed, utf8('hedge'), 'qfl hedge secret'), random);

  // Today's prekey opens every question that comes; there are at most a few.
  const seeds = new Map<string, Uint8Array>();
  let forgettings = 0;

  const kemKeys = async () => {
    const found: { epoch: number; pair: XWingKeyPair }[] = [];
    for await (const { key, value } of store.list({ prefix: KEM, reverse: true, limit: 2 }))
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

  const noteSeed = (name: string): Uint8Array => deriveKey(seed, utf8(name), 'qfl note signer');
  const notePublic = (name: string) => ({
    ed25519: toBase64(ed25519SignerOf(noteSeed(name)).publicKey),
    mldsa44: toBase64(lattice.signer(noteSeed(name + LATTICE)).publicKey),
  });

  return {
    identity,
    hedge,
    kemKeys,
    noteSeed,
    logSigner: (origin, key = origin) => ({
      signer: ed25519NoteSigner(origin, noteSeed(key)),
      cosigner: mldsa44Cosigner(origin, noteSeed(key + LATTICE)),
    }),
    cosigners: (name) => [
      ed25519Cosigner(name, noteSeed(WITNESS)),
      mldsa44Cosigner(name, noteSeed(WITNESS + LATTICE)),
    ],
    secretFor: (purpose) => deriveKey(seed, utf8(purpose), 'qfl secret for'),
    async identityLeaf(site, nowMs, before) {
      const [newest] = await kemKeys();
      assert(newest !== undefined, 'a vault has a KEM key');
      const { publicKeys } = identity;
      const kem = {
        epoch: newest.epoch,
        key: toBase64(newest.pair.publicKey),
        fromMs: nowMs,
        toMs: nowMs + KEM_EPOCH_MS + KEM_OVERLAP_MS,
      };
      const record: IdentityRecord = {
        v: 1,
        site,
        ...chain(before),
        atMs: nowMs,
        kind: before === undefined ? 'enrol' : 'rotate',
        ed25519: toBase64(publicKeys.ed25519),
        mldsa65: toBase64(publicKeys.mldsa65),
        kem,
        witness: notePublic(WITNESS),
        log: notePublic(OWN_LOG),
      };
      return signLeaf(record, identity, before === undefined ? {} : { previous: identity });
    },
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
    async forgetPrekeys(nowMs) {
      forgettings += 1;
      const gone: StoreOperation[] = [];
      for await (const { key, value } of store.list({ prefix: PREKEY }))
        if (readPrekey(value).toMs <= nowMs) gone.push({ type: 'del', key });
      if (gone.length > 0) await store.write(gone);
      forgettings += 1;
      seeds.clear();
    },
  };
};
