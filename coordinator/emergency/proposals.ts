/**
 * Decisions that need two people: one proposes, another one decides. Both are people who signed in as administrators; a key is a program, and two
 * keys may be one person. What was decided is signed by the coordinator, and each step is in the log before it counts. A decision is on the disk before it
 * is carried out, and carried out once: a crash in between loses nothing and repeats nothing.
 */
import { z } from 'zod';
import type { Principal } from '../../shared/access/principal.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { canonicalBytes } from '../../shared/audit/canonical.ts';
import { toBase64 } from '../../shared/bytes.ts';
import { type Clock, DAY_MS } from '../../shared/clock.ts';
import type { Identity } from '../../shared/crypto/signature.ts';
import { QflError } from '../../shared/errors.ts';
import { RoleName } from '../../shared/http/role-name.ts';
import { AccountId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Store } from '../../shared/store/port.ts';
import { createRecordStore } from '../../shared/store/records.ts';
import { type ProposalKind, ProposalShown } from '../../shared/wire/emergency.ts';
import type { ActorPseudonyms } from '../access/pseudonyms.ts';
import { createSerial } from '../../shared/serial.ts';

export const PROPOSAL_LIFE_MS = DAY_MS;
/**
 * So long after somebody else had an account in hand it is nobody of its own: one administrator could make it, or reset it, and decide with it as well. Time
 * enough for its owner, or for who reads the log, to notice; and no shorter than a proposal lives, so no account that came after the wish decides it.
 */
export const SETTLING_MS = DAY_MS;
/** Open ones at once, and ended ones that are kept. */
const OPEN_MAX = 50;
const KEPT_MAX = 1_000;
export const DECISION_LABEL = 'qfl two-person decision';

const Stored = ProposalShown.extend({
  proposer: AccountId,
  decider: AccountId.nullable(),
  /** The decider's role then. */
  deciderRole: RoleName.nullable().default(null),
  /** What the executor's `basis` was when it was approved. */
  basis: z.int().nullable().default(null),
});
type Stored = z.infer<typeof Stored>;

/** What a kind of proposal means. Pure but for `execute`. */
export interface ProposalExecutor {
  /** Accounts that nobody else had in hand since then count at once: what the decision is about began, and was not known before. Null: none. */
  sinceMs?(): number | null;
  summary(payload: Readonly<Record<string, unknown>>): string;
  /** May it be proposed, or still be done, now? @throws QflError */
  check(payload: Readonly<Record<string, unknown>>): void;
  /** Which one it is about: another number once it was carried out, or once something else came. It is carried out on that one only. */
  basis(): number;
  /** Was it carried out on this basis already? */
  isDone(payload: Readonly<Record<string, unknown>>, basis: number): boolean;
  /** @throws QflError `conflict` when it cannot be done any more */
  execute(payload: Readonly<Record<string, unknown>>, decider: Decider, basis: number): Promise<void>;
}
export type Decider = Pick<Principal, 'id' | 'role'>;
export type ProposalExecutors = Readonly<Record<ProposalKind, ProposalExecutor>>;

export interface Proposals {
  /** @throws QflError `forbidden` unless a person asks whose account nobody else just had in hand, `conflict`, `overloaded`, and what the executor refuses */
  propose(
    kind: ProposalKind,
    payload: Readonly<Record<string, unknown>>,
    by: Principal,
  ): Promise<ProposalShown>;
  /** @throws QflError `forbidden` for whoever proposed it, and for accounts that somebody else just had in hand, `conflict` when it is over, `not_found` */
  approve(id: string, by: Principal): Promise<ProposalShown>;
  refuse(id: string, by: Principal): Promise<ProposalShown>;
  /** Carries out what was approved when a crash came; before anybody can come in. */
  complete(): Promise<void>;
  get(id: string): ProposalShown;
  /** Newest first. */
  list(): readonly ProposalShown[];
  openOf(kind: ProposalKind): ProposalShown | undefined;
}

export interface ProposalOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: RandomBytes;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly identity: Identity;
  readonly logger: Pick<Logger, 'error'>;
  readonly pseudonyms: ActorPseudonyms;
  /** When somebody else last had this account in hand. */
  readonly trustedSinceMs: (account: AccountId) => number;
  readonly executors: ProposalExecutors;
}

/** The bytes that are signed: canonical JSON, so that anybody can make them again. */
export const decisionBytes = (proposal: ProposalShown): Uint8Array =>
  canonicalBytes({
    id: proposal.id,
    kind: proposal.kind,
    payload: JSON.stringify(proposal.payload),
    proposedBy: proposal.proposedBy,
    proposedMs: proposal.proposedMs,
    decidedBy: proposal.decidedBy ?? '',
    decidedMs: proposal.decidedMs ?? 0,
  });

const personOf = ({ kind, id, role }: Principal): AccountId => {
  if (kind === 'account') return AccountId.parse(id);
  throw new QflError('forbidden', {
    detail: `this needs a person who signed in; ${kind === 'key' ? 'a key' : `the ${role} of this machine`} is not one of the two`,
    next: 'Sign in with "qfl login"; each of the two people with an account of their own.',
  });
};

const shown = ({
  proposer: _proposer,
  decider: _decider,
  deciderRole: _role,
  basis: _basis,
  ...rest
}: Stored): ProposalShown => rest;

export const openProposals = async (options: ProposalOptions): Promise<Proposals> => {
  const { store, clock, random, audit, identity, pseudonyms, executors } = options;
  const records = createRecordStore(store, 'proposal/', Stored);
  const known = new Map<string, Stored>();
  for await (const stored of records.list()) known.set(stored.id, stored);
  const nowMs = (): number => Math.trunc(clock.nowMs());

  const current = (stored: Stored): Stored =>
    stored.status === 'open' && nowMs() >= stored.expiresMs ? { ...stored, status: 'expired' } : stored;
  const find = (id: string): Stored => {
    const stored = known.get(id);
    if (stored === undefined) throw new QflError('not_found', { detail: `there is no proposal ${id}` });
    return current(stored);
  };
  const all = (): Stored[] =>
    [...known.values()].map(current).toSorted((a, b) => b.proposedMs - a.proposedMs);
  const keep = async (stored: Stored): Promise<Stored> => {
    const gone = all()
      .filter(({ status }) => status !== 'open' && status !== 'approved')
      .slice(KEPT_MAX);
    await store.write([records.putting(stored.id, stored), ...gone.map(({ id }) => records.deleting(id))]);
    for (const { id } of gone) known.delete(id);
    known.set(stored.id, stored);
    return stored;
  };
  const record = (
    action: 'proposal.made' | 'proposal.approved' | 'proposal.refused',
    { id, kind }: Pick<Stored, 'id' | 'kind'>,
    by: Principal,
  ) =>
    audit.record({
      action,
      outcome: 'begun',
      ...pseudonyms.actorOf(by),
      objects: [
        { kind: 'proposal', id },
        { kind: 'decision', id: kind },
      ],
    });

  /** @throws QflError `forbidden` for an account that may still be somebody else's */
  const checkSettled = (account: AccountId, executor: ProposalExecutor): void => {
    const trustedMs = options.trustedSinceMs(account);
    const settledMs = trustedMs + SETTLING_MS;
    if (trustedMs <= (executor.sinceMs?.() ?? -1) || nowMs() >= settledMs) return;
    throw new QflError('forbidden', {
      detail:
        'this account was made, reset or given its role by somebody else a short while ago; it is not one of the two yet',
      next: `It counts from ${new Date(settledMs).toISOString()} on.`,
    });
  };

  /** What was approved, and whether it went well, on the disk. A fault of the machine leaves it approved: it is tried again. */
  const carryOut = async (approved: Stored): Promise<Stored> => {
    const { kind, payload, decider, deciderRole, basis } = approved;
    const executor = executors[kind];
    const ended = (status: 'done' | 'failed'): Promise<Stored> =>
      keep({ ...approved, status, version: approved.version + 1 });
    if (decider === null || deciderRole === null || basis === null)
      throw new Error('an approved proposal without its decision');
    if (executor.isDone(payload, basis)) return ended('done');
    try {
      await executor.execute(payload, { id: decider, role: deciderRole }, basis);
    } catch (error) {
      if (error instanceof QflError && error.code === 'conflict') await ended('failed');
      throw error;
    }
    return ended('done');
  };

  /** One decision at a time: two people who press at one moment are one decision. */
  const inTurn = createSerial();
  const decidable = (id: string, by: Principal): Stored => {
    const stored = find(id);
    if (stored.status !== 'open')
      throw new QflError('conflict', { detail: `the proposal is ${stored.status}`, next: 'Make a new one.' });
    personOf(by);
    return stored;
  };

  return {
    propose: (kind, payload, by) =>
      inTurn(async () => {
        const proposer = personOf(by);
        const executor = executors[kind];
        checkSettled(proposer, executor);
        executor.check(payload);
        const open = all().filter(({ status }) => status === 'open');
        if (open.some((one) => one.kind === kind))
          throw new QflError('conflict', {
            detail: 'there is an open proposal of this kind already',
            next: 'Another administrator approves or refuses it: "qfl proposal list".',
          });
        if (open.length >= OPEN_MAX) throw new QflError('overloaded', { detail: 'too many open proposals' });
        const id = randomHex(random, 8);
        await record('proposal.made', { id, kind }, by);
        const stored = await keep({
          id,
          kind,
          summary: executor.summary(payload),
          payload: { ...payload },
          status: 'open',
          proposedBy: pseudonyms.of(by.id),
          proposedMs: nowMs(),
          expiresMs: nowMs() + PROPOSAL_LIFE_MS,
          decidedBy: null,
          decidedMs: null,
          signature: null,
          version: 1,
          proposer,
          decider: null,
          deciderRole: null,
          basis: null,
        });
        return shown(stored);
      }),
    approve: (id, by) =>
      inTurn(async () => {
        const decider = personOf(by);
        if (find(id).status === 'approved') return shown(await carryOut(find(id)));
        const stored = decidable(id, by);
        if (decider === stored.proposer)
          throw new QflError('forbidden', {
            detail: 'whoever proposed it cannot approve it',
            next: 'Another administrator has to.',
          });
        const executor = executors[stored.kind];
        checkSettled(decider, executor);
        executor.check(stored.payload);
        const decided: Stored = {
          ...stored,
          status: 'approved',
          decider,
          deciderRole: by.role,
          decidedBy: pseudonyms.of(by.id),
          decidedMs: nowMs(),
          basis: executor.basis(),
          version: stored.version + 1,
        };
        const { ed25519, mldsa65 } = identity.signHybrid(DECISION_LABEL, decisionBytes(shown(decided)));
        await record('proposal.approved', stored, by);
        const signature = { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) };
        return shown(await carryOut(await keep({ ...decided, signature })));
      }),
    complete: () =>
      inTurn(async () => {
        for (const stored of all().filter(({ status }) => status === 'approved'))
          await carryOut(stored).catch((error: unknown) =>
            options.logger.error(
              { err: error, proposal: stored.id },
              'an approved proposal was not carried out',
            ),
          );
      }),
    refuse: (id, by) =>
      inTurn(async () => {
        const stored = decidable(id, by);
        await record('proposal.refused', stored, by);
        return shown(
          await keep({
            ...stored,
            status: 'refused',
            decider: personOf(by),
            decidedBy: pseudonyms.of(by.id),
            decidedMs: nowMs(),
            version: stored.version + 1,
          }),
        );
      }),
    get: (id) => shown(find(id)),
    list: () => all().map(shown),
    openOf: (kind) => all().find((one) => one.kind === kind && one.status === 'open'),
  };
};
