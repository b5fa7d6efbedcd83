/** Asking for an audit export: the request, what may be filtered, and how progress comes in the answer. */
import { z } from 'zod';
import type { AuditEntry } from '../audit/entry.ts';
import { AuditAction, AuditOutcome } from '../audit/entry.ts';

const Text = z.string().min(1).max(128);

/** An action, or all of a kind: `account.*`. */
const ActionFilter = z.union([AuditAction, z.string().regex(/^[a-z]+\.\*$/)]);

export const ExportFilter = z.strictObject({
  action: ActionFilter.optional(),
  outcome: AuditOutcome.optional(),
  actor: Text.optional(),
  role: Text.optional(),
  requestId: Text.optional(),
  /** An object of the entry has this id: a site, a key, a task. */
  object: Text.optional(),
  /** Only this log: `coordinator` or a site's name. */
  log: Text.optional(),
});
export type ExportFilter = z.infer<typeof ExportFilter>;

export const wantsEntry = (filter: ExportFilter, entry: AuditEntry, log: string): boolean => {
  const { action, outcome, actor, role, requestId, object } = filter;
  const isAction =
    action === undefined ||
    (action.endsWith('*') ? entry.action.startsWith(action.slice(0, -1)) : entry.action === action);
  return (
    isAction &&
    (outcome === undefined || entry.outcome === outcome) &&
    (actor === undefined || entry.actor === actor) &&
    (role === undefined || entry.role === role) &&
    (requestId === undefined || entry.requestId === requestId) &&
    (object === undefined || entry.objects.some(({ id }) => id === object)) &&
    (filter.log === undefined || filter.log === log)
  );
};

export const ExportRequestBody = z
  .strictObject({
    /** Why, kept in the file. */
    ground: z.string().min(1).max(200).default('audit'),
    /** From this moment on, before that one; ms. */
    fromMs: z.int().nonnegative().optional(),
    toMs: z.int().positive().optional(),
    filter: ExportFilter.optional(),
    /** age recipient (`age1…`): the archive then opens with that key only. */
    recipient: z
      .string()
      .regex(/^age1[a-z0-9]+$/)
      .max(4_000)
      .optional(),
    /** A checkpoint of this federation that the auditor holds already (C2SP tlog-checkpoint). */
    since: z
      .string()
      .max(4 * 1024 * 1024)
      .optional(),
    /** Lines of progress before the archive. */
    progress: z.boolean().default(false),
  })
  .refine(({ fromMs, toMs }) => fromMs === undefined || toMs === undefined || fromMs < toMs, {
    error: 'the period ends before it begins',
    path: ['toMs'],
  });

/** A line of JSON before the archive's bytes, when progress was asked for. The last one is `archive`; what follows it are the bytes. */
export const ExportLine = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('progress'), done: z.int(), total: z.int() }),
  z.strictObject({ kind: z.literal('archive') }),
]);
export type ExportLine = z.infer<typeof ExportLine>;
