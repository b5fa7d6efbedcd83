/**
 * A sealed question from another site, served here: opened, checked against this site's own policy, run, and its answer sealed
 * to the asker. This site decides; whatever it refuses, it refuses with a signed receipt and a reason code.
 */
import { toBase64 } from '../../shared/bytes.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { type Clock, CLOCK_SKEW_MS } from '../../shared/clock.ts';
import { decodeSealedQuery, type OpenedQuery, openQuery } from '../../shared/crypto/sealed-query.ts';
import { identitiesNow, requireSite } from '../../shared/directory/chain.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import type { Call, Reply } from '../../shared/wire/peer.ts';
import { type AccessPolicy, mayArrive } from '../access/policy.ts';
import type { DirectoryMirror } from '../federation/directory.ts';
import { makeReceipt } from './receipts.ts';

export interface ServeOptions {
  readonly self: SiteId;
  readonly policy: AccessPolicy;
  readonly vault: Vault;
  readonly mirror: DirectoryMirror;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** Brings the mirror up to date; asked once when a question comes from a site that it does not know yet. */
  refreshDirectory(): Promise<void>;
  /** May the directory be relied on? @throws QflError `directory_stale`, `lockdown` */
  directoryReady(): Promise<void>;
  /** How questions of each kind are answered; the pieces are sealed already. */
  readonly answers: Readonly<
    Record<'chat' | 'stats', (opened: OpenedQuery, signal: AbortSignal) => AsyncIterable<Reply>>
  >;
}

/** The asker names the directory it sealed by: a coordinator that shows two sites two histories is found out by their questions. */
const checkSameHistory = ({ content }: OpenedQuery, mirror: DirectoryMirror): void => {
  const mine = mirror.rootAt(content.checkpoint.size);
  if (mine === undefined || toBase64(mine) === content.checkpoint.root) return;
  throw new QflError('key_changed', {
    detail: 'the asking site was shown another key directory than this one',
    next: 'The coordinator may show two histories. Call its operator and the other hospital.',
  });
};

export const createServe = (options: ServeOptions) => {
  const { self, policy, vault, mirror, audit, clock } = options;

  const checkTime = ({ envelope }: OpenedQuery): void => {
    const nowMs = clock.nowMs();
    if (envelope.expiresMs < nowMs - CLOCK_SKEW_MS || envelope.createdMs > nowMs + CLOCK_SKEW_MS) {
      throw new QflError('expired', {
        detail: 'the question is not of this time',
        next: 'Check the clocks of both machines.',
      });
    }
  };
  const openIt = async (payload: Uint8Array): Promise<OpenedQuery> => {
    const open = () =>
      openQuery(decodeSealedQuery(payload), {
        self,
        prekeySeed: (id) => vault.prekeySeed(id),
        identitiesOf: (site) => identitiesNow(requireSite(mirror.state, site, clock.nowMs()), clock.nowMs()),
      });
    try {
      return await open();
    } catch (error) {
      // A site that joined, or took a new identity, a moment ago may ask before its record has come here.
      const { code } = toQflError(error);
      if (code !== 'unknown_key' && code !== 'bad_signature') throw error;
      await options.refreshDirectory();
      return open();
    }
  };
  const refuse = (opened: OpenedQuery, thrown: unknown): QflError => {
    const error = toQflError(thrown);
    const { queryId } = opened.envelope;
    const receipt = makeReceipt(
      {
        queryId,
        queryHash: opened.hash,
        site: self,
        outcome: 'refused',
        reason: error.code,
        answerHash: null,
        spend: 0n,
        atMs: clock.nowMs(),
      },
      vault.identity,
    );
    return new QflError(error.code, {
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.next === undefined ? {} : { next: error.next }),
      facts: { ...error.facts, receipt },
      cause: thrown,
    });
  };

  return async function* serve(call: Call): AsyncGenerator<Reply> {
    const opened = await openIt(call.payload);
    const { envelope, content } = opened;
    const common = {
      actor: content.asker,
      role: content.role,
      classification: content.dataClass,
      purpose: content.purpose,
      requestId: envelope.queryId,
      objects: [{ kind: 'site', id: envelope.sender }],
    };
    const actions = { chat: 'chat.served', stats: 'stats.served' } as const;
    let begun = false;
    try {
      checkTime(opened);
      await options.directoryReady();
      checkSameHistory(opened, mirror);
      if (!mayArrive(policy, content.dataClass, envelope.sender))
        throw new QflError('refused_by_site', {
          detail: `${self} does not accept ${content.dataClass} questions from ${envelope.sender}`,
        });
      const logged = audit.record({ action: actions[envelope.kind], outcome: 'begun', ...common });
      logged.catch(() => undefined);
      for await (const piece of options.answers[envelope.kind](opened, call.signal)) {
        // The entry was begun beside the work; nothing of the answer leaves before it is on the disk.
        await logged;
        begun = true;
        yield piece;
      }
      await audit.record({ action: actions[envelope.kind], outcome: 'ok', ...common });
    } catch (thrown) {
      await audit.record({
        action: actions[envelope.kind],
        outcome: begun ? 'failed' : 'refused',
        ...common,
      });
      throw begun ? thrown : refuse(opened, thrown);
    }
  };
};
