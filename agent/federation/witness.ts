/**
 * The agent as a witness of the federation's logs: the directory, the coordinator's audit log, and other sites' audit logs. It remembers
 * before it signs. Of the directory it cosigns only what it has mirrored whole and checked: chains, own name, root.
 */
import { baseOrigin } from '../../shared/audit/origin.ts';
import { renamed, type VerifierKey } from '../../shared/audit/verifier-key.ts';
import { ADD_CHECKPOINT_BYTES_MAX, createWitness, type Witness } from '../../shared/audit/witness.ts';
import { equalConstantTime, fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { logKeysOf, siteLogOrigin, witnessName } from '../../shared/directory/quorum.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import type { Store } from '../../shared/store/port.ts';
import type { Handler } from '../../shared/wire/peer.ts';
import type { WitnessReplyHeader } from '../../shared/wire/session.ts';
import type { DirectoryMirror } from './directory.ts';
import type { Lockdown } from './lockdown.ts';

export interface AgentWitnessOptions {
  readonly store: Store;
  readonly vault: Vault;
  readonly self: SiteId;
  readonly federation: string;
  readonly keysLog: readonly VerifierKey[];
  readonly auditLog: readonly VerifierKey[];
  readonly mirror: DirectoryMirror;
  readonly lockdown: Lockdown;
  readonly clock: Clock;
  /** Brings the mirror up to date over the connection there is. */
  sync(): Promise<void>;
  /** A log has two histories; `note` is signed by it. */
  forked(origin: string, note: string): void;
}

export const createAgentWitness = (options: AgentWitnessOptions): { witness: Witness; handler: Handler } => {
  const { store, vault, self, federation, keysLog, auditLog, mirror, lockdown, clock } = options;
  const [keysOrigin, auditOrigin] = [keysLog[0]?.name, baseOrigin(auditLog[0]?.name ?? '')];
  const siteKeys = (origin: string): readonly VerifierKey[] | undefined => {
    const base = baseOrigin(origin);
    const keys = [...mirror.state.values()].find(({ site }) => siteLogOrigin(federation, site) === base);
    // A site's word about its own log is no witness.
    return keys === undefined || keys.site === self ? undefined : logKeysOf(origin, keys.log);
  };
  const witness = createWitness({
    store,
    prefix: 'witness/',
    cosigners: () => vault.cosigners(witnessName(federation, self)),
    nowMs: () => clock.nowMs(),
    keysOf(origin) {
      if (origin === keysOrigin) return keysLog;
      if (baseOrigin(origin) !== auditOrigin) return siteKeys(origin);
      // A restored coordinator goes on under the next name, with the same key.
      return auditLog.map((key) => renamed(key, origin));
    },
    async approve({ origin, size, root }) {
      lockdown.require();
      if (origin !== keysOrigin) return;
      if (mirror.checkpoint.size < size) await options.sync();
      // The own-name watch may have found something while the leaves came in.
      lockdown.require();
      const mine = mirror.rootAt(size);
      if (mine === undefined)
        throw new QflError('not_ready', { detail: `the directory of size ${size} is not mirrored here` });
      if (!equalConstantTime(mine, root))
        throw new QflError('key_changed', {
          detail: 'the checkpoint is not of the leaves that were sent here',
        });
    },
    forked: ({ origin }, note) => options.forked(origin, note),
  });
  const handler: Handler = {
    kind: 'plain',
    async answer({ payload }) {
      if (payload.byteLength > ADD_CHECKPOINT_BYTES_MAX)
        throw new QflError('too_large', { detail: 'an add-checkpoint request' });
      const reply = await witness.addCheckpoint(fromUtf8(payload));
      const header: WitnessReplyHeader =
        reply.status === 409
          ? { status: 409, size: reply.size }
          : { status: reply.status, ...(reply.status === 200 ? {} : { detail: reply.detail }) };
      return reply.status === 200 ? { header, payload: utf8(reply.lines) } : { header };
    },
  };
  return { witness, handler };
};
