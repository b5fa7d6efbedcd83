/**
 * Has the coordinator countersign how far the privacy ledger has come: on every connection, now and then while it grows, and before the end.
 * On every connection the coordinator first tells the newest head it knows of this site. If the journal does not hold that one, this home
 * is an older copy of the site, and no statistic is served from it.
 */
import { toHex } from '../../shared/bytes.ts';
import { type Clock, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import type { IdentitiesAt, Identity } from '../../shared/crypto/signature.ts';
import { assert, QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import type { CallOptions, Received, Reply } from '../../shared/wire/peer.ts';
import {
  checkCountersigned,
  CountersignedHead,
  isLater,
  type LedgerHead,
  LedgerHeadReply,
  signHead,
} from '../../shared/wire/ledger-head.ts';
import { METHODS } from '../../shared/wire/session.ts';
import { witnessedOf } from '../budget/anchor.ts';
import { countersignedFacts } from '../budget/countersigned.ts';
import type { Ledger } from '../budget/ledger.ts';

const CALL_TIMEOUT_MS = 10 * SECOND_MS;
/** At the end the agent waits no longer for its last word to be countersigned. */
const CLOSE_TIMEOUT_MS = 2 * SECOND_MS;
const LOOK_EVERY_MS = 5 * SECOND_MS;

export interface WitnessRules {
  /** A ledger that grew is countersigned at least this often. */
  readonly everyMs: number;
  /** And earlier, when it grew by this many records. */
  readonly everyRecords: number;
  /** But never more often than this. */
  readonly pauseMs: number;
}
export const DEFAULT_WITNESS_RULES: WitnessRules = {
  everyMs: 2 * MINUTE_MS,
  everyRecords: 1_000,
  pauseMs: 30 * SECOND_MS,
};

/** One connection, or the link that waits for one. */
export interface HeadCaller {
  request(method: string, message: Reply, options: CallOptions): Promise<Received>;
}

export interface LedgerWitnessOptions {
  readonly ledger: Ledger;
  readonly self: SiteId;
  readonly identity: Identity;
  /** This site's identities by time, as the directory has them. */
  readonly own: IdentitiesAt;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules?: WitnessRules;
}

export interface LedgerWitness {
  /** A connection is new: hears the newest head, compares, and tells its own. @throws QflError when it cannot be asked */
  connected(caller: HeadCaller, coordinator: IdentitiesAt): Promise<void>;
  /** Has the head countersigned if that is due. */
  look(caller: HeadCaller): Promise<void>;
  /** Looks every few seconds while `caller()` gives a connection; returns what stops it. */
  start(caller: () => HeadCaller | undefined): () => void;
  /** One last time, if anything was written since. Never throws. */
  finish(caller: HeadCaller): Promise<void>;
}

export const createLedgerWitness = (options: LedgerWitnessOptions): LedgerWitness => {
  const { ledger, self, identity, clock, logger, rules = DEFAULT_WITNESS_RULES } = options;
  /** Whose countersignatures count; known once connected. */
  let coordinator: IdentitiesAt | undefined;
  let lastSentMs = -Infinity;
  let running: Promise<void> | undefined;

  const ask = async (
    caller: HeadCaller,
    head: LedgerHead | null,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<CountersignedHead | null> => {
    const { header } = await caller.request(
      METHODS.ledgerHead,
      { header: { signed: head === null ? null : signHead(identity, head) } },
      { timeoutMs },
    );
    const reply = LedgerHeadReply.safeParse(header);
    if (!reply.success) throw new QflError('protocol', { detail: 'a wrong reply about the ledger head' });
    return reply.data.newest;
  };

  /** What the coordinator says of this site must be signed by this site: it can withhold a head, not invent one. */
  const believe = (newest: CountersignedHead): LedgerHead => {
    assert(coordinator !== undefined, 'a head is heard of on a connection only');
    const head = checkCountersigned({ site: options.own, coordinator }, newest);
    if (head.site === self) return head;
    throw new QflError('bad_signature', { detail: 'the coordinator sent the ledger head of another site' });
  };

  /** Keeps it if it is news; serves nothing more when the journal does not hold it. */
  const consider = async (newest: CountersignedHead): Promise<void> => {
    const head = believe(newest);
    const known = ledger.countersigned();
    if (known === undefined || isLater(head, known.signed.head)) await ledger.keepCountersigned(newest);
    const fault = await ledger.against(witnessedOf(countersignedFacts(newest)));
    if (fault === undefined) return;
    logger.error(
      { code: fault.code, facts: fault.facts },
      'the privacy ledger is older than its countersigned head',
    );
    ledger.refuse(fault);
  };

  const headNow = (): LedgerHead => {
    const { epoch, lifetimeUnits, lifetimeDeltaUnits, head } = ledger.status();
    return {
      site: self,
      epoch,
      counter: head.counter,
      hash: toHex(head.hash),
      units: String(lifetimeUnits),
      ...(lifetimeDeltaUnits === 0n ? {} : { delta: String(lifetimeDeltaUnits) }),
      atMs: Math.trunc(clock.nowMs()),
    };
  };

  /** A refusal names the head that speaks against ours. */
  const refused = async (error: unknown): Promise<void> => {
    const { code, facts } = toQflError(error);
    const newest = CountersignedHead.safeParse(facts?.['newest']);
    if (code !== 'ledger_refuses' || !newest.success) throw error;
    await consider(newest.data);
  };

  const tell = async (caller: HeadCaller, timeoutMs?: number): Promise<void> => {
    if (ledger.status().fault !== undefined) return;
    lastSentMs = clock.monotonicMs();
    try {
      const newest = await ask(caller, headNow(), timeoutMs);
      if (newest !== null) await consider(newest);
    } catch (error) {
      await refused(error);
    }
  };

  const isDue = (): boolean => {
    const known = ledger.countersigned()?.signed.head;
    const { head, epoch } = ledger.status();
    const grew = known?.epoch === epoch ? head.counter - known.counter : Infinity;
    const sinceMs = clock.monotonicMs() - lastSentMs;
    if (grew <= 0 || sinceMs < rules.pauseMs) return false;
    return grew >= rules.everyRecords || sinceMs >= rules.everyMs;
  };
  const alone = (work: () => Promise<void>): Promise<void> => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
  const look = (caller: HeadCaller): Promise<void> =>
    coordinator !== undefined && isDue() ? alone(() => tell(caller)) : Promise.resolve();

  return {
    async connected(caller, key) {
      coordinator = key;
      // A look that the loss of the connection cut short must not stand for this comparison.
      await running?.catch(() => undefined);
      await alone(async () => {
        const newest = await ask(caller, null);
        if (newest !== null) await consider(newest);
        await tell(caller);
      });
    },
    look,
    start(caller) {
      const timer = setInterval(() => {
        const now = caller();
        if (now !== undefined)
          look(now).catch((error: unknown) =>
            logger.warn({ err: error }, 'the ledger head could not be countersigned'),
          );
      }, LOOK_EVERY_MS);
      return () => clearInterval(timer);
    },
    async finish(caller) {
      const known = ledger.countersigned()?.signed.head;
      const { head, epoch } = ledger.status();
      if (coordinator === undefined || (known?.epoch === epoch && known.counter === head.counter)) return;
      await alone(() => tell(caller, CLOSE_TIMEOUT_MS)).catch((error: unknown) =>
        logger.warn({ err: error }, 'the last ledger head could not be countersigned'),
      );
    },
  };
};
