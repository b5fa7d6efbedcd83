/** The audit log of one program: audit entries on an `AppendLog`. `record` returns when the entry is on the disk. */
import type { Clock } from '../clock.ts';
import { assert } from '../errors.ts';
import type { Pseudonym } from '../ids.ts';
import { randomHex, type RandomBytes } from '../random.ts';
import {
  type AuditAction,
  type AuditEntry,
  type AuditOutcome,
  decodeEntry,
  encodeEntry,
  openDetail,
  sealDetail,
  ulid,
} from './entry.ts';
import type { DataClass } from '../wire/envelope.ts';
import type { Appended, AppendLog } from './log.ts';
import type { PersonalDetails } from './personal.ts';
import { indexKey } from './tiles.ts';

export interface AuditEvent {
  readonly action: AuditAction;
  readonly outcome: AuditOutcome;
  readonly actor?: Pseudonym | undefined;
  readonly role?: string | undefined;
  readonly objects?: readonly { readonly kind: string; readonly id: string }[] | undefined;
  readonly purpose?: string | undefined;
  readonly classification?: DataClass | undefined;
  /** SHA-256 in hex. */
  readonly session?: string | undefined;
  readonly requestId?: string | undefined;
  /** Units of 2^-40 nat. */
  readonly cost?: number | undefined;
  /** Personal or free text: committed to in the leaf, stored beside it (encrypted by the store), erasable. */
  readonly detail?: Uint8Array | undefined;
  /** Whom the detail is about: it is then encrypted under this person's own key, and goes when the person is erased. */
  readonly person?: string | undefined;
}

export interface AuditLog {
  readonly log: AppendLog;
  /**
   * No entry, no action: do what the event says only after this resolved.
   * @throws QflError as `AppendLog.append`; `invalid_request` when a field does not fit the entry
   */
  record(event: AuditEvent): Promise<Appended & { readonly id: string }>;
  /** Entries [from, to), decoded. */
  entries(from?: number, to?: number): AsyncIterable<AuditEntry>;
  /** The detail of entry `index`; undefined when it has none or it was erased. */
  detail(index: number): Promise<Uint8Array | undefined>;
  /** Destroys detail and salt of entry `index`. Log the erasure first. */
  eraseDetail(index: number): Promise<void>;
  /** Destroys what detail without a person there is below `index`. */
  forgetDetailBelow(index: number): Promise<void>;
}

export interface AuditLogOptions {
  readonly log: AppendLog;
  /** `coordinator` or the site's name. */
  readonly source: string;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Needed for events that name a person. */
  readonly personal?: PersonalDetails | undefined;
}

const detailName = (index: number): string => `d/${indexKey(index)}`;

export const createAuditLog = ({ log, source, clock, random, personal }: AuditLogOptions): AuditLog => {
  const bootId = randomHex(random, 16);

  const entryOf = (event: AuditEvent, id: string, counter: number, detail: string | null): AuditEntry => ({
    v: 1,
    id,
    timeMs: Math.trunc(clock.nowMs()),
    counter,
    bootId,
    source,
    actor: event.actor ?? null,
    role: event.role ?? null,
    action: event.action,
    outcome: event.outcome,
    objects: (event.objects ?? []).map(({ kind, id: objectId }) => ({ kind, id: objectId })),
    purpose: event.purpose ?? null,
    classification: event.classification ?? null,
    session: event.session ?? null,
    requestId: event.requestId ?? null,
    cost: event.cost ?? null,
    detail,
  });

  type Place = (index: number, opening: Uint8Array) => { name: string; value: Uint8Array }[];
  /** Does `work` with where an event's detail goes: beside the leaf, or under the key of the person it is about. */
  const placed = async <T>({ person }: AuditEvent, work: (place: Place) => Promise<T>): Promise<T> => {
    if (person === undefined) return work((index, value) => [{ name: detailName(index), value }]);
    assert(personal !== undefined, 'a log that takes events about persons keeps their keys');
    const subject = personal.subjectOf(person);
    return personal.withKey(subject, (key) =>
      work((index, opening) => personal.writesFor(subject, key, index, opening)),
    );
  };

  const record = async (event: AuditEvent): Promise<Appended & { readonly id: string }> => {
    const id = ulid(Math.trunc(clock.nowMs()), random);
    const sealed = event.detail === undefined ? undefined : sealDetail(event.detail, random);
    const appended = await placed(event, (place) =>
      log.append((index) => ({
        leaf: encodeEntry(entryOf(event, id, index, sealed?.commitment ?? null)),
        beside: sealed === undefined ? [] : place(index, sealed.opening),
      })),
    );
    return { ...appended, id };
  };

  async function* entries(from?: number, to?: number): AsyncIterable<AuditEntry> {
    for await (const { leaf } of log.entries(from, to)) yield decodeEntry(leaf);
  }

  const detail = async (index: number): Promise<Uint8Array | undefined> => {
    for await (const entry of entries(index, index + 1)) {
      const opening = (await log.readBeside(detailName(index))) ?? (await personal?.read(index));
      return opening === undefined || entry.detail === null ? undefined : openDetail(entry.detail, opening);
    }
    return undefined;
  };

  return {
    log,
    record,
    entries,
    detail,
    eraseDetail: (index) => log.forgetBeside(detailName(index)),
    forgetDetailBelow: (index) => log.forgetBesideBelow('d/', detailName(index)),
  };
};
