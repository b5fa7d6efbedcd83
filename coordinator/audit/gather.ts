/**
 * Takes one checkpoint of a log to sites and gathers what they sign. As soon as that suffices the note is published, soon after once more with those
 * who were nearly as fast, and again for those who come late: a slow site's signature counts as much as a fast one's.
 */
import { parseNote, signatureHolds, type Note, signedBy } from '../../shared/audit/note.ts';
import { signatureLine } from '../../shared/audit/signature-line.ts';
import { addCheckpointBody } from '../../shared/audit/witness.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { DirectoryState, SiteKeys } from '../../shared/directory/chain.ts';
import { witnessKeysOf } from '../../shared/directory/quorum.ts';
import { createDeferred } from '../../shared/deferred.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/log.ts';
import { createSerialByKey } from '../../shared/serial.ts';
import type { CallOptions } from '../../shared/wire/peer.ts';
import { METHODS, WitnessReplyHeader } from '../../shared/wire/session.ts';
import type { Connection } from '../sites/presence.ts';
import { breathe } from '../../shared/breathe.ts';

/** After the first note others have this long to be in the next one; then twice as long each time, so that stragglers cost a few notes and not one each. */
const GRACE_MS = 250;
const ATTEMPTS = 2;

/** A checkpoint that is to be cosigned. */
export interface Subject {
  readonly origin: string;
  readonly note: string;
  readonly size: number;
  proof(from: number): Promise<readonly Uint8Array[]>;
}

export interface Gathering {
  readonly subject: Subject;
  readonly sites: readonly (readonly [SiteId, Connection])[];
  /** Lines of this checkpoint that are there already, by site. */
  readonly held?: ReadonlyMap<SiteId, string>;
  readonly suffices: (signed: ReadonlySet<SiteId>) => boolean;
  /** Called again whenever there are more lines, and never for a checkpoint when one that was begun later is published. */
  readonly publish: (note: string) => Promise<void>;
}

export interface Gatherer {
  /** Resolves when the note is published and those who were nearly as fast are in it, or when nobody is left to ask. */
  gather(gathering: Gathering): Promise<void>;
  /** Resolves when nobody who is late is waited for any more. */
  settled(): Promise<void>;
}

export interface GathererOptions {
  readonly federation: string;
  readonly keys: () => DirectoryState;
  /** Its signal ends every request; after it nothing is published. */
  readonly call: CallOptions & { readonly signal: AbortSignal };
  readonly logger: Logger;
}

/** Is it done within that time? */
const within = async (ms: number, done: Promise<unknown>): Promise<boolean> => {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  return Promise.race([done.then(() => true), over]).finally(() => clearTimeout(timer));
};

/** The lines of a note that are this site's; undefined unless each of its keys signed, and, with `verified`, unless each signature holds. */
export const linesOf = async (
  federation: string,
  keys: SiteKeys,
  { text, signatures }: Note,
  verified: boolean,
): Promise<string | undefined> => {
  const own: string[] = [];
  for (const key of witnessKeysOf(federation, keys)) {
    const line = signatures.find((one) => signedBy(key, one));
    if (line === undefined) return undefined;
    if (verified) await breathe();
    if (verified && !signatureHolds(key, text, line.signature)) return undefined;
    own.push(signatureLine(key, line.signature));
  }
  return own.join('');
};

export const createGatherer = ({ federation, keys, call, logger }: GathererOptions): Gatherer => {
  /** Size that a site last cosigned, by log and site; a guess that the site corrects. */
  const known = new Map<string, number>();
  /** The largest checkpoint that was taken round, by log. */
  const largest = new Map<string, number>();
  /** The gathering whose note was published last, by log. */
  const published = new Map<string, number>();
  const inTurn = createSerialByKey<string>();
  const late = new Set<Promise<void>>();
  let begun = 0;

  /** Asks one site; undefined when it does not sign. */
  const ask = async (subject: Subject, site: SiteId, { peer }: Connection): Promise<string | undefined> => {
    const { origin, note, size } = subject;
    const name = `${origin} ${site}`;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const oldSize = known.get(name) ?? 0;
      // It signed a later checkpoint while this one was under way: late, not wrong.
      if (oldSize > size && oldSize <= (largest.get(origin) ?? 0)) return undefined;
      if (oldSize > size) {
        logger.error({ site, origin, oldSize, size }, 'a site has cosigned more entries than this log has');
        return undefined;
      }
      const path = oldSize === 0 || oldSize === size ? [] : await subject.proof(oldSize);
      const { header, payload } = await peer.request(
        METHODS.witness,
        { payload: utf8(addCheckpointBody({ oldSize, proof: path, note })) },
        call,
      );
      const reply = WitnessReplyHeader.parse(header);
      if (reply.status === 409) {
        known.set(name, reply.size ?? 0);
        continue;
      }
      if (reply.status !== 200)
        throw new QflError('refused_by_site', { detail: `${reply.status}: ${reply.detail ?? ''}` });
      known.set(name, Math.max(size, known.get(name) ?? 0));
      const own = keys().get(site);
      return own === undefined
        ? undefined
        : linesOf(federation, own, parseNote(note + fromUtf8(payload)), true);
    }
    return undefined;
  };

  /** Asks all at once; `signed` is told of each that does. */
  const askAll = async (
    { subject, sites }: Gathering,
    signed: (site: SiteId, lines: string) => void,
  ): Promise<void> => {
    await Promise.all(
      sites.map(async ([site, connection]) => {
        try {
          const lines = await ask(subject, site, connection);
          if (lines !== undefined) signed(site, lines);
        } catch (error) {
          if (call.signal.aborted) return;
          const { code, detail } = toQflError(error);
          logger.warn({ site, origin: subject.origin, code, detail }, 'a site did not cosign');
        }
      }),
    );
  };

  const gather = async (gathering: Gathering): Promise<void> => {
    const { subject, suffices, publish } = gathering;
    const mine = (begun += 1);
    largest.set(subject.origin, Math.max(subject.size, largest.get(subject.origin) ?? 0));
    const lines = new Map(gathering.held);
    let given = lines.size;
    const give = (): Promise<void> =>
      inTurn(subject.origin, async () => {
        const isLater = (published.get(subject.origin) ?? 0) > mine;
        if (isLater || call.signal.aborted) return;
        if (lines.size === given || !suffices(new Set(lines.keys()))) return;
        given = lines.size;
        published.set(subject.origin, mine);
        await publish(subject.note + [...lines.values()].join(''));
      });
    const enough = createDeferred<void>();
    const all = askAll(gathering, (site, signed) => {
      lines.set(site, signed);
      if (suffices(new Set(lines.keys()))) enough.resolve();
    });
    await Promise.race([all, enough.promise]);
    await give();
    const isOver = await within(GRACE_MS, all);
    await give();
    if (isOver) return;
    const rest = async (waitMs: number): Promise<void> => {
      const isDone = await within(waitMs, all);
      await give();
      if (!isDone) await rest(2 * waitMs);
    };
    const lagging = rest(2 * GRACE_MS)
      .catch((error: unknown) => logger.warn({ err: error }, 'late cosignatures were not published'))
      .finally(() => late.delete(lagging));
    late.add(lagging);
  };

  return {
    gather,
    async settled() {
      await Promise.all(late);
    },
  };
};
