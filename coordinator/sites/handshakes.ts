/**
 * What a handshake means at the coordinator: whose key a leaf is, whether a token is good, and what M3 must state. Verified facts
 * go into the log before they count.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { concat, equalConstantTime, fromBase64, toHex, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { HOUR_MS } from '../../shared/clock.ts';
import {
  answerHandshake,
  type CoordinatorWaiting,
  type Introduction,
  STATEMENT_LABEL,
} from '../../shared/crypto/handshake.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import {
  ED25519_SIGNATURE_BYTES,
  type IdentityPublic,
  verifySignature,
} from '../../shared/crypto/signature.ts';
import type { Hedge, XWingKeyPair } from '../../shared/crypto/xwing.ts';
import { keysAfter } from '../../shared/directory/chain.ts';
import { parseLeaf } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Welcome } from '../../shared/wire/session.ts';
import type { KeyLog } from '../directory/key-log.ts';
import { type Invitations, pskOf } from './invitations.ts';
import type { Registry } from './registry.ts';

export const REHANDSHAKE_MS = HOUR_MS;

export interface HandshakeDesk {
  /** M1 → M2. @throws QflError `handshake_refused` */
  answer(first: Uint8Array, socketId: string): Promise<CoordinatorWaiting>;
  /** Checks what M3 states. @throws QflError `handshake_refused`, `bad_signature` */
  verify(introduction: Introduction, statement: Uint8Array, transcriptHash: Uint8Array): SiteId;
  /** Makes it count: logs the session, or enrols the site. @throws QflError `token_refused`, `conflict` */
  admit(introduction: Introduction, statement: Uint8Array, transcriptHash: Uint8Array): Promise<void>;
}

export interface HandshakeDeskOptions {
  readonly keys: () => readonly XWingKeyPair[];
  readonly hedge: Hedge;
  readonly keyLog: KeyLog;
  readonly registry: Registry;
  readonly invitations: Invitations;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** How long a session may last before the agent has to run a fresh handshake. */
  readonly rehandshakeMs?: number;
}

const refuse = (detail: string): QflError => new QflError('handshake_refused', { detail });
const sessionName = (transcriptHash: Uint8Array): string => toHex(hashOf('qfl session', transcriptHash));

/** M3 of an enrolment: signature(64) ‖ identity leaf. */
const leafOf = (statement: Uint8Array): Uint8Array => statement.subarray(ED25519_SIGNATURE_BYTES);

export const createHandshakeDesk = (options: HandshakeDeskOptions): HandshakeDesk => {
  const { keyLog, registry, invitations, audit, clock, random, rehandshakeMs = REHANDSHAKE_MS } = options;

  const welcome = (): Uint8Array => {
    const content: Welcome = {
      sessionId: randomHex(random, 16),
      serverTimeMs: Math.trunc(clock.nowMs()),
      rehandshakeMs,
    };
    return utf8(JSON.stringify(content));
  };
  const identityStated = (
    introduction: Introduction,
    statement: Uint8Array,
  ): { site: SiteId; identity: IdentityPublic } => {
    if (introduction.kind === 'session') {
      const known = registry.ofLeaf(introduction.leafHash);
      if (known === undefined) throw refuse('the site key is no longer in force');
      return known;
    }
    const leaf = leafOf(statement);
    const { record } = parseLeaf(leaf);
    if (record.kind !== 'enrol' || record.site !== introduction.site)
      throw refuse('an enrolment needs an identity record of the invited name');
    if (!equalConstantTime(fromBase64(record.kem.key), introduction.staticKey))
      throw refuse('the record announces another key than the handshake used');
    const { keys } = keysAfter(keyLog.state, leaf);
    return { site: record.site, identity: keys.identity };
  };
  const enrol = async (
    introduction: Extract<Introduction, { kind: 'enrolment' }>,
    statement: Uint8Array,
  ): Promise<void> => {
    const invitation = await invitations.find(introduction.tokenId);
    if (invitation === undefined || invitation.site !== introduction.site)
      throw new QflError('token_refused', { detail: 'the token is used, expired or for another site' });
    const leaf = leafOf(statement);
    const objects = [{ kind: 'site', id: invitation.site }];
    await audit.record({ action: 'site.joined', outcome: 'begun', objects });
    if (!(await invitations.use(introduction.tokenId)))
      throw new QflError('token_refused', { detail: 'the token has been used' });
    await registry.add(invitation.site, leaf);
    if (!invitation.autoApprove) return;
    await audit.record({ action: 'site.approved', outcome: 'ok', objects });
    await registry.approve(invitation.site);
  };

  /**
   * The agent says which directory it has seen. If ours is not a continuation of it, one of the two was forked or rolled back; neither
   * should go on talking as if nothing had happened.
   */
  const checkHistory = async (answered: CoordinatorWaiting): Promise<void> => {
    const { size, root } = answered.head.checkpoint;
    if (size === 0n) return;
    const same =
      size <= BigInt(keyLog.log.size) && equalConstantTime(await keyLog.log.rootAt(Number(size)), root);
    if (same) return;
    answered.abandon();
    throw refuse(
      'the agent has seen another directory than this one: a fork, or a restore from an old backup',
    );
  };

  return {
    async answer(first, socketId) {
      const answered = await answerHandshake(first, {
        keys: options.keys(),
        logOrigin: keyLog.log.origin,
        socketId,
        hedge: options.hedge,
        keyOfLeaf: (leafHash) => Promise.resolve(registry.ofLeaf(leafHash)?.key),
        pskOfToken: async (tokenId) => {
          const invitation = await invitations.find(tokenId);
          return invitation === undefined ? undefined : pskOf(invitation);
        },
        welcome,
      });
      await checkHistory(answered);
      return answered;
    },
    verify(introduction, statement, transcriptHash) {
      const { site, identity } = identityStated(introduction, statement);
      const signature = statement.subarray(0, ED25519_SIGNATURE_BYTES);
      if (!verifySignature(identity, STATEMENT_LABEL, transcriptHash, signature))
        throw new QflError('bad_signature', { detail: 'the session statement is not signed by the site' });
      return site;
    },
    async admit(introduction, statement, transcriptHash) {
      if (introduction.kind === 'enrolment') await enrol(introduction, statement);
      else {
        const site = registry.ofLeaf(introduction.leafHash)?.site ?? 'unknown';
        // The site's own signed statement stands beside the entry: it proves who opened this session.
        await audit.record({
          action: 'session.opened',
          outcome: 'ok',
          objects: [{ kind: 'site', id: site }],
          session: sessionName(transcriptHash),
          detail: concat(transcriptHash, statement),
        });
      }
    },
  };
};
