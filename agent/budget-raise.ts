/**
 * Raising a budget takes two people of the site. The configuration says what is wanted; what it lowers is in force at once, what it raises waits until
 * two administrators with keys of their own have approved exactly these budgets. A key that was made after the wish is not taken: whoever wishes must
 * not make the second person on the spot.
 */
import { hash } from 'node:crypto';
import { z } from 'zod';
import type { Principal } from '../shared/access/principal.ts';
import type { AuditLog } from '../shared/audit/audit-log.ts';
import { canonicalBytes } from '../shared/audit/canonical.ts';
import { fromBase64, toBase64, utf8 } from '../shared/bytes.ts';
import type { Clock } from '../shared/clock.ts';
import { type Identity, verifyHybrid } from '../shared/crypto/signature.ts';
import { QflError } from '../shared/errors.ts';
import { KeyId, Pseudonym } from '../shared/ids.ts';
import type { ApiKeys } from '../shared/http/api-keys.ts';
import type { Store } from '../shared/store/port.ts';
import { createRecordStore } from '../shared/store/records.ts';
import type { RaiseShown } from '../shared/wire/budget-raise.ts';
import type { Pseudonyms } from './access/pseudonyms.ts';
import { LedgerLimits } from './budget/limits.ts';
import type { Ledger } from './budget/ledger.ts';
import { raisesOf, withoutRaises } from './budget/raise.ts';
import { createSerial } from '../shared/serial.ts';

export const RAISE_LABEL = 'qfl budget raise';
const PEOPLE = 2;

const Stored = z.strictObject({
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  sinceMs: z.int(),
  approvals: z.array(z.strictObject({ person: Pseudonym, key: KeyId, atMs: z.int() })),
  /** Both signatures of the site over the approvals, once there are enough. */
  signature: z.strictObject({ ed25519: z.base64(), mldsa65: z.base64() }).nullable().default(null),
  /** Approvals are used once: the raise came into force, or something else was wished for. */
  used: z.boolean().default(false),
});
type Stored = z.infer<typeof Stored>;

export interface BudgetRaise {
  /** What of `wanted` may be in force now; the rest waits. */
  allowed(wanted: LedgerLimits): Promise<LedgerLimits>;
  pending(): RaiseShown | null;
  /** @throws QflError `not_found` when nothing waits or it is another wish, `forbidden`, `conflict` for the same person again */
  approve(digest: string, by: Principal): Promise<RaiseShown>;
}

export interface BudgetRaiseOptions {
  readonly store: Store;
  readonly ledger: Pick<Ledger, 'limits' | 'changeLimits'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly identity: Identity;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly apiKeys: Pick<ApiKeys, 'list'>;
  readonly pseudonyms: Pseudonyms;
}

/** Of the budgets as a whole: an approval is of all of them. */
export const limitsDigest = (limits: LedgerLimits): string =>
  hash('sha256', utf8(JSON.stringify(LedgerLimits.parse(limits))), 'hex');

/** What the site signs. */
export const raiseBytes = ({
  digest,
  sinceMs,
  approvals,
}: {
  readonly digest: string;
  readonly sinceMs: number;
  readonly approvals: readonly { readonly person: Pseudonym; readonly atMs: number }[];
}): Uint8Array =>
  canonicalBytes({ digest, sinceMs, approvals: approvals.map(({ person, atMs }) => ({ person, atMs })) });

export const createBudgetRaise = (options: BudgetRaiseOptions): BudgetRaise => {
  const { store, ledger, audit, identity, clock, apiKeys, pseudonyms } = options;
  const records = createRecordStore(store, 'budget-raise/', Stored);
  let waiting: { readonly wanted: LedgerLimits; readonly stored: Stored } | undefined;

  const inForce = (): LedgerLimits => LedgerLimits.parse(ledger.limits());
  const show = ({ wanted, stored }: NonNullable<typeof waiting>): RaiseShown => ({
    digest: stored.digest,
    sinceMs: stored.sinceMs,
    raises: raisesOf(inForce(), wanted).map((raise) => ({ ...raise })),
    approvedBy: stored.approvals.map(({ person }) => person),
    signature: stored.signature,
  });

  const personOf = async (by: Principal, sinceMs: number): Promise<{ person: Pseudonym; key: KeyId }> => {
    const key = by.kind === 'key' ? (await apiKeys.list()).find(({ id }) => id === by.id) : undefined;
    if (key === undefined)
      throw new QflError('forbidden', {
        detail: 'this needs a person of the site with a key of their own',
        next: 'Give the key of an administrator with --key; the machine itself is nobody.',
      });
    if (key.createdMs >= sinceMs)
      throw new QflError('forbidden', {
        detail: 'this key was made after the raise was asked for',
        next: 'Somebody whose key is older has to approve it.',
      });
    return { person: pseudonyms.of(by), key: key.id };
  };

  const approve = async (digest: string, by: Principal): Promise<RaiseShown> => {
    if (waiting?.stored.digest !== digest)
      throw new QflError('not_found', {
        detail: 'no such raise of the budgets waits',
        next: 'See "qfl agent budget show".',
      });
    const { wanted, stored } = waiting;
    const approver = await personOf(by, stored.sinceMs);
    if (stored.approvals.some(({ person }) => person === approver.person))
      throw new QflError('conflict', {
        detail: 'this person approved it already',
        next: 'Another administrator has to.',
      });
    await audit.record({
      action: 'proposal.approved',
      outcome: 'begun',
      actor: approver.person,
      role: by.role,
      objects: [{ kind: 'budgets', id: digest }],
    });
    const atMs = Math.trunc(clock.nowMs());
    const approved: Stored = { ...stored, approvals: [...stored.approvals, { ...approver, atMs }] };
    const isEnough = approved.approvals.length >= PEOPLE;
    const next = isEnough ? { ...approved, signature: sign(approved) } : approved;
    await records.put(digest, next);
    waiting = { wanted, stored: next };
    const shown = show(waiting);
    if (isEnough) await enforce(wanted, next, by.role);
    return shown;
  };

  const sign = (approved: Stored): RaiseShown['signature'] => {
    const { ed25519, mldsa65 } = identity.signHybrid(RAISE_LABEL, raiseBytes(approved));
    return { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) };
  };
  /** Did two people approve it, by the site's own signature, and has nobody used it yet? */
  const isApproved = (stored: Stored): boolean =>
    !stored.used &&
    stored.signature !== null &&
    new Set(stored.approvals.map(({ person }) => person)).size >= PEOPLE &&
    verifyHybrid(identity.publicKeys, RAISE_LABEL, raiseBytes(stored), {
      ed25519: fromBase64(stored.signature.ed25519),
      mldsa65: fromBase64(stored.signature.mldsa65),
    });
  /** The log says that it begins, and, with the approvals and the signature, that it is in force. */
  const enforce = async (wanted: LedgerLimits, stored: Stored, role: string | undefined): Promise<void> => {
    const { digest, sinceMs, approvals, signature } = stored;
    const entry = { action: 'budget.raised', role, objects: [{ kind: 'budgets', id: digest }] } as const;
    await audit.record({ ...entry, outcome: 'begun' });
    await ledger.changeLimits(wanted, { by: 'two people', reason: `approved raise ${digest.slice(0, 16)}` });
    await records.put(digest, { ...stored, used: true });
    waiting = undefined;
    const approvedBy = approvals.map(({ person, atMs }) => ({ person, atMs }));
    const detail = utf8(JSON.stringify({ digest, sinceMs, approvals: approvedBy, signature }));
    await audit.record({ ...entry, outcome: 'ok', detail });
  };
  /** Approvals of anything but this wish are not kept for another day. */
  const spend = async (but: string | undefined): Promise<void> => {
    for await (const stored of records.list())
      if (stored.signature !== null && !stored.used && stored.digest !== but)
        await records.put(stored.digest, { ...stored, used: true });
  };
  const allowed = async (wanted: LedgerLimits): Promise<LedgerLimits> => {
    const now = inForce();
    waiting = undefined;
    const isRaise = raisesOf(now, wanted).length > 0;
    const digest = limitsDigest(wanted);
    await spend(isRaise ? digest : undefined);
    if (!isRaise) return wanted;
    const before = await records.get(digest);
    if (before !== undefined && isApproved(before)) {
      // The program ended between the second approval and the ledger.
      await enforce(wanted, before, undefined);
      return wanted;
    }
    // What waited before a restart goes on waiting; an approval that was used is not used again.
    const isOpen = before !== undefined && !before.used && before.approvals.length < PEOPLE;
    const stored: Stored = isOpen
      ? before
      : { digest, sinceMs: Math.trunc(clock.nowMs()), approvals: [], signature: null, used: false };
    if (!isOpen) await records.put(digest, stored);
    await audit.record({
      action: 'proposal.made',
      outcome: 'ok',
      objects: [{ kind: 'budgets', id: digest }],
    });
    waiting = { wanted, stored };
    return withoutRaises(now, wanted);
  };

  /** One at a time: two approvals at one moment are two approvals. */
  const inTurn = createSerial();

  return {
    allowed: (wanted) => inTurn(() => allowed(wanted)),
    pending: () => (waiting === undefined ? null : show(waiting)),
    approve: (digest, by) => inTurn(() => approve(digest, by)),
  };
};
