/** A statistic for another site: this site's contribution, sealed to the asker; the same question gets the same bytes. */
import type { Clock } from '../../shared/clock.ts';
import { framed, toHex, utf8 } from '../../shared/bytes.ts';
import { hashOf } from '../../shared/crypto/hash.ts';
import { sealAnswer } from '../../shared/crypto/sealed-answer.ts';
import type { OpenedQuery } from '../../shared/crypto/sealed-query.ts';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, type SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import { unframed } from '../../shared/wire/framing.ts';
import type { Reply } from '../../shared/wire/peer.ts';
import type { ServedPart } from '../../shared/wire/session.ts';
import type { StatsAnswer } from '../../shared/wire/stats.ts';
import { type AccessPolicy, requirePermission } from '../access/policy.ts';
import { type Charged, type Contribute, parseStatsQuery } from './contribute.ts';
import { makeReceipt } from './receipts.ts';

const POLICY_VERSION = 1;

export interface ServeStatsOptions {
  readonly self: SiteId;
  readonly vault: Vault;
  readonly policy: AccessPolicy;
  readonly contribute: Contribute;
  readonly clock: Clock;
}

const departmentOf = (department: string): DepartmentId => {
  const parsed = DepartmentId.safeParse(department);
  if (!parsed.success) throw new QflError('invalid_request', { detail: 'the question names no department' });
  return parsed.data;
};

export const createServeStats = ({ self, vault, policy, contribute, clock }: ServeStatsOptions) => {
  const sealWhole = (
    { envelope, replyKey, hash }: OpenedQuery,
    answer: StatsAnswer,
    charged: Charged,
  ): Uint8Array => {
    const sealer = sealAnswer(
      {
        queryId: envelope.queryId,
        queryHash: hash,
        site: self,
        asker: envelope.sender,
        model: null,
        policyVersion: POLICY_VERSION,
        spend: charged.spendUnits,
        ledgerHash: toHex(charged.recordHash),
      },
      replyKey,
      vault.identityNow(),
      vault.hedge,
    );
    return framed(sealer.first, sealer.chunk(utf8(JSON.stringify(answer))), sealer.end());
  };

  return async function* serveStats(opened: OpenedQuery): AsyncGenerator<Reply> {
    const { envelope, content, hash } = opened;
    requirePermission(policy, content, 'measurement');
    if (parseStatsQuery(content.query).microEpsilon !== envelope.microEpsilon)
      throw new QflError('protocol', {
        detail: 'the sealed statistic declares another epsilon than its envelope',
      });
    const contribution = {
      sender: envelope.sender,
      queryId: envelope.queryId,
      envelopeHash: toHex(hash),
      asker: content.asker,
      department: departmentOf(content.department),
      query: content.query,
    };
    const { sealed, spendUnits } = await contribute(contribution, (answer, charged) =>
      sealWhole(opened, answer, charged),
    );
    const pieces = unframed(sealed);
    const receipt = makeReceipt(
      {
        queryId: envelope.queryId,
        queryHash: hash,
        site: self,
        outcome: 'answered',
        reason: null,
        answerHash: hashOf('fed-e2e/1 receipt answer', hash, ...pieces),
        spend: spendUnits,
        atMs: clock.nowMs(),
      },
      vault.identity,
    );
    for (const [at, payload] of pieces.entries())
      yield { ...(at === pieces.length - 1 ? { header: { receipt } satisfies ServedPart } : {}), payload };
  };
};
