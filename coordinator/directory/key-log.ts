/**
 * The key directory at the coordinator: an append-only, signed tree of the sites' own records. It accepts what every agent
 * will accept, no more; so a record that gets in here does not make the agents refuse the tree.
 */
import type { AppendLog } from '../../shared/audit/log.ts';
import { toHex } from '../../shared/bytes.ts';
import { applyLeaf, type DirectoryState, type SiteKeys } from '../../shared/directory/chain.ts';
import { COORDINATOR_NAME, parseLeaf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';

export interface KeyLog {
  readonly log: AppendLog;
  readonly state: DirectoryState;
  /**
   * Appends a record of `site`, durably.
   * @throws QflError `forbidden` for another's name, and whatever `applyLeaf` refuses
   */
  publish(site: SiteId, leaf: Uint8Array): Promise<number>;
  /** Takes a record as a hospital's mirror has it: after a restore. @throws QflError whatever `applyLeaf` refuses */
  adopt(leaf: Uint8Array): Promise<void>;
  /** The site whose identity leaf this is, unless it was revoked or its KEM epoch ended. */
  siteOfLeaf(leafHash: Uint8Array, nowMs: number): { keys: SiteKeys; key: Uint8Array } | undefined;
  /** Told of each new size. */
  onGrowth(listener: (size: number) => void): void;
}

export const openKeyLog = async (log: AppendLog): Promise<KeyLog> => {
  let state: DirectoryState = new Map();
  for await (const { leaf } of log.entries()) state = applyLeaf(state, leaf);
  const listeners: ((size: number) => void)[] = [];
  // Records are applied one after another: two of the same site at once must not both follow the same last one.
  let turn: Promise<unknown> = Promise.resolve();

  const append = async (site: SiteId, leaf: Uint8Array): Promise<number> => {
    const { record } = parseLeaf(leaf);
    if (record.site !== site && !(record.kind === 'revoke' && site === COORDINATOR_NAME))
      throw new QflError('forbidden', { detail: `a record of ${record.site} cannot come from ${site}` });
    const next = applyLeaf(state, leaf);
    const { index } = await log.append({ leaf });
    state = next;
    for (const listener of listeners) listener(log.size);
    return index;
  };

  return {
    log,
    get state() {
      return state;
    },
    publish(site, leaf) {
      const result = turn.then(() => append(site, leaf));
      turn = result.catch(() => undefined);
      return result;
    },
    async adopt(leaf) {
      const next = applyLeaf(state, leaf);
      await log.append({ leaf });
      state = next;
    },
    siteOfLeaf(leafHash, nowMs) {
      const name = toHex(leafHash);
      for (const keys of state.values()) {
        const epoch = keys.kem.find((one) => toHex(one.leafHash) === name);
        if (epoch === undefined) continue;
        const inForce = keys.revokedMs === undefined && nowMs < epoch.toMs;
        return inForce ? { keys, key: epoch.key } : undefined;
      }
      return undefined;
    },
    onGrowth: (listener) => void listeners.push(listener),
  };
};
