/**
 * Carries sealed rounds from plan to sum. What happened is kept event by event before anything is made of it; after a crash a round goes on from its
 * events and from the vectors that are on the disk. A round ends by itself when nothing comes for as long as its plan says.
 */
import { setMaxListeners } from 'node:events';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromBase64, fromHex, fromUtf8, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { type Clock, SECOND_MS } from '../../shared/clock.ts';
import type { Identity, IdentityPublic } from '../../shared/crypto/signature.ts';
import { createDeferred } from '../../shared/deferred.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { type DepartmentId, type Pseudonym, RoundId, type SiteId, type TaskId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { type RandomBytes, randomHex } from '../../shared/random.ts';
import { LABELS, parseMessage } from '../../shared/rounds/fields.ts';
import { maskGraph } from '../../shared/rounds/mask-graph.ts';
import { chunkHashOf, RevealReply, SignedHeader } from '../../shared/rounds/messages.ts';
import {
  packPlan,
  parsePlan,
  type RoundPlan,
  type RoundPrivacy,
  type RoundWork,
} from '../../shared/rounds/plan.ts';
import { slowly } from '../../shared/rounds/slowly.ts';
import { pause } from '../../shared/pause.ts';
import { hashSlowly, openApart, robustApart } from '../../shared/rounds/thread.ts';
import { thresholdOf } from '../../shared/rounds/tolerance.ts';
import { bytesOf, centred, wordsOf } from '../../shared/rounds/words.ts';
import { createSerial, createSerialByKey } from '../../shared/serial.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { writeWholeFile } from '../../shared/whole-file.ts';
import type { RoundShown } from '../../shared/wire/round.ts';
import { METHODS } from '../../shared/wire/session.ts';
import type { Presence } from '../sites/presence.ts';
import { type Ask, askingOver } from './ask.ts';
import { type Live, shown, StoredPlan } from './live.ts';
import { createUploadCalls, type SiteCalls } from './uploads.ts';
import { createEpochs } from './epochs.ts';
import { openingMasks } from './opening.ts';
import { awaited, newRound, roundAfter, RoundEvent, type RoundState, survivorsHash } from './round.ts';
import { createReceipts, type PendingReceipt } from './receipts.ts';
import { createSpool } from './spool.ts';
import { createSummaries } from './summaries.ts';

const PREFIX = 'round/';
const ROUND_BYTES = 16;
const ASK_TIMEOUT_MS = 30 * SECOND_MS;
const LIST_MAX = 200;

export interface RoundRequest {
  readonly sites: readonly SiteId[];
  readonly words: number;
  readonly work: RoundWork;
  readonly privacy: RoundPrivacy;
  readonly model: Uint8Array | null;
  readonly masked: boolean;
  readonly rule: RoundPlan['rule'];
  readonly minCohort: number;
  readonly silenceMs: number;
  readonly asker: Pseudonym;
  readonly department: DepartmentId;
  readonly task: TaskId | null;
  /** Chosen by who asks: the same again is the same round. */
  readonly id?: RoundId;
}

export interface Rounds {
  /**
   * @param id of a round that was begun before and is to be gone on with; a new one where left out
   * @throws QflError `site_unavailable` where the sites have no common keys
   */
  start(request: RoundRequest, signal: AbortSignal): Promise<RoundId>;
  /**
   * The sum of the survivors' vectors, once it is open; a second call gives it again until it is forgotten.
   * @throws QflError `site_unavailable` when the round ended without one, `not_found`
   */
  sum(id: RoundId): Promise<{ readonly sum: Int32Array; readonly survivors: readonly SiteId[] }>;
  /** The round of a training that has not ended. */
  underWay(task: TaskId): RoundId | undefined;
  /** The sum and all that is left of the round on the disk but its summary. */
  forget(id: RoundId): Promise<void>;
  list(): Promise<readonly RoundShown[]>;
  /** @throws QflError `not_found` */
  show(id: RoundId): Promise<RoundShown>;
  /** As it is, then after every change; ends with the round. @throws QflError `not_found` */
  watch(id: RoundId, signal: AbortSignal): AsyncIterable<RoundShown>;
  /** @throws QflError `not_found`, `conflict` */
  cancel(id: RoundId, why: string): Promise<void>;
  /** Calls of a site. */
  readonly calls: SiteCalls;
  /** Goes on with rounds that were under way. */
  resume(): Promise<void>;
  close(): Promise<void>;
}

export interface RoundsOptions {
  readonly home: string;
  readonly federation: string;
  readonly store: Store;
  readonly presence: Pick<Presence, 'of'>;
  readonly identity: () => Identity;
  /** Of an approved site; undefined where it has none in force. */
  readonly identityOf: (site: SiteId) => IdentityPublic | undefined;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly logger: Logger;
}

const jsonBytes = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const eventKey = (id: RoundId, number: number): string =>
  `${PREFIX}${id}/event/${String(number).padStart(8, '0')}`;
const notFound = (): QflError => new QflError('not_found', { detail: 'there is no such round' });

export const createRounds = (options: RoundsOptions): Rounds => {
  const { store, audit, clock, random, logger, identityOf } = options;
  const ask: Ask = askingOver(options.presence, ASK_TIMEOUT_MS);
  const epochs = createEpochs({
    store,
    ask,
    clock,
    random,
    identityOf: (site) => {
      const found = identityOf(site);
      return found === undefined ? undefined : toHex(found.ed25519);
    },
  });
  const live = new Map<RoundId, Live>();
  const byPlan = new Map<string, Live>();
  const oneStart = createSerial();
  const perRound = createSerialByKey<RoundId>();
  const stop = new AbortController();
  // Each round under way listens to it.
  setMaxListeners(0, stop.signal);
  const background = new Set<Promise<void>>();
  const inBackground = (what: string, work: () => Promise<void>): void => {
    const done = work()
      .catch((error: unknown) => {
        if (!stop.signal.aborted) logger.error({ err: error }, what);
      })
      .finally(() => background.delete(done));
    background.add(done);
  };
  const modelPath = (id: RoundId): string => join(options.home, 'rounds', `${id}.model`);
  const sumPath = (id: RoundId): string => join(options.home, 'rounds', `${id}.sum`);

  const summaries = createSummaries(store);
  const receipts = createReceipts({
    store,
    ask,
    clock,
    sign: (label, bytes) => options.identity().sign(label, bytes),
    stop: stop.signal,
  });
  const giveReceipt = (id: RoundId, receipt: PendingReceipt): void =>
    inBackground('receipts could not be given', () => receipts.give(id, receipt));

  const tell = (round: Live): void => {
    for (const changed of round.changed) changed();
  };

  /** Keeps an event, then counts it. One after another in each round. */
  const happen = (round: Live, event: RoundEvent): Promise<void> =>
    perRound(round.id, async () => {
      const { phase } = round.state;
      const next = roundAfter(round.state, event, identityOf);
      if (next === round.state) return;
      round.events += 1;
      await store.write([{ type: 'put', key: eventKey(round.id, round.events), value: jsonBytes(event) }]);
      round.state = next;
      round.lastMs = clock.monotonicMs();
      if (next.phase !== phase) {
        round.phase.abort();
        round.phase = new AbortController();
        advance(round);
      }
      tell(round);
    });

  const lost = async (round: Live, site: SiteId, thrown: unknown): Promise<void> => {
    const { code, detail, title, facts } = toQflError(thrown);
    if (code === 'unknown_key') await epochs.forget(round.plan.plan.sites);
    const dealer = round.plan.plan.sites.find((one) => one === facts?.['dealer']);
    await happen(round, {
      kind: 'lost',
      site,
      code,
      detail: (detail ?? title).slice(0, 500),
      ...(dealer === undefined ? {} : { blames: dealer }),
    });
  };

  /** Asks every site that the phase waits for; what each answers is an event. */
  const askAll = (
    round: Live,
    question: (site: SiteId, signal: AbortSignal) => Promise<RoundEvent | undefined>,
  ): void => {
    const signal = AbortSignal.any([round.phase.signal, stop.signal]);
    // One for each site that is asked: no leak, however many there are.
    setMaxListeners(0, signal);
    for (const site of awaited(round.state))
      inBackground('a site could not be asked in a sealed round', async () => {
        try {
          const event = await question(site, signal);
          if (event !== undefined) await happen(round, event);
        } catch (thrown) {
          if (!signal.aborted) await lost(round, site, thrown);
        }
      });
  };

  const planHex = (round: Live): string => toHex(round.plan.hash);
  const QUESTIONS: Readonly<Partial<Record<RoundState['phase'], (round: Live) => void>>> = {
    joining: (round) =>
      askAll(round, async (site, signal) => {
        const { signature } = round.stored;
        await ask(site, METHODS.roundPlan, { header: { signature }, payload: round.plan.bytes }, signal);
        return { kind: 'joined', site };
      }),
    sharing: (round) =>
      askAll(round, async (site, signal) => {
        const reply = await ask(site, METHODS.roundShares, { header: { plan: planHex(round) } }, signal);
        const { signature } = parseMessage(SignedHeader, reply.header);
        return { kind: 'shared', site, text: fromUtf8(reply.payload), signature };
      }),
    collecting: (round) => {
      const { members, shares } = round.state;
      askAll(round, async (site, signal) => {
        const place = round.plan.plan.sites.indexOf(site);
        const boxes = members.map((member) => {
          if (member.site === site || !round.plan.plan.masked) return null;
          const theirs = shares.get(member.site)!;
          return { box: theirs.boxes[place]!, hashes: theirs.shareHashes[place]! };
        });
        await ask(site, METHODS.roundMembers, { header: { plan: planHex(round), members, boxes } }, signal);
        // Its vector comes when it is ready.
        return undefined;
      });
    },
    confirming: (round) => {
      const header = { plan: planHex(round), survivors: round.state.survivors };
      askAll(round, async (site, signal) => {
        const reply = await ask(site, METHODS.roundSurvivors, { header }, signal);
        return { kind: 'alive', site, signature: parseMessage(SignedHeader, reply.header).signature };
      });
    },
    revealing: (round) => {
      const alive = [...round.state.alive].map(([site, signature]) => ({ site, signature }));
      const header = { plan: planHex(round), survivors: toHex(survivorsHash(round.state)), alive };
      askAll(round, async (site, signal) => {
        const { header: reply } = await ask(site, METHODS.roundReveal, { header }, signal);
        return { kind: 'revealed', site, reply: parseMessage(RevealReply, reply) };
      });
    },
    opening: (round) => inBackground('a sum could not be opened', () => openSum(round)),
    done: (round) => inBackground('a round could not be ended', () => finish(round)),
    aborted: (round) => inBackground('a round could not be ended', () => finish(round)),
  };
  const advance = (round: Live): void => QUESTIONS[round.state.phase]?.(round);

  const openSum = async (round: Live): Promise<void> => {
    const { rule, masked, words } = round.plan.plan;
    const opening = masked
      ? await slowly(openingMasks(round.state, round.graph))
      : { masks: { plus: [], minus: [] } };
    if ('fault' in opening) return happen(round, { kind: 'failed', detail: opening.fault });
    const paths = round.state.survivors.map(({ site }) => round.spool.pathOf(site));
    const sum = await (rule === 'sum'
      ? openApart(paths, words, opening.masks)
      : robustApart(paths, words, rule));
    await writeWholeFile(sumPath(round.id), bytesOf(sum));
    await happen(round, { kind: 'opened', sumHash: toHex(await hashSlowly(bytesOf(sum))) });
  };

  const tellAborted = (round: Live): void => {
    const header = { plan: planHex(round), why: round.state.why ?? '' };
    for (const site of round.plan.plan.sites)
      options.presence.of(site)?.peer.notify(METHODS.roundAborted, { header });
  };

  /** Its summary takes the place of its events, and the vectors go. */
  const finish = async (round: Live): Promise<void> => {
    const isDone = round.state.phase === 'done';
    await audit.record({
      action: 'round.ended',
      outcome: isDone ? 'ok' : 'failed',
      objects: [{ kind: 'round', id: round.id }],
      requestId: round.id,
    });
    const summary = shown(round, Math.trunc(clock.nowMs()));
    const gone: StoreOperation[] = [];
    for await (const key of store.keys({ prefix: `${PREFIX}${round.id}/` })) gone.push({ type: 'del', key });
    const receipt = isDone ? receipts.of(round) : undefined;
    await store.write([
      ...gone,
      ...summaries.keeping(summary),
      ...(receipt === undefined ? [] : [receipts.keeping(round.id, receipt)]),
    ]);
    await summaries.trim();
    live.delete(round.id);
    byPlan.delete(planHex(round));
    round.phase.abort();
    tell(round);
    round.ended.resolve(undefined);
    await round.spool.remove();
    await rm(modelPath(round.id), { force: true });
    if (receipt === undefined) tellAborted(round);
    else giveReceipt(round.id, receipt);
  };

  /** Ends phases in which nothing comes. */
  const listen = (round: Live): void =>
    inBackground('a sealed round is not watched', async () => {
      while (live.has(round.id) && !stop.signal.aborted) {
        const silentMs = clock.monotonicMs() - round.lastMs;
        const { silenceMs } = round.plan.plan;
        const isOpening = round.state.phase === 'opening';
        if (silentMs >= silenceMs && !isOpening) await happen(round, { kind: 'silence' });
        await pause(Math.max(100, Math.min(1_000, silenceMs - silentMs)), stop.signal);
      }
    });

  const adopt = async (id: RoundId, stored: StoredPlan): Promise<Live> => {
    const plan = parsePlan(fromBase64(stored.plan));
    const round: Live = {
      id,
      stored,
      plan,
      graph: maskGraph(plan.plan.sites.length, fromHex(stored.graphSeed)),
      spool: createSpool(options.home, id, plan.plan.words),
      state: newRound(plan),
      events: 0,
      received: new Map(),
      announced: new Map(),
      phase: new AbortController(),
      lastMs: clock.monotonicMs(),
      changed: new Set(),
      ended: createDeferred(),
    };
    for await (const { value } of store.list({ prefix: `${PREFIX}${id}/event/` })) {
      round.state = roundAfter(round.state, RoundEvent.parse(JSON.parse(fromUtf8(value))), identityOf);
      round.events += 1;
    }
    live.set(id, round);
    byPlan.set(planHex(round), round);
    advance(round);
    listen(round);
    return round;
  };

  /** One whose plan an earlier program wrote in other words is over: its sites end it for themselves. */
  const adoptOrEnd = async (id: RoundId, stored: StoredPlan): Promise<void> => {
    try {
      await adopt(id, stored);
    } catch (error) {
      if (toQflError(error).code !== 'protocol') throw error;
      logger.warn({ err: error, round: id }, 'a sealed round of another version of this program is over');
      const gone: StoreOperation[] = [];
      for await (const key of store.keys({ prefix: `${PREFIX}${id}/` })) gone.push({ type: 'del', key });
      await store.write(gone);
      await rm(modelPath(id), { force: true });
    }
  };

  const begin = async (request: RoundRequest, signal: AbortSignal): Promise<RoundId> => {
    const { id: wanted } = request;
    if (wanted !== undefined && (live.has(wanted) || (await summaries.get(wanted)) !== undefined))
      return wanted;
    const sites = [...new Set(request.sites)].toSorted();
    const epoch = await epochs.take(sites, signal);
    const id = wanted ?? RoundId.parse(randomHex(random, ROUND_BYTES));
    const startedMs = Math.trunc(clock.nowMs());
    const { model, masked, rule, words, work, privacy, minCohort, silenceMs, asker, department, task } =
      request;
    const plan = packPlan({
      version: 1,
      federation: options.federation,
      round: id,
      epoch: epoch.epoch,
      transcript: epoch.transcript,
      number: epoch.number,
      sites,
      threshold: thresholdOf(sites.length),
      minCohort,
      masked,
      rule,
      words,
      modelHash: model === null ? null : toHex(chunkHashOf(model)),
      work,
      privacy,
      asker,
      department,
      madeMs: startedMs,
      silenceMs,
    });
    parsePlan(plan.bytes);
    await audit.record({
      action: 'round.started',
      outcome: 'begun',
      actor: asker,
      purpose: work.kind,
      objects: [{ kind: 'round', id }, ...(task === null ? [] : [{ kind: 'task', id: task }])],
      requestId: id,
    });
    await mkdir(join(options.home, 'rounds'), { recursive: true, mode: 0o700 });
    if (model !== null) await writeWholeFile(modelPath(id), model);
    const stored: StoredPlan = {
      plan: toBase64(plan.bytes),
      signature: toBase64(options.identity().sign(LABELS.plan, plan.hash)),
      graphSeed: epoch.graphSeed,
      task,
      startedMs,
    };
    await store.write([{ type: 'put', key: `${PREFIX}${id}/plan`, value: jsonBytes(stored) }]);
    await adopt(id, stored);
    return id;
  };

  const summaryOf = async (id: RoundId): Promise<RoundShown> => {
    const round = live.get(id);
    if (round !== undefined) return shown(round, null);
    const ended = await summaries.get(id);
    if (ended === undefined) throw notFound();
    return ended;
  };

  return {
    start: (request, signal) => oneStart(() => begin(request, signal)),
    async sum(id) {
      const round = live.get(id);
      if (round !== undefined) await round.ended.promise;
      const { phase, why, survivors } = await summaryOf(id);
      if (phase !== 'done')
        throw new QflError('site_unavailable', {
          detail: `the round ended without a sum: ${why ?? 'it was not finished'}`,
          next: `See which site was lost, and why: qfl round show ${id}`,
        });
      const bytes = await readFile(sumPath(id)).catch((cause: unknown) => {
        throw new QflError('not_found', { detail: 'the sum of this round was fetched and forgotten', cause });
      });
      return { sum: centred(wordsOf(bytes)), survivors };
    },
    underWay: (task) => [...live.values()].find(({ stored }) => stored.task === task)?.id,
    forget: (id) => rm(sumPath(id), { force: true }),
    async list() {
      const found = [
        ...[...live.values()].map((round) => shown(round, null)),
        ...(await summaries.newest(LIST_MAX)),
      ];
      return found.toSorted((left, right) => right.startedMs - left.startedMs).slice(0, LIST_MAX);
    },
    show: summaryOf,
    async *watch(id, signal) {
      const round = live.get(id);
      if (round === undefined) return yield await summaryOf(id);
      let next = createDeferred<undefined>();
      const changed = (): void => next.resolve(undefined);
      round.changed.add(changed);
      signal.addEventListener('abort', changed, { once: true });
      try {
        while (!signal.aborted) {
          yield await summaryOf(id);
          if (!live.has(id)) return undefined;
          await next.promise;
          next = createDeferred();
        }
        return undefined;
      } finally {
        round.changed.delete(changed);
        signal.removeEventListener('abort', changed);
      }
    },
    async cancel(id, why) {
      const round = live.get(id);
      if (round === undefined) {
        await summaryOf(id);
        throw new QflError('conflict', { detail: 'this round is over' });
      }
      await happen(round, { kind: 'cancelled', detail: why });
    },
    calls: createUploadCalls({
      roundOf: (planHash) => byPlan.get(planHash),
      happen,
      progressed(round) {
        round.lastMs = clock.monotonicMs();
        tell(round);
      },
      modelPath,
    }),
    async resume() {
      const found: [RoundId, StoredPlan][] = [];
      for await (const { key, value } of store.list({ prefix: PREFIX })) {
        const [id, rest] = key.slice(PREFIX.length).split('/');
        if (rest === 'plan') found.push([RoundId.parse(id), StoredPlan.parse(JSON.parse(fromUtf8(value)))]);
      }
      for (const [id, stored] of found) await adoptOrEnd(id, stored);
      for await (const [id, receipt] of receipts.pending()) giveReceipt(id, receipt);
    },
    async close() {
      stop.abort(new QflError('cancelled', { detail: 'the coordinator is stopping' }));
      await Promise.all(background);
    },
  };
};
