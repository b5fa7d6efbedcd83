/** A raise of a site's budgets that waits for two people, as the agent's API shows it. */
import { z } from 'zod';
import { Pseudonym } from '../ids.ts';

export const RaiseShown = z.strictObject({
  /** SHA-256 of the budgets that would be in force: what the two people approve. */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  sinceMs: z.int(),
  raises: z.array(
    z.strictObject({
      limit: z.string(),
      /** Epsilon in millionths; null where there is no such budget now. */
      from: z.int().nullable(),
      to: z.int(),
      deltaFrom: z.string().nullable(),
      deltaTo: z.string(),
    }),
  ),
  approvedBy: z.array(Pseudonym),
  /** Both signatures of the site over the approvals, base64, once two people approved. */
  signature: z.strictObject({ ed25519: z.base64(), mldsa65: z.base64() }).nullable(),
});
export type RaiseShown = z.infer<typeof RaiseShown>;
export const RaisePending = z.strictObject({ pending: RaiseShown.nullable() });
export const RaiseApproval = z.strictObject({ digest: z.string().regex(/^[0-9a-f]{64}$/) });
