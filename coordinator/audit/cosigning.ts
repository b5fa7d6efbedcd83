/**
 * Has the sites cosign the federation's logs: every minute, and soon after the directory changed or a site came. A round takes one
 * checkpoint to every site that is there; as soon as a quorum has signed, the note goes out to all.
 */
import { baseOrigin } from '../../shared/audit/origin.ts';
import { readCheckpoint } from '../../shared/audit/checkpoint.ts';
import type { AppendLog } from '../../shared/audit/log.ts';
import { parseNote, signatureHolds, signedBy } from '../../shared/audit/note.ts';
import { signatureLine } from '../../shared/audit/signature-line.ts';
import { addCheckpointBody } from '../../shared/audit/witness.ts';
import { fromBase64, fromUtf8, utf8 } from '../../shared/bytes.ts';
import { type Clock, MINUTE_MS, SECOND_MS } from '../../shared/clock.ts';
import type { SiteKeys } from '../../shared/directory/chain.ts';
import { quorumOf, siteLogOrigin, witnessesOf, witnessKeysOf } from '../../shared/directory/quorum.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import type { Store } from '../../shared/store/port.ts';
import { type CosignedLog, LogHeadReply, METHODS, WitnessReplyHeader } from '../../shared/wire/session.ts';
import type { z } from 'zod';
import type { KeyLog } from '../directory/key-log.ts';
import type { Connection, Presence } from '../sites/presence.ts';

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
/** After the quorum, others still have this long to be in the note. */
const GRACE_MS = 250;
const ATTEMPTS = 2;
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

interface Subject {
  readonly origin: string;
  readonly note: string;
  readonly size: number;
  proof(from: number): Promise<readonly Uint8Array[]>;
}

const subjectOf = async (log: AppendLog): Promise<Subject> => {
  const note = await log.checkpoint();
  const { size } = readCheckpoint(note);
  return { origin: log.origin, note, size, proof: (from) => log.consistencyProof(from, size) };
};

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The lines of a reply that are the site's own and hold; undefined unless each of its keys signed. */
const checkedLines = async (
  federation: string,
  keys: SiteKeys,
  note: string,
  lines: string,
): Promise<string | undefined> => {
  const { text, signatures } = parseNote(note + lines);
  const own: string[] = [];
  for (const key of witnessKeysOf(federation, keys)) {
    const line = signatures.find((one) => signedBy(key, one));
    await breathe();
    if (line === undefined || !signatureHolds(key, text, line.signature)) return undefined;
    own.push(signatureLine(key, line.signature));
  }
  return own.join('');
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
  /** Size that a site last cosigned, by log and site; a guess that the site corrects. */
  const known = new Map<string, number>();
  /** Connections that the last round of the directory reached. */
  let reached = new Map<SiteId, Connection>();
  let reachedSize = -1;
  let lastMs = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let running: Promise<void> = Promise.resolve();

  const there = (): [SiteId, Connection][] =>
    presence.online().flatMap((site): [SiteId, Connection][] => {
      const connection = presence.of(site);
      return connection !== undefined && options.isApproved(site) ? [[site, connection]] : [];
    });

  /** Asks one site; undefined when it does not sign. */
  const ask = async (subject: Subject, site: SiteId, { peer }: Connection): Promise<string | undefined> => {
    const { origin, note, size } = subject;
    const name = `${origin} ${site}`;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const oldSize = known.get(name) ?? 0;
      if (oldSize > size) {
        logger.error({ site, origin, oldSize, size }, 'a site has cosigned more entries than this log has');
        return undefined;
      }
      const path = oldSize === 0 || oldSize === size ? [] : await subject.proof(oldSize);
      const { header, payload } = await peer.request(
        METHODS.witness,
        { payload: utf8(addCheckpointBody({ oldSize, proof: path, note })) },
        { timeoutMs: rules.timeoutMs },
      );
      const reply = WitnessReplyHeader.parse(header);
      if (reply.status === 409) {
        known.set(name, reply.size ?? 0);
        continue;
      }
      if (reply.status !== 200)
        throw new QflError('refused_by_site', { detail: `${reply.status}: ${reply.detail ?? ''}` });
      known.set(name, Math.max(size, known.get(name) ?? 0));
      const keys = keyLog.state.get(site);
      return keys === undefined ? undefined : checkedLines(federation, keys, note, fromUtf8(payload));
    }
    return undefined;
  };

  /** One checkpoint to these sites. `reachedQuorum` says whether the lines so far suffice; `publish` may come twice. */
  const gather = async (
    subject: Subject,
    sites: readonly (readonly [SiteId, Connection])[],
    suffices: (signed: ReadonlySet<SiteId>) => boolean,
    publish: (note: string) => Promise<void>,
  ): Promise<void> => {
    const lines = new Map<SiteId, string>();
    let published = 0;
    let sufficed: () => void = () => undefined;
    const enough = new Promise<void>((resolve) => {
      sufficed = resolve;
    });
    const give = async (): Promise<void> => {
      if (lines.size === published || !suffices(new Set(lines.keys()))) return;
      published = lines.size;
      await publish(subject.note + [...lines.values()].join(''));
    };
    const all = Promise.all(
      sites.map(async ([site, connection]) => {
        try {
          const signed = await ask(subject, site, connection);
          if (signed === undefined) return;
          lines.set(site, signed);
          if (published === 0) await give();
          if (published > 0) sufficed();
        } catch (error) {
          const { code, detail } = toQflError(error);
          logger.warn({ site, origin: subject.origin, code, detail }, 'a site did not cosign');
        }
      }),
    );
    await Promise.race([all, enough.then(() => sleep(GRACE_MS))]);
    await give();
  };

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
    await gather(subject, sites, hasQuorum, async (note) => {
      await keep(subject.origin, note);
      tell(METHODS.directoryConfirmed, undefined, note);
    });
  };
  const auditRound = async (): Promise<void> => {
    const subject = await subjectOf(audit);
    await gather(subject, there(), hasQuorum, async (note) => {
      await keep(subject.origin, note);
      tell(METHODS.logCosigned, { origin: subject.origin } satisfies z.infer<typeof CosignedLog>, note);
    });
  };
  /** A site's own log, cosigned by a few others; the note goes back to the site. */
  const siteRound = async (site: SiteId, { peer }: Connection): Promise<void> => {
    const head = async (from: number, size?: number): Promise<LogHeadReply> => {
      const { header } = await peer.request(
        METHODS.logHead,
        { header: size === undefined ? { from } : { from, size } },
        { timeoutMs: rules.timeoutMs },
      );
      return LogHeadReply.parse(header);
    };
    const { checkpoint: note } = await head(0);
    const { origin, size } = readCheckpoint(note);
    if (baseOrigin(origin) !== siteLogOrigin(federation, site))
      throw new QflError('protocol', { detail: `${site} showed the log ${origin}` });
    const last = newest.get(origin);
    if (size === 0 || (last !== undefined && readCheckpoint(last).size === size)) return;
    const others = there().filter(([other]) => other !== site);
    // Each site's log starts with another neighbour, so that the work is spread.
    const start = others.findIndex(([other]) => other > site);
    const ring = start < 0 ? others : [...others.slice(start), ...others.slice(0, start)];
    const proof = async (from: number) => (await head(from, size)).proof.map(fromBase64);
    await gather(
      { origin, note, size, proof },
      ring.slice(0, rules.siteLogWitnessesMax),
      (signed) => signed.size > 0,
      (cosigned) => {
        newest.set(origin, cosigned);
        peer.notify(METHODS.logCosigned, { header: { origin }, payload: utf8(cosigned) });
        return Promise.resolve();
      },
    );
  };

  const warn = (what: string) => (error: unknown) => logger.warn({ err: error }, what);
  const alone = (work: () => Promise<void>): Promise<void> => {
    running = running.then(() => (closed ? undefined : work())).catch(warn('a round of cosigning failed'));
    return running;
  };
  const round = (): Promise<void> =>
    alone(async () => {
      await directoryRound();
      await auditRound();
      for (const [site, connection] of there())
        await siteRound(site, connection).catch(warn(`the log of ${site} was not cosigned`));
    });
  const isDue = (): boolean =>
    reachedSize !== keyLog.log.size || there().some(([site, connection]) => reached.get(site) !== connection);
  const changed = (): void => {
    if (closed || timer !== undefined || !isDue()) return;
    const waitMs = Math.max(rules.gatherMs, lastMs + rules.gapMs - clock.monotonicMs());
    timer = setTimeout(() => {
      timer = undefined;
      // Whoever came meanwhile is told apart by what this round reached.
      void alone(directoryRound).then(changed);
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
      closed = true;
      clearInterval(interval);
      clearTimeout(first);
      clearTimeout(timer);
      await running;
    },
  };
};
