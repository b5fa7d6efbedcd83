/**
 * The key directory at the coordinator: an append-only, signed tree of the sites' own records. It accepts what every agent
 * will accept, no more; so a record that gets in here does not make the agents refuse the tree.
 */
import type { AppendLog } from '../../shared/audit/log.ts';
import { toHex } from '../../shared/bytes.ts';
import {
  type Applied,
  inForceAt,
  keysAfter,
  type DirectoryState,
  type SiteKeys,
} from '../../shared/directory/chain.ts';
import { bringsIdentity, COORDINATOR_NAME, parseLeaf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { createSerial } from '../../shared/serial.ts';

export interface KeyLog {
  readonly log: AppendLog;
  readonly state: DirectoryState;
  /**
   * Appends a record of `site`, durably.
   * @throws QflError `forbidden` for another's name, and whatever `keysAfter` refuses
   */
  publish(site: SiteId, leaf: Uint8Array): Promise<number>;
  /** Takes a record as a hospital's mirror has it: after a restore. @throws QflError whatever `keysAfter` refuses */
  adopt(leaf: Uint8Array): Promise<void>;
  /** The site whose identity leaf this is, unless it was revoked or its KEM epoch ended. */
  siteOfLeaf(leafHash: Uint8Array, nowMs: number): { keys: SiteKeys; key: Uint8Array } | undefined;
  /** The newest leaf that brought an identity or an epoch of that name; empty when there is none. */
  identityLeaf(site: SiteId): Promise<Uint8Array>;
  /** Told of each new size. */
  onGrowth(listener: (size: number) => void): void;
}

export const openKeyLog = async (log: AppendLog): Promise<KeyLog> => {
  const opened = new Map<SiteId, SiteKeys>();
  /** Where the newest record stands that brought keys of a name. */
  const brought = new Map<SiteId, number>();
  const note = ({ record }: Applied, index: number): void => {
    if (bringsIdentity(record)) brought.set(record.site, index);
  };
  let counted = 0;
  for await (const { leaf } of log.entries()) {
    const applied = keysAfter(opened, leaf);
    opened.set(applied.keys.site, applied.keys);
    note(applied, counted++);
  }
  let state: DirectoryState = opened;
  /** Verified before it is written, and only once. Whoever reads the state of before goes on reading that. */
  const take = async (leaf: Uint8Array): Promise<number> => {
    const applied = keysAfter(state, leaf);
    const { index } = await log.append({ leaf });
    state = new Map(state).set(applied.keys.site, applied.keys);
    note(applied, index);
    return index;
  };
  const listeners: ((size: number) => void)[] = [];
  // Records are applied one after another: two of the same site at once must not both follow the same last one.
  const inTurn = createSerial();

  const append = async (site: SiteId, leaf: Uint8Array): Promise<number> => {
    const { record } = parseLeaf(leaf);
    // The coordinator brings revocations, and recoveries for those who have no key to come with: those it has looked at the time of.
    const isBrought = (record.kind === 'revoke' || record.kind === 'recover') && site === COORDINATOR_NAME;
    const isForeign = record.site !== site || record.kind === 'recover';
    if (isForeign && !isBrought)
      throw new QflError('forbidden', { detail: `a record of ${record.site} cannot come from ${site}` });
    const index = await take(leaf);
    for (const listener of listeners) listener(log.size);
    return index;
  };

  return {
    log,
    get state() {
      return state;
    },
    publish: (site, leaf) => inTurn(() => append(site, leaf)),
    adopt: (leaf) => inTurn(async () => void (await take(leaf))),
    siteOfLeaf(leafHash, nowMs) {
      const name = toHex(leafHash);
      for (const known of state.values()) {
        const keys = inForceAt(known, nowMs);
        const epoch = keys.kem.find((one) => toHex(one.leafHash) === name);
        if (epoch === undefined) continue;
        const inForce = keys.revokedMs === undefined && nowMs < epoch.toMs;
        return inForce ? { keys, key: epoch.key } : undefined;
      }
      return undefined;
    },
    async identityLeaf(site) {
      const index = brought.get(site);
      if (index !== undefined) for await (const { leaf } of log.entries(index, index + 1)) return leaf;
      return new Uint8Array(0);
    },
    onGrowth: (listener) => void listeners.push(listener),
  };
};
