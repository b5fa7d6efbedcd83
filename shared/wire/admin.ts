/** The coordinator's administrative answers, as its API sends them and the command line reads them. */
import { z } from 'zod';
import { SiteId } from '../ids.ts';
import { ModelTelemetry } from './session.ts';

export const SiteShown = z.strictObject({
  site: SiteId,
  status: z.enum(['pending', 'approved', 'revoked']),
  /** To be compared by voice with what the hospital reads from its own screen. */
  fingerprint: z.string(),
  joinedMs: z.int(),
  approvedMs: z.int().nullable(),
  revokedMs: z.int().nullable(),
  online: z.boolean(),
  connectedMs: z.number().nullable(),
  /** Null when nothing recent is known. */
  models: z.array(ModelTelemetry).nullable(),
  budgetTenths: z.int().nullable(),
});
export const SiteListQuery = z.strictObject({
  status: z.enum(['pending', 'approved', 'revoked']).optional(),
  after: SiteId.optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(1_000),
});
export const InvitationShown = z.strictObject({
  tokenId: z.string(),
  site: SiteId,
  createdMs: z.number(),
  expiresMs: z.number(),
  autoApprove: z.boolean(),
});
export const InvitationMade = z.strictObject({
  site: SiteId,
  token: z.string(),
  expiresMs: z.number(),
  autoApprove: z.boolean(),
});
export const PolicyInForce = z.strictObject({
  version: z.int(),
  policy: z.strictObject({
    chatEnabled: z.boolean(),
    statisticsEnabled: z.boolean(),
    microEpsilonMax: z.int(),
  }),
});
/** Records of the key directory, for whoever has no session yet, or any more. */
export const PublicLeaves = z.strictObject({
  checkpoint: z.string().max(8_192),
  /** Index after the last record of this answer. */
  next: z.int().nonnegative(),
  leaves: z.array(z.base64()),
});
