/** The directory as people look at it: one's own keys, and everybody's. */
import { equalConstantTime, toHex } from '../bytes.ts';
import { DAY_MS } from '../clock.ts';
import type { SiteId } from '../ids.ts';
import { RENEW_SHARE, type Vault } from '../keys/vault.ts';
import type { Comparison, OwnKeysShown, SiteKeysShown } from '../wire/keys.ts';
import { type DirectoryState, inForceAt, type SiteKeys } from './chain.ts';
import { COORDINATOR_NAME, fingerprintOf, fingerprintPhrase } from './record.ts';

type Identity = SiteKeys['identity'];
export const phraseOf = (identity: Identity): string => fingerprintPhrase(fingerprintOf(identity));

const recoveringOf = ({ recovering }: SiteKeys): SiteKeysShown['recovering'] =>
  recovering === undefined
    ? null
    : { phrase: phraseOf(recovering.brought.identity), fromMs: recovering.fromMs };

const isIdentity = (left: Identity, right: Identity): boolean =>
  equalConstantTime(fingerprintOf(left), fingerprintOf(right));

const standingOf = (keys: SiteKeys | undefined, own: Identity): OwnKeysShown['standing'] => {
  if (keys === undefined) return 'not_in_directory';
  if (keys.recovering !== undefined && isIdentity(keys.recovering.brought.identity, own)) return 'waiting';
  if (!isIdentity(keys.identity, own)) return 'foreign';
  return keys.revokedMs === undefined ? 'in_force' : 'revoked';
};

export interface OwnView {
  readonly name: SiteId;
  readonly vault: Vault;
  readonly directory: DirectoryState;
  readonly nowMs: number;
  readonly epochDays: number;
}

/** This program's keys: what the directory says of them, and which secrets are here. */
export const showOwnKeys = async ({
  name,
  vault,
  directory,
  nowMs,
  epochDays,
}: OwnView): Promise<OwnKeysShown> => {
  const { publicKeys } = vault.identity;
  const known = directory.get(name);
  const keys = known === undefined ? undefined : inForceAt(known, nowMs);
  const pairs = await vault.kemKeys();
  const holds = (key: Uint8Array): boolean =>
    pairs.some(({ pair }) => equalConstantTime(pair.publicKey, key));
  const prekeys = [];
  for (const { id, fromMs, toMs } of keys?.prekeys ?? [])
    prekeys.push({ id, fromMs, toMs, held: (await vault.prekeySeed(id)) !== undefined });
  const [newest] = keys?.kem ?? [];
  return {
    program: name === COORDINATOR_NAME ? 'coordinator' : 'agent',
    name,
    fingerprint: toHex(fingerprintOf(publicKeys)),
    phrase: phraseOf(publicKeys),
    standing: standingOf(keys, publicKeys),
    identitySinceMs: keys?.sinceMs ?? null,
    pastIdentities: (keys?.past ?? []).map(({ identity, fromMs, endMs }) => ({
      phrase: phraseOf(identity),
      fromMs,
      endMs,
    })),
    epochs: (keys?.kem ?? [])
      .filter(({ toMs }) => nowMs < toMs)
      .map(({ epoch, key, fromMs, toMs }) => ({ epoch, fromMs, toMs, held: holds(key) })),
    nextEpochMs: newest === undefined ? null : newest.fromMs + epochDays * DAY_MS * RENEW_SHARE,
    prekeys,
    recovering: keys === undefined ? null : recoveringOf(keys),
  };
};

export interface SitesView {
  /** All that is known. */
  readonly seen: DirectoryState;
  /** What is in use. */
  readonly state: DirectoryState;
  readonly nowMs: number;
  readonly compared: (keys: SiteKeys) => {
    readonly comparison: Comparison;
    readonly comparedMs: number | null;
  };
}

/** Everybody in the directory, the coordinator too. */
export const showSites = ({ seen, state, nowMs, compared }: SitesView): SiteKeysShown[] =>
  [...seen.values()].map((last) => {
    const used = state.get(last.site);
    const keys = inForceAt(used ?? last, nowMs);
    const [epoch] = keys.kem;
    return {
      site: keys.site,
      phrase: phraseOf(keys.identity),
      identitySinceMs: keys.sinceMs,
      epoch: epoch?.epoch ?? null,
      epochToMs: epoch?.toMs ?? null,
      prekeyToMs: keys.prekeys.at(-1)?.toMs ?? null,
      confirmed: used !== undefined,
      revoked: keys.revokedMs !== undefined,
      suspended: keys.suspended ?? null,
      // What waits is shown as soon as it is seen: whoever can object should hear of it at once.
      recovering: recoveringOf(inForceAt(last, nowMs)),
      ...compared(keys),
    };
  });
