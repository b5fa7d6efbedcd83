/** The audit log as the API shows it and the command line reads it. */
import { z } from 'zod';
import { AuditAction, AuditEntry, AuditOutcome } from '../audit/entry.ts';
import { Hold } from '../audit/retention.ts';

const number = z.coerce.number().pipe(z.int().nonnegative());

export const AuditQuery = z.strictObject({
  action: AuditAction.optional(),
  outcome: AuditOutcome.optional(),
  actor: z.string().max(128).optional(),
  role: z.string().max(128).optional(),
  requestId: z.string().max(128).optional(),
  object: z.string().max(128).optional(),
  sinceMs: number.optional(),
  untilMs: number.optional(),
  from: number.optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(1_000)).default(100),
  order: z.enum(['newest', 'oldest']).default('newest'),
});
export const AuditPageShown = z.strictObject({
  entries: z.array(AuditEntry),
  /** `from` of the next page; null at the end. A page may be short and not be the last. */
  next: z.int().nullable(),
  size: z.int(),
  /** Entries below were pruned. */
  minimumIndex: z.int(),
});
export type AuditPageShown = z.infer<typeof AuditPageShown>;

/** One entry with what an outsider needs to check it: its exact bytes, its path, and a signed root. */
export const AuditEntryShown = z.strictObject({
  entry: AuditEntry,
  leaf: z.string(),
  /** Personal or free text, where there is any and it was not erased. */
  detail: z.string().nullable(),
  proof: z.strictObject({
    index: z.int(),
    size: z.int(),
    /** Base64, nearest sibling first (RFC 9162 §2.1.3). */
    path: z.array(z.string()),
    checkpoint: z.string(),
  }),
});

export const HoldsShown = z.strictObject({ holds: z.array(Hold) });
export const HoldReleased = z.strictObject({ released: z.string() });
export const HoldRequest = z.strictObject({
  ground: z.string().min(1).max(500),
  /** Only this person's detail; left out: everything. */
  person: z.string().min(1).max(200).optional(),
  fromIndex: z.int().nonnegative().optional(),
});
export const EraseRequest = z.strictObject({ person: z.string().min(1).max(200) });
export const Erased = z.strictObject({
  /** Entries whose detail is gone. */
  entries: z.int(),
  /** The entry that says so. */
  index: z.int(),
});
export const PruneRequest = z.strictObject({ dryRun: z.boolean().default(true) });
export const PruneShown = z.strictObject({
  dryRun: z.boolean(),
  minimumIndex: z.int(),
  entriesPruned: z.int(),
  detailBelow: z.int(),
  heldBy: z.array(z.string()),
});
