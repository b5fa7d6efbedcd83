/** Which sites there are and how they stand; their keys are in the directory. */
import { z } from 'zod';
import { fromBase64, fromUtf8, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { type Identity, type IdentityPublic } from '../../shared/crypto/signature.ts';
import { inForceAt, type SiteKeys } from '../../shared/directory/chain.ts';
import {
  COORDINATOR_NAME,
  directoryLeafHash,
  fingerprintOf,
  fingerprintPhrase,
  identityOf,
  parseLeaf,
  signLeaf,
} from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';
import type { KeyLog } from '../directory/key-log.ts';

const PREFIX = 'site/';

const SiteEntry = z.strictObject({
  site: SiteId,
  status: z.enum(['pending', 'approved', 'revoked']),
  /** The identity leaf as the site signed it, base64. */
  leaf: z.base64(),
  fingerprint: z.string(),
  joinedMs: z.int(),
  approvedMs: z.int().nullable(),
  revokedMs: z.int().nullable(),
});
export type SiteEntry = z.infer<typeof SiteEntry>;

export interface KnownSite {
  readonly site: SiteId;
  readonly identity: IdentityPublic;
  /** X-Wing static key. */
  readonly key: Uint8Array;
  readonly status: 'pending' | 'approved';
}

export interface Registry {
  /** @throws QflError `not_found` */
  get(site: SiteId): SiteEntry;
  list(): readonly SiteEntry[];
  /** A new site with its verified identity leaf. @throws QflError `conflict` when the name is taken */
  add(site: SiteId, leaf: Uint8Array): Promise<SiteEntry>;
  /** Puts the site's identity into the directory. @throws QflError `conflict`, `not_found` */
  approve(site: SiteId): Promise<SiteEntry>;
  /** Takes its keys out of force, for good. @throws QflError `conflict`, `not_found` */
  revoke(site: SiteId, reason: string): Promise<SiteEntry>;
  /** The site that holds the key of an identity leaf, pending ones included. */
  ofLeaf(leafHash: Uint8Array): KnownSite | undefined;
}

const fromKeys = (keys: SiteKeys, key: Uint8Array): KnownSite => ({
  site: keys.site,
  identity: keys.identity,
  key,
  status: 'approved',
});

const fromLeaf = (entry: SiteEntry): KnownSite => {
  const { record } = parseLeaf(fromBase64(entry.leaf));
  if (record.kind !== 'enrol')
    throw new QflError('internal', { detail: 'a pending site without an identity record' });
  return {
    site: entry.site,
    identity: identityOf(record),
    key: fromBase64(record.kem.key),
    status: 'pending',
  };
};

const phraseOf = (leaf: Uint8Array): string => {
  const { record } = parseLeaf(leaf);
  if (record.kind !== 'enrol')
    throw new QflError('protocol', { detail: 'an enrolment needs an identity record' });
  return fingerprintPhrase(fingerprintOf(identityOf(record)));
};

export const openRegistry = async (
  store: Store,
  keyLog: KeyLog,
  identity: Identity,
  clock: Clock,
): Promise<Registry> => {
  const entries = new Map<SiteId, SiteEntry>();
  for await (const { value } of store.list({ prefix: PREFIX })) {
    const entry = SiteEntry.parse(JSON.parse(fromUtf8(value)));
    entries.set(entry.site, entry);
  }
  const save = async (entry: SiteEntry): Promise<SiteEntry> => {
    await store.write([{ type: 'put', key: PREFIX + entry.site, value: utf8(JSON.stringify(entry)) }]);
    entries.set(entry.site, entry);
    return entry;
  };
  /** As the directory has it: identities change, and a site that was revoked may have recovered. */
  const current = (entry: SiteEntry): SiteEntry => {
    const known = keyLog.state.get(entry.site);
    if (known === undefined) return entry;
    const keys = inForceAt(known, clock.nowMs());
    // New keys alone do not bring a name back: two other sites have to have vouched for them since.
    const isBack =
      entry.status === 'revoked' &&
      keys.revokedMs === undefined &&
      (keys.recoveredMs ?? -Infinity) >= (entry.revokedMs ?? 0);
    return {
      ...entry,
      fingerprint: fingerprintPhrase(fingerprintOf(keys.identity)),
      ...(isBack ? { status: 'approved' as const, revokedMs: null } : {}),
    };
  };
  const find = (site: SiteId): SiteEntry | undefined => {
    const entry = entries.get(site);
    return entry === undefined ? undefined : current(entry);
  };
  const get = (site: SiteId): SiteEntry => {
    const entry = find(site);
    if (entry === undefined)
      throw new QflError('not_found', { detail: `there is no site ${site}`, next: 'See "qfl site list".' });
    return entry;
  };
  const revocationLeaf = (keys: SiteKeys, reason: string): Uint8Array =>
    signLeaf(
      {
        v: 1,
        kind: 'revoke',
        site: keys.site,
        by: COORDINATOR_NAME,
        sequence: keys.sequence + 1,
        previous: toHex(keys.lastLeaf),
        atMs: clock.nowMs(),
        reason,
      },
      identity,
    );

  return {
    get,
    list: () =>
      [...entries.values()].map(current).toSorted((left, right) => (left.site < right.site ? -1 : 1)),
    add(site, leaf) {
      if (entries.has(site) || keyLog.state.has(site))
        throw new QflError('conflict', {
          detail: `the name ${site} is taken`,
          next: 'Invite the site under another name.',
        });
      return save({
        site,
        status: 'pending',
        leaf: toBase64(leaf),
        fingerprint: phraseOf(leaf),
        joinedMs: clock.nowMs(),
        approvedMs: null,
        revokedMs: null,
      });
    },
    async approve(site) {
      const entry = get(site);
      if (entry.status !== 'pending')
        throw new QflError('conflict', { detail: `${site} is ${entry.status} already` });
      // After a crash between the two writes the leaf is in the directory and the entry still says pending: approving again finishes.
      if (!keyLog.state.has(site)) await keyLog.publish(site, fromBase64(entry.leaf));
      return save({ ...entry, status: 'approved', approvedMs: clock.nowMs() });
    },
    async revoke(site, reason) {
      const entry = get(site);
      if (entry.status === 'revoked')
        throw new QflError('conflict', { detail: `${site} is revoked already` });
      const keys = keyLog.state.get(site);
      if (keys !== undefined && keys.revokedMs === undefined)
        await keyLog.publish(COORDINATOR_NAME, revocationLeaf(keys, reason));
      return save({ ...entry, status: 'revoked', revokedMs: clock.nowMs() });
    },
    ofLeaf(leafHash) {
      const known = keyLog.siteOfLeaf(leafHash, clock.nowMs());
      if (known !== undefined)
        return find(known.keys.site)?.status === 'approved' ? fromKeys(known.keys, known.key) : undefined;
      const name = toHex(leafHash);
      const pending = [...entries.values()].find(
        (entry) => entry.status === 'pending' && toHex(directoryLeafHash(fromBase64(entry.leaf))) === name,
      );
      return pending === undefined ? undefined : fromLeaf(pending);
    },
  };
};
