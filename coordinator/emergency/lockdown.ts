/**
 * Lockdown: one administrator stops everything at once, two are needed to go on. New queries and tasks are refused, sessions end, tokens are revoked,
 * keys of programs rest but for those of administrators, auditors and operators; what looks after the federation, and the audit log, go on. The state is on the disk before it is in force, and survives a
 * restart; what was cut short of stopping everything is done at the next start.
 */
import { z } from 'zod';
import type { Operation } from '../../shared/access/operations.ts';
import type { Principal } from '../../shared/access/principal.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { Gate } from '../../shared/http/bearer.ts';
import { Pseudonym } from '../../shared/ids.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';

export const LockdownState = z.strictObject({
  on: z.boolean(),
  reason: z.string().nullable(),
  sinceMs: z.int().nullable(),
  by: Pseudonym.nullable(),
  count: z.int().nonnegative(),
});
export type LockdownState = z.infer<typeof LockdownState>;

/** `pending`: not all that has to stop, or to go on, was told yet. */
const Stored = LockdownState.extend({ pending: z.boolean().default(false) });

const CALM: LockdownState = { on: false, reason: null, sinceMs: null, by: null, count: 0 };
const ID = 'state';

/** What goes on in a lockdown: seeing what happened, and ending it. */
const GOES_ON: ReadonlySet<Operation> = new Set([
  'self.read',
  'self.change',
  'status.read',
  'policy.read',
  'privacy.read',
  'privacy.history',
  'plans.read',
  'tasks.read',
  'sites.read',
  'sites.change',
  'settings.read',
  'budgets.read',
  'proposals.read',
  'proposals.decide',
  'accounts.read',
  'accounts.change',
  'keys.read',
  'keys.change',
  'roles.read',
  'audit.read',
  'audit.export',
  'audit.change',
  'usage.read',
  'directory.read',
  'directory.change',
  'lockdown.read',
  'lockdown.start',
  'lockdown.release',
]);
/** Whose sign-ins and keys still work. */
const STAYS: ReadonlySet<string> = new Set(['admin', 'auditor', 'operator']);

export interface Lockdown {
  readonly state: LockdownState;
  /** @throws QflError `lockdown` while it is on */
  check(): void;
  /** @throws QflError `lockdown` for roles that have to wait */
  signInGate(role: string): void;
  readonly httpGate: Gate;
  /** Stops everything; once more where that failed half-way. @throws QflError `conflict` when it is on, wholly */
  start(reason: string, by: Principal): Promise<LockdownState>;
  /** Only from an approved proposal. */
  release(by: Pick<Principal, 'id' | 'role'>): Promise<void>;
  /** What a crash cut short; before anybody can come in. */
  complete(): Promise<void>;
}

export interface LockdownOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly pseudonyms: ActorPseudonyms;
  /** What has to stop, once it is on the disk; and told again when it ends. May be called again for a state whose first call was cut short. */
  readonly changed: (state: LockdownState) => Promise<void>;
}

export const openLockdown = async (options: LockdownOptions): Promise<Lockdown> => {
  const { store, clock, audit, pseudonyms, changed } = options;
  const records = createRecordStore(store, 'lockdown/', Stored);
  const { pending, ...kept } = (await records.get(ID)) ?? { ...CALM, pending: false };
  let [state, isPending]: [LockdownState, boolean] = [kept, pending];
  const refusal = (): QflError =>
    new QflError('lockdown', {
      detail: 'an administrator stopped all processing',
      next: 'Two administrators can end it: "qfl lockdown off".',
      facts: { sinceMs: state.sinceMs },
    });
  const log = (outcome: 'begun' | 'ok', by: Pick<Principal, 'id' | 'role'>, reason: string | null) =>
    audit.record({
      action: 'lockdown.changed',
      outcome,
      ...pseudonyms.actorOf(by),
      objects: [{ kind: 'lockdown', id: reason === null ? 'off' : 'on' }],
      ...(reason === null ? {} : { detail: utf8(reason) }),
    });
  const put = async (next: LockdownState): Promise<void> => {
    await records.put(ID, { ...next, pending: true });
    [state, isPending] = [next, true];
    await complete();
  };
  const complete = async (): Promise<void> => {
    if (!isPending) return;
    const told = state;
    await changed(told);
    await records.put(ID, { ...told, pending: false });
    isPending = false;
  };
  /** One after another: an end must not overtake what is still being stopped. */
  const inTurn = createSerial();
  return {
    get state() {
      return state;
    },
    check() {
      if (state.on) throw refusal();
    },
    signInGate(role) {
      if (state.on && !STAYS.has(role)) throw refusal();
    },
    httpGate(operation, { role }) {
      if (state.on && !(GOES_ON.has(operation) && STAYS.has(role))) throw refusal();
    },
    start: (reason, by) =>
      inTurn(async () => {
        if (state.on && !isPending) throw new QflError('conflict', { detail: 'the lockdown is on already' });
        await log('begun', by, reason);
        if (state.on) await complete();
        else
          await put({
            on: true,
            reason,
            sinceMs: Math.trunc(clock.nowMs()),
            by: pseudonyms.of(by.id),
            count: state.count + 1,
          });
        return state;
      }),
    release: (by) =>
      inTurn(async () => {
        if (!state.on) throw new QflError('conflict', { detail: 'there is no lockdown' });
        await log('begun', by, null);
        await put({ ...CALM, count: state.count });
      }),
    complete: () => inTurn(complete),
  };
};
