/**
 * Has the sites cosign the federation's logs: every minute, and soon after the directory changed or a site came. A round takes one
 * checkpoint to every site that is there; as soon as a quorum has signed, the note goes out to all, and again with those who sign late.
 */
import { setMaxListeners } from 'node:events';
import { baseOrigin } from '../../shared/audit/origin.ts';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import type { AppendLog } from '../../shared/audit/log.ts';
import { parseNote } from '../../shared/audit/note.ts';
import { fromBase64, fromUtf8, utf8 } from '../../shared/bytes.ts';
import { type Clock, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import { quorumOf, siteLogOrigin, siteOfWitness, witnessesOf } from '../../shared/directory/quorum.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { createLane, eachOf } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import { type CosignedLog, LogHeadReply, METHODS } from '../../shared/wire/session.ts';
import type { z } from 'zod';
import type { KeyLog } from '../directory/key-log.ts';
import type { Connection, Presence } from '../sites/presence.ts';
import { createGatherer, linesOf, type Subject } from './gather.ts';

export interface CosigningRules {
  readonly everyMs: number;
  /** Changes close together are cosigned once. */
  readonly gatherMs: number;
  /** Between two rounds of the directory at least. */
  readonly gapMs: number;
  readonly timeoutMs: number;
  /** How many others cosign a site's own log. */
  readonly siteLogWitnessesMax: number;
}
export const DEFAULT_COSIGNING_RULES: CosigningRules = {
  everyMs: MINUTE_MS,
  gatherMs: 30,
  gapMs: SECOND_MS,
  timeoutMs: 10 * SECOND_MS,
  siteLogWitnessesMax: 5,
};
/** Logs of sites that are taken round at once: one that hangs keeps one place for as long as a request may take. */
const SITE_LOGS_AT_ONCE = 8;
const FIRST_ROUND_MS = 10 * SECOND_MS;
const PREFIX = 'cosigned/';

export interface CosigningOptions {
  readonly federation: string;
  readonly keyLog: KeyLog;
  readonly audit: AppendLog;
  readonly presence: Presence;
  readonly isApproved: (site: SiteId) => boolean;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules?: CosigningRules;
}

export interface Cosigning {
  /** The newest checkpoint of a log with cosignatures; undefined before the first quorum. */
  newest(origin: string): string | undefined;
  /** A site came or went, or the directory grew. */
  changed(): void;
  /** One round over everything, now. */
  round(): Promise<void>;
  close(): Promise<void>;
}

const subjectOf = async (log: AppendLog): Promise<Subject> => {
  const note = await log.checkpoint();
  const { size } = readCheckpoint(note);
  return { origin: log.origin, note, size, proof: (from) => log.consistencyProof(from, size) };
};

export const startCosigning = async (options: CosigningOptions): Promise<Cosigning> => {
  const {
    federation,
    keyLog,
    audit,
    presence,
    store,
    clock,
    logger,
    rules = DEFAULT_COSIGNING_RULES,
  } = options;
  const newest = new Map<string, string>();
  for (const { origin } of [keyLog.log, audit]) {
    const value = await store.get(PREFIX + origin);
    if (value !== undefined) newest.set(origin, fromUtf8(value));
  }
  const closing = new AbortController();
  // Everyone who is asked listens to it, each for as long as its request is open.
  setMaxListeners(0, closing.signal);
  const call = { timeoutMs: rules.timeoutMs, signal: closing.signal };
  const gatherer = createGatherer({ federation, keys: () => keyLog.state, call, logger });
  /** Connections that the last round of the directory reached. */
  let reached = new Map<SiteId, Connection>();
  let reachedSize = -1;
  let lastMs = -Infinity;
  let timer: NodeJS.Timeout | undefined;

  const there = (): [SiteId, Connection][] =>
    presence.online().flatMap((site): [SiteId, Connection][] => {
      const connection = presence.of(site);
      return connection !== undefined && options.isApproved(site) ? [[site, connection]] : [];
    });

  const keep = async (origin: string, note: string): Promise<void> => {
    newest.set(origin, note);
    await store.write([{ type: 'put', key: PREFIX + origin, value: utf8(note) }]);
  };
  const tell = (event: string, header: unknown, note: string): void => {
    for (const [, { peer }] of there()) peer.notify(event, { header, payload: utf8(note) });
  };
  const hasQuorum = (signed: ReadonlySet<SiteId>): boolean => {
    const roster = witnessesOf(keyLog.state);
    const needed = quorumOf(roster.length);
    return needed > 0 && roster.filter(({ site }) => signed.has(site)).length >= needed;
  };

  const directoryRound = async (): Promise<void> => {
    const sites = there();
    reached = new Map(sites);
    lastMs = clock.monotonicMs();
    const subject = await subjectOf(keyLog.log);
    reachedSize = subject.size;
    await gatherer.gather({
      subject,
      sites,
      suffices: hasQuorum,
      async publish(note) {
        await keep(subject.origin, note);
        tell(METHODS.directoryConfirmed, undefined, note);
      },
    });
  };
  const auditRound = async (): Promise<void> => {
    const subject = await subjectOf(audit);
    const { origin } = subject;
    await gatherer.gather({
      subject,
      sites: there(),
      suffices: hasQuorum,
      async publish(note) {
        await keep(origin, note);
        tell(METHODS.logCosigned, { origin } satisfies z.infer<typeof CosignedLog>, note);
      },
    });
  };
  /** The lines of this very checkpoint that are published already, by site: a log that did not grow is not signed twice by one site. */
  const heldOf = async ({ origin, note }: Subject): Promise<ReadonlyMap<SiteId, string>> => {
    const last = newest.get(origin);
    const parsed = last === undefined ? undefined : parseNote(last);
    const held = new Map<SiteId, string>();
    if (parsed === undefined || parsed.text !== parseNote(note).text) return held;
    for (const { name } of parsed.signatures) {
      const site = siteOfWitness(federation, name);
      const keys = site === undefined ? undefined : keyLog.state.get(site);
      const lines = keys === undefined ? undefined : await linesOf(federation, keys, parsed, false);
      if (keys !== undefined && lines !== undefined) held.set(keys.site, lines);
    }
    return held;
  };
  /** The others that cosign this site's log: each log starts with another neighbour, so that the work is spread. */
  const neighboursOf = (site: SiteId): [SiteId, Connection][] => {
    const others = there().filter(([other]) => other !== site);
    const start = others.findIndex(([other]) => other > site);
    const ring = start < 0 ? others : [...others.slice(start), ...others.slice(0, start)];
    return ring.slice(0, rules.siteLogWitnessesMax);
  };
  /** A site's own log, cosigned by a few others; the note goes back to the site. */
  const siteRound = async (site: SiteId, { peer }: Connection): Promise<void> => {
    const head = async (from: number, size?: number): Promise<LogHeadReply> => {
      const { header } = await peer.request(
        METHODS.logHead,
        { header: size === undefined ? { from } : { from, size } },
        call,
      );
      return LogHeadReply.parse(header);
    };
    const { checkpoint: note } = await head(0);
    const { origin, size } = readCheckpoint(note);
    if (baseOrigin(origin) !== siteLogOrigin(federation, site))
      throw new QflError('protocol', { detail: `${site} showed the log ${origin}` });
    if (size === 0) return;
    const proof = async (from: number) => (await head(from, size)).proof.map(fromBase64);
    const subject: Subject = { origin, note, size, proof };
    const held = await heldOf(subject);
    await gatherer.gather({
      subject,
      sites: neighboursOf(site).filter(([other]) => !held.has(other)),
      held,
      suffices: (signed) => signed.size > 0,
      publish(cosigned) {
        newest.set(origin, cosigned);
        peer.notify(METHODS.logCosigned, { header: { origin }, payload: utf8(cosigned) });
        return Promise.resolve();
      },
    });
  };
  const warn = (what: string) => (error: unknown) => {
    if (!closing.signal.aborted) logger.warn({ err: error }, what);
  };
  const siteRounds = (): Promise<void> =>
    eachOf(there(), SITE_LOGS_AT_ONCE, ([site, connection]) =>
      siteRound(site, connection).catch(warn(`the log of ${site} was not cosigned`)),
    );
  /** Each kind of log in its own: the directory does not wait for a site that hangs over its own log. */
  const laneOf = (work: () => Promise<void>): (() => Promise<void>) =>
    createLane(() =>
      (closing.signal.aborted ? Promise.resolve() : work()).catch(warn('a round of cosigning failed')),
    );
  const lanes = { directory: laneOf(directoryRound), audit: laneOf(auditRound), sites: laneOf(siteRounds) };
  const round = async (): Promise<void> => {
    await Promise.all([lanes.directory(), lanes.audit(), lanes.sites()]);
  };
  const isDue = (): boolean =>
    reachedSize !== keyLog.log.size || there().some(([site, connection]) => reached.get(site) !== connection);
  const changed = (): void => {
    if (closing.signal.aborted || timer !== undefined || !isDue()) return;
    const waitMs = Math.max(rules.gatherMs, lastMs + rules.gapMs - clock.monotonicMs());
    timer = setTimeout(() => {
      timer = undefined;
      // Whoever came meanwhile is told apart by what this round reached.
      void lanes.directory().then(changed);
    }, waitMs);
  };
  keyLog.onGrowth(changed);
  const interval = setInterval(() => void round(), rules.everyMs);
  // The first one early: an export made soon after the start has its cosignatures too.
  const first = setTimeout(() => void round(), Math.min(FIRST_ROUND_MS, rules.everyMs));
  return {
    newest: (origin) => newest.get(origin),
    changed,
    round,
    async close() {
      closing.abort();
      clearInterval(interval);
      clearTimeout(first);
      clearTimeout(timer);
      // After what runs in each lane.
      await round();
      await gatherer.settled();
    },
  };
};
