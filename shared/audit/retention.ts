/**
 * What may go and what must stay: legal holds, erasure of a person's detail, and the end of retention. Every deletion is in the log before
 * it happens, and so is every refusal, with its ground. The tree never changes.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import { type Clock, DAY_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import type { Store } from '../store/port.ts';
import type { AuditLog } from './audit-log.ts';
import type { PersonalDetails } from './personal.ts';

const HOLDS_MAX = 10_000;

export const Hold = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** Why: a case number, a letter of a court. Words of the operator; never in a leaf. */
  ground: z.string().min(1).max(500),
  /** The person whose detail must stay, blinded; null: everything. */
  subject: z.string().nullable(),
  /** Entries from here on must stay. */
  fromIndex: z.int().nonnegative(),
  placedMs: z.int().nonnegative(),
});
export type Hold = z.infer<typeof Hold>;

export interface RetentionRules {
  /** Days that entries are kept; 3,650 by default. */
  readonly auditDays: number;
  /** Days that personal detail is kept at most, and, under a duty, at least; 2,555 by default. */
  readonly dataDays: number;
  /** HIPAA 164.316(b)(2) and 164.528: detail may not be erased on request while it is younger than `dataDays`. */
  readonly duty: boolean;
}

export interface PruneReport {
  /** Entries below are gone, or would be. */
  readonly minimumIndex: number;
  readonly entriesPruned: number;
  /** Personal detail below this index is destroyed. */
  readonly detailBelow: number;
  /** Why no more: holds that stand in the way. */
  readonly heldBy: readonly string[];
}

export interface Retention {
  holds(): Promise<readonly Hold[]>;
  hold(request: { ground: string; person?: string; fromIndex?: number }, role: string): Promise<Hold>;
  /** @throws QflError `not_found` */
  release(id: string, role: string): Promise<void>;
  /**
   * Destroys a person's detail: key, salts, bytes. @throws QflError `retention` while a hold or a duty stands (logged, facts: `ground`),
   * `not_found` when there is none of that person
   */
  erase(person: string, role: string): Promise<{ readonly entries: number; readonly index: number }>;
  /** Ends retention: what is older than the rules, and not held, goes. With `dryRun` only says what would. */
  prune(role: string, dryRun: boolean): Promise<PruneReport>;
}

export interface RetentionOptions {
  readonly store: Store;
  /** Of the log, ending in `/`. */
  readonly prefix: string;
  readonly audit: AuditLog;
  readonly personal: PersonalDetails;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly rules: RetentionRules;
}

export const createRetention = (options: RetentionOptions): Retention => {
  const { store, audit, personal, clock, random, rules } = options;
  const prefix = `${options.prefix}h/`;

  const holds = async (): Promise<readonly Hold[]> => {
    const found: Hold[] = [];
    for await (const { value } of store.list({ prefix })) found.push(Hold.parse(JSON.parse(fromUtf8(value))));
    return found;
  };
  /** The first entry that is not older than `days`, counted from the minimum index: what lies before it is old, whatever clocks did later. */
  const firstYoung = async (days: number): Promise<number> => {
    const cutoffMs = clock.nowMs() - days * DAY_MS;
    let index = audit.log.minimumIndex;
    for await (const entry of audit.entries(index)) {
      if (entry.timeMs >= cutoffMs) return index;
      index += 1;
    }
    return index;
  };
  const refuse = async (
    role: string,
    ground: 'legal_hold' | 'retention_duty',
    detail: string,
    ids: string[],
  ) => {
    await audit.record({
      action: 'erasure.refused',
      outcome: 'refused',
      role,
      objects: [{ kind: 'ground', id: ground }, ...ids.slice(0, 60).map((id) => ({ kind: 'hold', id }))],
    });
    return new QflError('retention', {
      detail,
      next:
        ground === 'legal_hold'
          ? 'See "qfl audit hold list"; whoever placed the hold releases it.'
          : 'The person can be told the ground and the day; the refusal is in the log.',
      facts: { ground, holds: ids },
    });
  };
  const entriesOf = async (subject: string): Promise<number[]> => {
    const found: number[] = [];
    for await (const index of personal.entriesOf(subject)) found.push(index);
    return found;
  };

  return {
    holds,
    async hold({ ground, person, fromIndex = 0 }, role) {
      if ((await holds()).length >= HOLDS_MAX)
        throw new QflError('overloaded', { detail: `there are ${HOLDS_MAX} holds already` });
      const hold: Hold = {
        id: randomHex(random, 8),
        ground,
        subject: person === undefined ? null : personal.subjectOf(person),
        fromIndex,
        placedMs: Math.trunc(clock.nowMs()),
      };
      await audit.record({
        action: 'audit.held',
        outcome: 'ok',
        role,
        objects: [{ kind: 'hold', id: hold.id }],
        detail: utf8(ground),
      });
      await store.write([{ type: 'put', key: prefix + hold.id, value: utf8(JSON.stringify(hold)) }]);
      return hold;
    },
    async release(id, role) {
      if (!Hold.shape.id.safeParse(id).success || (await store.get(prefix + id)) === undefined)
        throw new QflError('not_found', {
          detail: 'there is no such hold',
          next: 'See "qfl audit hold list".',
        });
      await audit.record({
        action: 'audit.hold_released',
        outcome: 'ok',
        role,
        objects: [{ kind: 'hold', id }],
      });
      await store.write([{ type: 'del', key: prefix + id }]);
    },
    async erase(person, role) {
      const subject = personal.subjectOf(person);
      const entries = await entriesOf(subject);
      const [newest] = entries.slice(-1);
      if (newest === undefined)
        throw new QflError('not_found', { detail: 'the log holds no personal detail of that person' });
      const held = (await holds()).filter(
        (hold) => (hold.subject === null || hold.subject === subject) && hold.fromIndex <= newest,
      );
      if (held.length > 0)
        throw await refuse(
          role,
          'legal_hold',
          `${held.length} legal hold${held.length === 1 ? '' : 's'} keep this`,
          held.map(({ id }) => id),
        );
      if (rules.duty && newest >= (await firstYoung(rules.dataDays)))
        throw await refuse(
          role,
          'retention_duty',
          `records of disclosures are kept ${rules.dataDays} days (HIPAA 164.316(b)(2))`,
          [],
        );
      const { index } = await audit.record({
        action: 'audit.erased',
        outcome: 'ok',
        role,
        objects: [
          { kind: 'subject', id: subject },
          { kind: 'entries', id: String(entries.length) },
        ],
      });
      await personal.erase(subject);
      return { entries: entries.length, index };
    },
    async prune(role, dryRun) {
      const standing = await holds();
      const floor = Math.min(Infinity, ...standing.map(({ fromIndex }) => fromIndex));
      const before = audit.log.minimumIndex;
      const [oldAudit, oldData] = [await firstYoung(rules.auditDays), await firstYoung(rules.dataDays)];
      const wanted = Math.max(before, Math.floor(Math.min(oldAudit, floor) / 256) * 256);
      const detailBelow = Math.min(oldData, floor);
      const heldBy = floor < oldData ? standing.map(({ id }) => id) : [];
      const report = { minimumIndex: wanted, entriesPruned: wanted - before, detailBelow, heldBy };
      if (dryRun || (wanted === before && detailBelow <= before)) return report;
      await audit.record({
        action: 'audit.pruned',
        outcome: 'ok',
        role,
        objects: [
          { kind: 'minimum-index', id: String(wanted) },
          { kind: 'detail-below', id: String(detailBelow) },
        ],
      });
      await personal.eraseBelow(detailBelow);
      await audit.forgetDetailBelow(detailBelow);
      await audit.log.prune(wanted);
      return report;
    },
  };
};
