/** Lockdown, decisions that need two people, and notices, as the coordinator's API says them. */
import { z } from 'zod';
import { Pseudonym } from '../ids.ts';

export const LockdownShown = z.strictObject({
  on: z.boolean(),
  /** Free text of whoever started it; null while there is none. */
  reason: z.string().nullable(),
  sinceMs: z.int().nullable(),
  /** Pseudonym of whoever started it, as in the audit log. */
  by: Pseudonym.nullable(),
  /** How many lockdowns there were. */
  count: z.int().nonnegative(),
  /** The open proposal to end it, if there is one. */
  releaseProposal: z.string().nullable(),
});
export type LockdownShown = z.infer<typeof LockdownShown>;
export const LockdownRequest = z.strictObject({ reason: z.string().min(3).max(500) });

export const PROPOSAL_KINDS = ['lockdown.release', 'policy.epsilon'] as const;
export const ProposalKind = z.enum(PROPOSAL_KINDS);
export type ProposalKind = z.infer<typeof ProposalKind>;

export const ProposalShown = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  kind: ProposalKind,
  /** What would happen, in words. */
  summary: z.string(),
  payload: z.record(z.string(), z.unknown()),
  /** `approved`: decided and signed, and not carried out yet; approving it again tries once more. */
  status: z.enum(['open', 'approved', 'done', 'failed', 'refused', 'expired']),
  proposedBy: Pseudonym,
  proposedMs: z.int(),
  expiresMs: z.int(),
  decidedBy: Pseudonym.nullable(),
  decidedMs: z.int().nullable(),
  /** Both signatures of the coordinator over the decision, base64; null until it is approved. */
  signature: z.strictObject({ ed25519: z.base64(), mldsa65: z.base64() }).nullable(),
  version: z.int().positive(),
});
export type ProposalShown = z.infer<typeof ProposalShown>;
export const ProposalPage = z.strictObject({ proposals: z.array(ProposalShown) });
export const ProposalRequest = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('lockdown.release'), payload: z.strictObject({}).default({}) }),
  z.strictObject({
    kind: z.literal('policy.epsilon'),
    payload: z.strictObject({ microEpsilonMax: z.int().min(1).max(10_000_000) }),
  }),
]);
export type ProposalRequest = z.infer<typeof ProposalRequest>;

export const NoticeShown = z.strictObject({
  id: z.string(),
  kind: z.string(),
  subject: z.string(),
  createdMs: z.int(),
  targets: z.array(
    z.strictObject({
      kind: z.enum(['webhook', 'smtp']),
      /** Host only: addresses may hold secrets. */
      host: z.string(),
      attempts: z.int(),
      deliveredMs: z.int().nullable(),
      /** Given up after the last attempt. */
      failedMs: z.int().nullable(),
      lastError: z.string().nullable(),
    }),
  ),
});
export const NoticePage = z.strictObject({ notices: z.array(NoticeShown) });
