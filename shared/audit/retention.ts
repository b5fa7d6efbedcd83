/**
 * What may go and what must stay: legal holds, erasure of a person's detail, and the end of retention. Every deletion is in the log before
 * it happens, and so is every refusal, with its ground. The tree never changes.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../bytes.ts';
import { type Clock, DAY_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import { createSerial } from '../serial.ts';
import type { Store } from '../store/port.ts';
import type { AuditLog } from './audit-log.ts';
import type { KeptLog } from './earlier-log.ts';
import type { PersonalDetails } from './personal.ts';
import { TILE_WIDTH } from './tiles.ts';

const HOLDS_MAX = 10_000;
/** Pruned at once, while a hold that is being placed waits. */
const STEP_ENTRIES = 16_384;

export const Hold = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** Why: a case number, a letter of a court. Words of the operator; never in a leaf. */
  ground: z.string().min(1).max(500),
  /** The person whose detail must stay, blinded; null: everything. */
  subject: z.string().nullable(),
  /** Entries of the log it was placed in must stay from here on, and those of every later log; from 0 also those of the logs before a restore. */
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
  /** Entries of the present log below are gone, or would be. */
  readonly minimumIndex: number;
  /** With those of the logs before a restore. */
  readonly entriesPruned: number;
  /** Personal detail below this index of the present log is destroyed. */
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
  /**
   * Ends retention: what is older than the rules, and not held, goes, from the files too. Holds may be placed meanwhile; they keep what is not gone
   * when they are there. With `dryRun` only says what would go.
   */
  prune(role: string, dryRun: boolean): Promise<PruneReport>;
}

export interface RetentionOptions {
  readonly store: Store;
  /** Of the log, ending in `/`. */
  readonly prefix: string;
  readonly audit: AuditLog;
  readonly personal: PersonalDetails;
  /** Logs of before a restore, oldest first. */
  readonly earlier?: readonly KeptLog[];
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly rules: RetentionRules;
  /** Entries pruned at once. */
  readonly stepEntries?: number;
}

/** A hold, and which of the logs it was placed in. */
interface Placed {
  readonly hold: Hold;
  readonly at: number;
}

/** From which entry of log `log` on the hold keeps everything; Infinity when it keeps nothing of it. */
const heldFrom = ({ hold, at }: Placed, log: number): number => {
  if (hold.fromIndex === 0 || log > at) return 0;
  return log === at ? hold.fromIndex : Infinity;
};

const presentLog = ({ prefix, audit, personal }: RetentionOptions): KeptLog => ({
  origin: audit.log.origin,
  prefix,
  personal,
  minimumIndex: () => Promise.resolve(audit.log.minimumIndex),
  async *timesMs() {
    for await (const { timeMs } of audit.entries(audit.log.minimumIndex)) yield timeMs;
  },
  forgetDetailBelow: (index) => audit.forgetDetailBelow(index),
  prune: async (index) => void (await audit.log.prune(index)),
});

/** How far one log is old enough to go. */
interface Old {
  readonly at: number;
  readonly log: KeptLog;
  readonly minimum: number;
  readonly entries: number;
  readonly detail: number;
}
/** What of it may go. */
interface Over {
  readonly old: Old;
  readonly wanted: number;
  readonly detailBelow: number;
  /** Holds that keep something of it that is old enough to go. */
  readonly heldBy: readonly string[];
}

const overOf = (old: Old, standing: readonly Placed[], upTo: number): Over => {
  const floor = Math.min(upTo, ...standing.map((one) => heldFrom(one, old.at)));
  return {
    old,
    wanted: Math.max(old.minimum, Math.floor(Math.min(old.entries, floor) / TILE_WIDTH) * TILE_WIDTH),
    detailBelow: Math.min(old.detail, floor),
    heldBy: standing.filter((one) => heldFrom(one, old.at) < old.detail).map(({ hold }) => hold.id),
  };
};
/** There while what was deleted may still be in the files. */
const unsweptOf = ({ prefix }: KeptLog): string => `${prefix}z`;

const reportOf = (over: readonly Over[]): PruneReport => ({
  minimumIndex: over.at(-1)?.wanted ?? 0,
  entriesPruned: over.reduce((sum, { wanted, old }) => sum + wanted - old.minimum, 0),
  detailBelow: over.at(-1)?.detailBelow ?? 0,
  heldBy: [...new Set(over.flatMap(({ heldBy }) => heldBy))],
});

export const createRetention = (options: RetentionOptions): Retention => {
  const { store, audit, personal, clock, random, rules, earlier = [], stepEntries = STEP_ENTRIES } = options;
  const present = presentLog(options);
  const logs = [...earlier, present];
  /** Whoever looks at the holds acts before anybody changes them. */
  const inTurn = createSerial();
  const pruning = createSerial();
  const keyOf = ({ prefix }: KeptLog, id: string): string => `${prefix}h/${id}`;

  const placed = async (): Promise<readonly Placed[]> => {
    const found: Placed[] = [];
    for (const [at, log] of logs.entries())
      for await (const { value } of store.list({ prefix: keyOf(log, '') }))
        found.push({ hold: Hold.parse(JSON.parse(fromUtf8(value))), at });
    return found;
  };
  /** The first entry that is not older than `days`, counted from the minimum index: what lies before it is old, whatever clocks did later. */
  const firstYoung = async (log: KeptLog, days: number): Promise<number> => {
    const cutoffMs = clock.nowMs() - days * DAY_MS;
    let index = await log.minimumIndex();
    for await (const timeMs of log.timesMs()) {
      if (timeMs >= cutoffMs) return index;
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
  /** How many entries of each log hold detail of a subject, and the newest of them. */
  const entriesOf = async (subject: string): Promise<{ log: number; entries: number; newest: number }[]> => {
    const found: { log: number; entries: number; newest: number }[] = [];
    for (const [log, { personal: details }] of logs.entries()) {
      let [entries, newest] = [0, -1];
      for await (const index of details.entriesOf(subject)) [entries, newest] = [entries + 1, index];
      if (entries > 0) found.push({ log, entries, newest });
    }
    return found;
  };
  const isUnderDuty = async (found: readonly { log: number; newest: number }[]): Promise<boolean> => {
    if (!rules.duty) return false;
    for (const { log, newest } of found)
      if (newest >= (await firstYoung(logs[log] ?? present, rules.dataDays))) return true;
    return false;
  };
  const oldOf = async (at: number): Promise<Old> => {
    const log = logs[at] ?? present;
    return {
      at,
      log,
      minimum: await log.minimumIndex(),
      entries: await firstYoung(log, rules.auditDays),
      detail: await firstYoung(log, rules.dataDays),
    };
  };
  /** Destroys what is over, when the log says so, and that there is something to sweep up after it. */
  const end = async ({ old: { log }, wanted, detailBelow }: Over, role: string): Promise<void> => {
    await audit.record({
      action: 'audit.pruned',
      outcome: 'ok',
      role,
      objects: [
        ...(log === present ? [] : [{ kind: 'log', id: log.origin }]),
        { kind: 'minimum-index', id: String(wanted) },
        { kind: 'detail-below', id: String(detailBelow) },
      ],
    });
    await store.write([{ type: 'put', key: unsweptOf(log), value: new Uint8Array(0) }]);
    await log.personal.eraseBelow(detailBelow);
    await log.forgetDetailBelow(detailBelow);
    await log.prune(wanted);
  };
  /** What was deleted leaves the files, also what was deleted before a crash. */
  const sweep = async (log: KeptLog): Promise<void> => {
    if ((await store.get(unsweptOf(log))) === undefined) return;
    for (const kind of ['p', 'x', 'd', 'e']) await store.compact(`${log.prefix}${kind}/`);
    await store.write([{ type: 'del', key: unsweptOf(log) }]);
  };
  /** In steps, each in its turn and by the holds of then: one that is placed while this runs keeps what is not gone yet. */
  const endOf = async (old: Old, role: string): Promise<Over> => {
    let last = overOf(old, [], old.minimum);
    const target = Math.max(old.entries, old.detail);
    for (let upTo = old.minimum; upTo < target;) {
      upTo = Math.min(upTo + stepEntries, target);
      last = await inTurn(async () => {
        const over = overOf(old, await placed(), upTo);
        if (over.wanted > last.wanted || over.detailBelow > last.detailBelow) await end(over, role);
        // What is gone stays gone, whatever holds say now.
        return {
          ...over,
          wanted: Math.max(over.wanted, last.wanted),
          detailBelow: Math.max(over.detailBelow, last.detailBelow),
        };
      });
    }
    await sweep(old.log);
    return last;
  };
  const prune = async (role: string, dryRun: boolean): Promise<PruneReport> => {
    const over: Over[] = [];
    for (const at of logs.keys()) {
      const old = await oldOf(at);
      over.push(dryRun ? overOf(old, await placed(), Infinity) : await endOf(old, role));
    }
    return reportOf(over);
  };

  const place: Retention['hold'] = async ({ ground, person, fromIndex = 0 }, role) => {
    if ((await placed()).length >= HOLDS_MAX)
      throw new QflError('overloaded', { detail: `there are ${HOLDS_MAX} holds already` });
    const made: Hold = {
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
      objects: [{ kind: 'hold', id: made.id }],
      detail: utf8(ground),
    });
    await store.write([{ type: 'put', key: keyOf(present, made.id), value: utf8(JSON.stringify(made)) }]);
    return made;
  };

  const release: Retention['release'] = async (id, role) => {
    const found = (await placed()).find(({ hold }) => hold.id === id);
    const log = found === undefined ? undefined : logs[found.at];
    if (log === undefined)
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
    await store.write([{ type: 'del', key: keyOf(log, id) }]);
  };

  const erase: Retention['erase'] = async (person, role) => {
    const subject = personal.subjectOf(person);
    const found = await entriesOf(subject);
    if (found.length === 0)
      throw new QflError('not_found', { detail: 'the log holds no personal detail of that person' });
    const held = (await placed()).filter(
      (one) =>
        (one.hold.subject === null || one.hold.subject === subject) &&
        found.some(({ log, newest }) => heldFrom(one, log) <= newest),
    );
    if (held.length > 0)
      throw await refuse(
        role,
        'legal_hold',
        `${held.length} legal hold${held.length === 1 ? '' : 's'} keep this`,
        held.map(({ hold }) => hold.id),
      );
    if (await isUnderDuty(found))
      throw await refuse(
        role,
        'retention_duty',
        `records of disclosures are kept ${rules.dataDays} days (HIPAA 164.316(b)(2))`,
        [],
      );
    const entries = found.reduce((sum, one) => sum + one.entries, 0);
    const { index } = await audit.record({
      action: 'audit.erased',
      outcome: 'ok',
      role,
      objects: [
        { kind: 'subject', id: subject },
        { kind: 'entries', id: String(entries) },
      ],
    });
    await personal.erase(subject);
    return { entries, index };
  };

  return {
    holds: async () => (await placed()).map((one) => one.hold),
    hold: (request, role) => inTurn(() => place(request, role)),
    release: (id, role) => inTurn(() => release(id, role)),
    erase: (person, role) => inTurn(() => erase(person, role)),
    prune: (role, dryRun) => (dryRun ? prune(role, true) : pruning(() => prune(role, false))),
  };
};
