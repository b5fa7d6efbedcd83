/**
 * A site in sealed rounds: answers the coordinator's messages, charges before it agrees, works, and sends its masked vector until it is received. Every
 * answer leaves after the state behind it is on the disk, so a message that comes again after a crash gets the same one.
 */
import { fromBase64, fromHex, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { type Clock, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { AuditAction } from '../../shared/audit/entry.ts';
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';
import { type IdentitiesAt, verifySignature } from '../../shared/crypto/signature.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { QueryId, type RoundId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { mechanismOfText } from '../../shared/privacy/mechanism.ts';
import { LABELS, parseMessage } from '../../shared/rounds/fields.ts';
import { maskGraph } from '../../shared/rounds/mask-graph.ts';
import {
  CHUNK_BYTES,
  chunkCountOf,
  chunkHashOf,
  PlanRef,
  receiptBytes,
  RevealRequest,
  RoundAborted,
  RoundMembers,
  RoundSurvivors,
  SignedHeader,
  SignedReceipt,
  vectorHashOf,
} from '../../shared/rounds/messages.ts';
import { parsePlan, planHashOf, type PlanBytes, type RoundPlan } from '../../shared/rounds/plan.ts';
import { slowly } from '../../shared/rounds/slowly.ts';
import { maskApart } from '../../shared/rounds/thread.ts';
import { bytesOf, toWords } from '../../shared/rounds/words.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import type { Call, Handler, Handlers, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { Block } from '../budget/blocks.ts';
import type { Ledger, Reservation } from '../budget/ledger.ts';
import { createEpochCalls, type EpochCallOptions } from './epoch-calls.ts';
import { createRoundLine, type RoundCaller } from './line.ts';
import { checkPlan } from './policy.ts';
import { createRoundShelf, isEnded } from './shelf.ts';
import { takeRoundKeys } from './site-epoch.ts';
import {
  acceptingMembers,
  confirmingSurvivors,
  joinRound,
  masksOf,
  revealing,
  sharingSecrets,
  signVector,
  type SiteRound,
  type Step,
} from './site-round.ts';
import { workerFor } from './work.ts';

export interface RoundsOptions extends EpochCallOptions {
  readonly store: Store;
  /** How often this home was restored from a backup. */
  readonly restores: number;
  readonly audit: AuditLog;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly coordinatorAt: IdentitiesAt;
  /** The data blocks that a round reads; undefined where the site keeps none. */
  blocks(plan: RoundPlan): readonly Block[] | undefined;
  readonly caller: () => RoundCaller;
}

export interface SiteRounds {
  /** Calls of the coordinator. */
  readonly handlers: Handlers;
  /** Goes on with what was under way when the program ended. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

/** Rounds that a site is in at once. */
const ROUNDS_MAX = 8;
const CALL_TIMEOUT_MS = 30 * SECOND_MS;
/** A round that nobody ended. */
const FORGET_AFTER_MS = 24 * HOUR_MS;
const LOOK_EVERY_MS = 10 * MINUTE_MS;

const carriedOut = (): QflError =>
  new QflError('expired', {
    detail:
      'the ledger of this site says that it has taken part in this round before, and its store does not know of it',
    next: 'Begin another round. If this home was not restored from a backup, tell its administrator.',
  });

export const createSiteRounds = (options: RoundsOptions): SiteRounds => {
  const { self, vault, keys, audit, ledger, clock, random, logger, store } = options;
  const shelf = createRoundShelf(store);
  const line = createRoundLine(options.caller, shelf);
  /** One message after another: states grow one at a time. */
  const serial = createSerial();
  const reservations = new Map<RoundId, Reservation>();
  const running = new Map<RoundId, { readonly abort: AbortController; readonly done: Promise<void> }>();
  const byPlan = new Map<string, RoundId>();
  let isClosed = false;

  const isOfCoordinator = (label: string, message: Uint8Array, signature: string): boolean =>
    options
      .coordinatorAt(clock.nowMs())
      .some((key) => verifySignature(key, label, message, fromBase64(signature)));
  const note = (
    action: AuditAction,
    { plan }: PlanBytes,
    outcome: 'ok' | 'begun' | 'failed',
    cost?: bigint,
  ) =>
    audit.record({
      action,
      outcome,
      actor: plan.asker,
      purpose: plan.work.kind,
      objects: [{ kind: 'round', id: plan.round }],
      requestId: plan.round,
      ...(cost === undefined ? {} : { cost: Number(cost) }),
    });

  /** The open round that a message is about. @throws QflError `not_found`, `expired` */
  const roundOf = async (planHash: string): Promise<{ id: RoundId; round: SiteRound; plan: PlanBytes }> => {
    const id = byPlan.get(planHash);
    const stored = id === undefined ? undefined : await shelf.round(id);
    if (id === undefined || stored === undefined)
      throw new QflError('not_found', { detail: 'this site is in no such round' });
    if (isEnded(stored)) throw new QflError('expired', { detail: 'this round is over here' });
    return { id, round: stored, plan: parsePlan(fromBase64(stored.plan)) };
  };
  const keep = async <Value>(id: RoundId, { round, reply }: Step<Value>): Promise<Value> => {
    await shelf.putRound(id, round);
    return reply;
  };

  /**
   * Charged before the site agrees, and before it works. What a run before a crash had charged stands, for the round that is still on the disk. A ledger
   * that knows more of the round than the store does belongs to a store that was put back: the vector has left already, and another would be a second
   * release for one charge.
   */
  const reserve = async ({ plan, hash }: PlanBytes, known: SiteRound | undefined): Promise<void> => {
    if (reservations.has(plan.round)) return;
    const blocks = options.blocks(plan);
    const charge = ledger.reserve({
      sender: COORDINATOR_NAME,
      asker: plan.asker,
      department: plan.department,
      queryId: QueryId.parse(plan.round),
      envelopeHash: toHex(hash),
      mechanisms: plan.privacy.mechanisms.map(mechanismOfText),
      ...(blocks === undefined ? {} : { blocks }),
    });
    try {
      const made = await charge;
      if (made.status === 'reserved') reservations.set(plan.round, made);
      else if (known?.vector === undefined) throw carriedOut();
    } catch (error) {
      if (toQflError(error).code !== 'outcome_unknown') throw error;
      if (known === undefined) throw carriedOut();
    }
  };

  const join = async ({ header, payload }: Call): Promise<Reply> => {
    const { signature } = parseMessage(SignedHeader, header);
    if (!isOfCoordinator(LABELS.plan, planHashOf(payload), signature))
      throw new QflError('bad_signature', {
        detail: "the plan is not signed by this federation's coordinator",
      });
    const plan = parsePlan(payload);
    const { round: id } = plan.plan;
    const known = await shelf.round(id);
    if (known !== undefined && isEnded(known))
      throw new QflError('expired', { detail: 'this round is over here' });
    if (known !== undefined && known.plan !== toBase64(payload))
      throw new QflError('conflict', { detail: 'this site has another plan of this round' });
    await options.directoryReady();
    checkPlan(plan.plan, options);
    if (known === undefined) await begin(plan);
    try {
      await reserve(plan, known);
    } catch (error) {
      await end(id, toHex(plan.hash));
      throw error;
    }
    if (known === undefined) await note('round.joined', plan, 'ok', reservations.get(id)?.spendUnits);
    return {};
  };

  const begin = async (plan: PlanBytes): Promise<void> => {
    const { round: id, epoch: epochId, number, sites, transcript } = plan.plan;
    if (byPlan.size >= ROUNDS_MAX)
      throw new QflError('overloaded', { detail: `this site is in ${ROUNDS_MAX} rounds already` });
    const epoch = await shelf.epoch(epochId);
    if (epoch === undefined || epoch.transcript !== transcript || epoch.sites.join() !== sites.join())
      throw new QflError('unknown_key', {
        detail: 'this site has no keys of this epoch with these sites',
        next: 'Begin the round again: the coordinator then makes a new epoch.',
      });
    const taken = takeRoundKeys(epoch, number);
    const graph = maskGraph(sites.length, fromHex(epoch.graphSeed!));
    const round = joinRound({
      plan,
      self,
      pairKeys: taken.pairKeys,
      neighbours: graph[sites.indexOf(self)]!,
    });
    await shelf.beginRound(id, round, taken.epoch);
    byPlan.set(toHex(plan.hash), id);
  };

  const end = async (id: RoundId, planHash: string): Promise<void> => {
    running.get(id)?.abort.abort();
    const reservation = reservations.get(id);
    reservations.delete(id);
    byPlan.delete(planHash);
    // Whatever went wrong after the charge, the charge stays: an error may depend on the records.
    await reservation?.abandon();
    await shelf.endRound(id, planHash);
  };

  const shares = async ({ header }: Call): Promise<Reply> => {
    const { id, round } = await roundOf(parseMessage(PlanRef, header).plan);
    const payload = await keep(id, await slowly(sharingSecrets(round, random)));
    const signature = toBase64(vault.identity.sign(LABELS.shares, blake2b(HASH_BYTES, payload)));
    return { header: { signature }, payload };
  };
  const members = async ({ header }: Call): Promise<Reply> => {
    const message = parseMessage(RoundMembers, header);
    const { id, round } = await roundOf(message.plan);
    await keep(id, await slowly(acceptingMembers(round, message)));
    start(id);
    return {};
  };
  const survivors = async ({ header }: Call): Promise<Reply> => {
    const message = parseMessage(RoundSurvivors, header);
    const { id, round } = await roundOf(message.plan);
    const identity = vault.identity;
    return {
      header: {
        signature: await keep(id, await slowly(confirmingSurvivors(round, message, { identity, keys }))),
      },
    };
  };
  const revealShares = async ({ header }: Call): Promise<Reply> => {
    const message = parseMessage(RevealRequest, header);
    const { id, round, plan } = await roundOf(message.plan);
    const reply = await keep(id, await slowly(revealing(round, message, { identity: vault.identity, keys })));
    if (round.revealed === undefined) await note('round.revealed', plan, 'ok');
    return { header: reply };
  };
  const receipt = async ({ header }: Call): Promise<Reply> => {
    const { receipt: received, signature } = parseMessage(SignedReceipt, header);
    if (!isOfCoordinator(LABELS.receipt, receiptBytes(received), signature))
      throw new QflError('bad_signature', {
        detail: "the receipt is not signed by this federation's coordinator",
      });
    // Already gone where it was received before.
    const id = byPlan.get(received.plan);
    if (id === undefined) return {};
    const { plan } = await roundOf(received.plan);
    await note('round.ended', plan, 'ok');
    await end(id, received.plan);
    return {};
  };
  const aborted = async (header: unknown): Promise<void> => {
    const { plan: hash } = parseMessage(RoundAborted, header);
    const id = byPlan.get(hash);
    if (id === undefined) return;
    const { plan, round } = await roundOf(hash);
    await note('round.ended', plan, 'failed');
    // Nothing was computed, so nothing can have left: the only case in which the charge is given back.
    if (round.members === undefined) {
      const reservation = reservations.get(id);
      reservations.delete(id);
      await reservation?.refund('cancelled_before_start');
    }
    await end(id, hash);
  };

  /** Computes, masks and keeps the vector; then, and only then, the charge is final. Nothing has left yet. */
  const prepare = async (id: RoundId, plan: PlanBytes, signal: AbortSignal): Promise<void> => {
    const model = await line.fetchModel(plan, signal);
    reservations.get(id)?.startComputing();
    const exact = await workerFor(options.workers, plan.plan).compute(plan.plan, model, signal);
    const { round } = await roundOf(toHex(plan.hash));
    const masked = bytesOf(await maskApart(toWords(exact), masksOf(round)));
    const hashes: Uint8Array[] = [];
    for (let index = 0; index < chunkCountOf(plan.plan.words); index += 1) {
      const chunk = masked.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
      hashes.push(chunkHashOf(chunk));
      await shelf.putChunk(id, index, chunk);
    }
    const vectorHash = vectorHashOf(plan.hash, self, plan.plan.words, hashes);
    await serial(async () => {
      const { round: now } = await roundOf(toHex(plan.hash));
      await keep(id, signVector(now, vectorHash, vault.identity));
    });
  };

  const commit = async (id: RoundId): Promise<void> => {
    const reservation = reservations.get(id);
    reservations.delete(id);
    // None after a restart: the ledger then counts the charge for good already.
    await reservation?.commit(utf8('sealed round'));
  };

  /** Works and sends, from wherever it stopped. */
  const run = async (id: RoundId, signal: AbortSignal): Promise<void> => {
    const stored = await shelf.round(id);
    if (stored === undefined || isEnded(stored) || stored.members === undefined) return;
    const plan = parsePlan(fromBase64(stored.plan));
    try {
      if (stored.vector === undefined) {
        await reserve(plan, stored);
        await prepare(id, plan, signal);
        await commit(id);
        await note('round.sent', plan, 'begun');
      }
      const { round } = await roundOf(toHex(plan.hash));
      await line.send(id, round, plan, signal);
    } catch (error) {
      if (signal.aborted || isClosed) return;
      const { code } = toQflError(error);
      logger.error({ err: error, round: id }, 'this site’s part in a sealed round failed');
      await note('round.ended', plan, 'failed').catch((failure: unknown) =>
        logger.error({ err: failure, round: id }, 'the end of a sealed round could not be noted'),
      );
      const header = { plan: toHex(plan.hash), code };
      await options
        .caller()
        .request(METHODS.roundLost, { header }, { timeoutMs: CALL_TIMEOUT_MS })
        // It hears of it by this site's silence, then.
        .catch((failure: unknown) =>
          logger.warn({ err: failure, round: id }, 'the coordinator could not be told'),
        );
      await serial(() => end(id, toHex(plan.hash)));
    }
  };
  const start = (id: RoundId): void => {
    if (running.has(id) || isClosed) return;
    const abort = new AbortController();
    const done = run(id, abort.signal)
      .catch((error: unknown) => logger.error({ err: error, round: id }, 'a sealed round failed here'))
      .finally(() => running.delete(id));
    running.set(id, { abort, done });
  };

  const plain = (answer: (call: Call) => Promise<Reply>): Handler => ({
    kind: 'plain',
    answer: (call) => serial(() => answer(call)),
  });
  const forget = async (): Promise<void> => {
    for (const { id, round } of await shelf.open()) {
      const plan = parsePlan(fromBase64(round.plan));
      if (clock.nowMs() - plan.plan.madeMs < FORGET_AFTER_MS) continue;
      await note('round.ended', plan, 'failed');
      await end(id, toHex(plan.hash));
    }
  };
  /** Plans in the words of an earlier program: nobody goes on with those rounds, and what was charged stays charged. */
  const endUnreadable = async (): Promise<void> => {
    for (const { id, round } of await shelf.open()) {
      const bytes = fromBase64(round.plan);
      try {
        parsePlan(bytes);
      } catch (error) {
        logger.warn({ err: error, round: id }, 'a sealed round of another version of this program is over');
        await shelf.endRound(id, toHex(planHashOf(bytes)));
      }
    }
  };
  /** A store that was put back may not know what it stood for, or which keys it has used: it takes part in new epochs only. */
  const forgetAfterRestore = async (): Promise<void> => {
    if ((await shelf.restores()) === options.restores) return;
    for (const { id, round } of await shelf.open())
      await shelf.endRound(id, toHex(parsePlan(fromBase64(round.plan)).hash));
    await shelf.restored(options.restores);
  };
  const look = setInterval(
    () =>
      void serial(forget).catch((error: unknown) =>
        logger.error({ err: error }, 'a sealed round could not be forgotten'),
      ),
    LOOK_EVERY_MS,
  );
  look.unref();

  return {
    handlers: {
      ...Object.fromEntries(
        Object.entries(createEpochCalls(options, shelf)).map(([method, answer]) => [method, plain(answer)]),
      ),
      [METHODS.roundPlan]: plain(join),
      [METHODS.roundShares]: plain(shares),
      [METHODS.roundMembers]: plain(members),
      [METHODS.roundSurvivors]: plain(survivors),
      [METHODS.roundReveal]: plain(revealShares),
      [METHODS.roundReceipt]: plain(receipt),
      [METHODS.roundAborted]: {
        kind: 'event',
        accept: ({ header }) =>
          void serial(() => aborted(header)).catch((error: unknown) =>
            logger.warn({ err: error }, 'the end of a sealed round could not be noted'),
          ),
      },
    },
    async resume() {
      await endUnreadable();
      await forgetAfterRestore();
      for (const { id, round } of await shelf.open()) {
        byPlan.set(toHex(parsePlan(fromBase64(round.plan)).hash), id);
        start(id);
      }
    },
    async close() {
      isClosed = true;
      clearInterval(look);
      for (const { abort } of running.values()) abort.abort();
      await Promise.all([...running.values()].map(({ done }) => done));
    },
  };
};
