/**
 * A ledger that came back from a backup, brought up to what is known outside of it. It can only raise the spend:
 *
 * 1. The journal's sound beginning stays; what does not read behind it is put aside.
 * 2. Each answer that left the site has a receipt, signed here, in the hands of whoever asked. Those that the journal does not account for are
 *    charged to the lifetime ledger.
 * 3. The newest countersigned head says what the lifetime ledger had spent by then. The sum is raised to that, and to that and
 *    all unknown receipts from after it.
 * 4. Charges after that head that nobody holds a receipt for cannot be known. So the lifetime ledger counts as used up until an
 *    administrator states what else was charged, and the open day counts as used up until it is over.
 * 5. A receipt does not say what delta its query was charged. Whatever they were, all deltas together were admitted within the share that is
 *    reserved for them; so with one unknown receipt that share counts as used up.
 *
 * Run again, with the same or more receipts, it counts none of them twice.
 */
import { fromBase64 } from '../../shared/bytes.ts';
import { receiptMessage, verifyReceipt } from '../../shared/crypto/sealed-answer.ts';
import type { IdentitiesAt } from '../../shared/crypto/signature.ts';
import { QflError } from '../../shared/errors.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { openAtRest, sealAtRest } from '../../shared/store/encrypted.ts';
import { Receipt } from '../../shared/wire/envelope.ts';
import { type CountersignedHead, isLater } from '../../shared/wire/ledger-head.ts';
import type { Decision } from './administration.ts';
import { addTo, type Amount, amountToText, deltaUnitsOf, noAmount } from './amount.ts';
import { faultAgainst, witnessedOf } from './anchor.ts';
import { type JournalStart, readStart } from './base.ts';
import { CHECKPOINT_NAMES } from './checkpoint.ts';
import { countersignedFacts, readCountersigned, writeCountersigned } from './countersigned.ts';
import type { DurableFile } from './disk.ts';
import { amountOfScalar, scalarOf } from './filters.ts';
import { encodeFrame } from './frame.ts';
import { type Head, resetMark } from './mark.ts';
import { JOURNAL_NAME, type LedgerPlace, MARK_NAME } from './open.ts';
import type { Policy } from './limits.ts';
import { type CountersignedFacts, decodeRecord, encodeRecord, LedgerRecord, scalarCosts } from './records.ts';
import { stateAtStart } from './replay.ts';
import { scanJournal } from './scan.ts';
import type { LedgerState } from './state.ts';
import { recordName } from './writer.ts';

/** What does not read of a damaged journal is kept under this name and a number. */
const ASIDE_NAME = 'ledger.aside';

export interface RestoreReport {
  readonly epoch: number;
  /** Records that the restored journal held. */
  readonly records: number;
  /** Bytes behind them that did not read; kept beside the journal. */
  readonly bytesAside: number;
  readonly receipts: { readonly given: number; readonly known: number; readonly charged: number };
  /** The newest countersigned head that was taken into account. */
  readonly countersigned: { readonly epoch: number; readonly counter: number; readonly held: boolean } | null;
  /** As single numbers (`scalarOf`) of the lifetime ledger. */
  readonly spentBeforeUnits: bigint;
  readonly spentAfterUnits: bigint;
}

export interface RestoreOptions extends LedgerPlace {
  /** This site's own keys by time: whose receipts and heads count. */
  readonly identities: IdentitiesAt;
  /** As found in files; each is verified. */
  readonly receipts: readonly unknown[];
  /** Countersigned heads from elsewhere, verified by the caller; the one beside the journal is read anyway. */
  readonly countersigned?: readonly CountersignedHead[];
  readonly decision: Decision;
}

/** Receipts of this site for answers, one per query. @throws QflError `bad_signature`, `invalid_request`: a wrong one stops everything */
export const verifyReceipts = (
  values: readonly unknown[],
  site: string,
  identities: IdentitiesAt,
): ReadonlyMap<string, Receipt> => {
  const found = new Map<string, Receipt>();
  for (const [at, value] of values.entries()) {
    const parsed = Receipt.safeParse(value);
    if (!parsed.success || parsed.data.site !== site)
      throw new QflError('invalid_request', {
        detail: `entry ${at + 1} is not a receipt of this site`,
        next: 'Give files of receipts that this site signed, one JSON object a line.',
      });
    const receipt = parsed.data;
    const holds = identities(receipt.atMs).some((identity) =>
      verifyReceipt(identity, receiptMessage(receipt), fromBase64(receipt.signature)),
    );
    if (!holds)
      throw new QflError('bad_signature', {
        detail: `the signature of receipt ${at + 1} does not hold`,
        next: 'Ask whoever sent the file for the receipts as they were received.',
      });
    const name = `${receipt.queryId}/${receipt.queryHash}`;
    const known = found.get(name);
    // Two receipts of one query: the one that says more counts.
    if (known === undefined || BigInt(known.spend) < BigInt(receipt.spend)) found.set(name, receipt);
  }
  return found;
};

interface Read {
  readonly journal: DurableFile;
  readonly start: JournalStart;
  readonly state: LedgerState;
  readonly head: Head;
  readonly fileSize: number;
  /** Lifetime units this journal counts for each query: charged and not given back, or merged before. */
  readonly counted: ReadonlyMap<string, bigint>;
}

/** The sound beginning of the journal, and what it counts. */
const readSound = async (journal: DurableFile, place: RestoreOptions): Promise<Read> => {
  const start = await readStart(journal, place);
  const state = stateAtStart(start);
  const counted = new Map<string, bigint>();
  const reserved = new Map<number, { readonly name: string; readonly units: bigint }>();
  const count = (name: string, units: bigint): void => {
    counted.set(name, (counted.get(name) ?? 0n) + units);
  };
  const { head, fileSize } = await scanJournal(
    journal,
    (frame) => {
      const { record } = decodeRecord(openAtRest(place.dataKey, recordName(frame.counter), frame.sealed));
      if (record.type === 'genesis' && record.site !== place.site)
        throw new QflError('ledger_refuses', { detail: 'the privacy ledger belongs to another site' });
      state.apply(record, frame);
      if (record.type === 'receipt') count(`${record.queryId}/${record.envelopeHash}`, BigInt(record.units));
      if (record.type === 'reserved') {
        const name = `${record.queryId}/${record.envelopeHash}`;
        const units = scalarCosts(record).site_lifetime;
        reserved.set(frame.counter, { name, units });
        count(name, units);
      }
      if (record.type === 'refunded') {
        const back = reserved.get(record.reserved);
        if (back !== undefined) count(back.name, -back.units);
      }
      if (record.type === 'committed' || record.type === 'unknown') reserved.delete(record.reserved);
    },
    start.head,
  );
  if (head.counter < 0)
    throw new QflError('ledger_damaged', {
      detail: 'not one record of the privacy ledger can be read',
      next: 'Take an older backup of the ledger folder.',
    });
  return { journal, start, state, head, fileSize, counted };
};

const putAside = async (place: RestoreOptions, { journal, head, fileSize }: Read): Promise<number> => {
  const bytes = fileSize - head.size;
  if (bytes === 0) return 0;
  const name = `${ASIDE_NAME}.${head.counter}`;
  await place.folder.remove(name);
  const aside = await place.folder.create(name);
  await aside.write(await journal.read(head.size, bytes), 0);
  await aside.sync();
  await aside.close();
  await journal.truncate(head.size);
  await journal.sync();
  return bytes;
};

const newestOf = (heads: readonly (CountersignedHead | undefined)[]): CountersignedHead | undefined =>
  heads.reduce(
    (best, one) =>
      one !== undefined && (best === undefined || isLater(one.signed.head, best.signed.head)) ? one : best,
    undefined,
  );

/** What is missing at each order between `has` and `floor`. */
const missing = (floor: Amount, has: Amount): Amount =>
  floor.map((units, at) => (units > has[at]! ? units - has[at]! : 0n));

interface Plan {
  readonly records: readonly LedgerRecord[];
  readonly charged: number;
}

/** All that the lifetime ledger can have been charged of its delta. */
const reservedDelta = (policy: Policy, facts: CountersignedFacts | null): bigint => {
  const reserved = deltaUnitsOf(policy.lifetimeFilter.filter.budget);
  const told = BigInt(facts?.delta ?? '0');
  return told > reserved ? told : reserved;
};

/** What to write: pure, from what was read and what was given. */
const plan = (
  read: Read,
  receipts: ReadonlyMap<string, Receipt>,
  newest: CountersignedHead | undefined,
  decision: Decision,
  atMs: number,
): Plan => {
  const policy = read.state.policy();
  const { rule } = policy.limits;
  const lifetime = [...read.state.accounts().lifetime()];
  const afterHead = noAmount(lifetime.length);
  const headMs = newest?.signed.head.atMs ?? 0;
  const records: LedgerRecord[] = [];
  for (const [name, { queryId, queryHash, spend, atMs: answeredMs }] of receipts) {
    const units = BigInt(spend) - (read.counted.get(name) ?? 0n);
    if (units <= 0n) continue;
    const raise = amountOfScalar(rule, units);
    addTo(lifetime, raise);
    if (answeredMs >= headMs) addTo(afterHead, raise);
    records.push({
      type: 'receipt',
      queryId,
      envelopeHash: queryHash,
      units: String(units),
      raise: amountToText(raise),
      atMs,
    });
  }
  const facts = newest === undefined ? null : countersignedFacts(newest);
  const charged = records.length;
  const floorDelta = charged === 0 ? BigInt(facts?.delta ?? '0') : reservedDelta(policy, facts);
  const floor = amountOfScalar(rule, BigInt(facts?.units ?? '0'), floorDelta);
  addTo(floor, afterHead);
  records.push({
    type: 'restored',
    epoch: Math.max(read.state.epoch(), facts?.epoch ?? 0) + 1,
    raise: amountToText(missing(floor, lifetime)),
    countersigned: facts,
    ...decision,
    atMs,
  });
  return { records: records.map((record) => LedgerRecord.parse(record)), charged };
};

/** All in one write: a part of it is a sound journal too, which the next run completes. */
const append = async (
  { journal, head }: Read,
  records: readonly LedgerRecord[],
  { dataKey, random = secureRandomBytes }: LedgerPlace,
): Promise<Head> => {
  const frames: Uint8Array[] = [];
  let last = head;
  for (const record of records) {
    const counter = last.counter + 1;
    const sealed = sealAtRest(dataKey, recordName(counter), encodeRecord(record), random);
    const { bytes, hash } = encodeFrame(counter, last.hash, sealed);
    frames.push(bytes);
    last = { counter, hash, size: last.size + bytes.byteLength };
  }
  await journal.write(Buffer.concat(frames), head.size);
  await journal.sync();
  return last;
};

const lifetimeUnits = (state: LedgerState): bigint =>
  scalarOf(state.policy().limits.rule, state.accounts().lifetime());

const openOrRefuse = async ({ folder }: RestoreOptions): Promise<DurableFile> => {
  const journal = await folder.open(JOURNAL_NAME);
  if (journal !== undefined) return journal;
  throw new QflError('ledger_refuses', {
    detail: `the file ${JOURNAL_NAME} of the privacy ledger is missing`,
    next: 'Put the ledger folder of a backup in its place, then run this again.',
  });
};

const restoreIn = async (journal: DurableFile, options: RestoreOptions): Promise<RestoreReport> => {
  const { folder, site, clock, identities, decision } = options;
  const receipts = verifyReceipts(
    options.receipts.filter((value) => Receipt.safeParse(value).data?.outcome !== 'refused'),
    site,
    identities,
  );
  const read = await readSound(journal, options);
  const newest = newestOf([await readCountersigned(folder), ...(options.countersigned ?? [])]);
  const held =
    newest !== undefined && (await faultAgainst(read, witnessedOf(countersignedFacts(newest)))) === undefined;
  const spentBeforeUnits = lifetimeUnits(read.state);
  const { records, charged } = plan(read, receipts, newest, decision, Math.max(0, Math.floor(clock.nowMs())));
  // A checkpoint, or an index, of what was lost must not be taken up again.
  for (const name of CHECKPOINT_NAMES) await folder.remove(name);
  const bytesAside = await putAside(options, read);
  const head = await append(read, records, options);
  for (const [at, record] of records.entries())
    read.state.apply(record, {
      counter: read.head.counter + 1 + at,
      offset: read.head.size,
      hash: head.hash,
    });
  if (newest !== undefined) await writeCountersigned(folder, newest);
  const known = await folder.open(MARK_NAME);
  const mark = known ?? (await folder.create(MARK_NAME));
  await resetMark(mark, head);
  await mark.close();
  return {
    epoch: read.state.epoch(),
    records: read.head.counter + 1,
    bytesAside,
    receipts: { given: receipts.size, known: receipts.size - charged, charged },
    countersigned:
      newest === undefined
        ? null
        : { epoch: newest.signed.head.epoch, counter: newest.signed.head.counter, held },
    spentBeforeUnits,
    spentAfterUnits: lifetimeUnits(read.state),
  };
};

/**
 * Raises a ledger that came back from a backup to all that is known, and begins a new epoch. The agent must be stopped.
 * @throws QflError `conflict` (it runs), `bad_signature`, `invalid_request`, `ledger_damaged`, `ledger_refuses`, `storage_failed`
 */
export const restoreLedger = async (options: RestoreOptions): Promise<RestoreReport> => {
  const unlock = await options.folder.lock();
  try {
    const journal = await openOrRefuse(options);
    try {
      return await restoreIn(journal, options);
    } finally {
      await journal.close();
    }
  } catch (cause) {
    if (cause instanceof QflError) throw cause;
    throw new QflError('storage_failed', { detail: 'the privacy ledger could not be restored', cause });
  } finally {
    await unlock();
  }
};
