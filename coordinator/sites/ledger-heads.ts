/**
 * The newest ledger head of each site, countersigned. One that goes back or forks is refused: the site is then running an older copy of itself.
 * What is accepted is in the audit log before it is signed, so a head can be shown to anybody who holds a checkpoint of that log. Each
 * site has a bucket of entries that fills slowly, so that none of them floods the log.
 */
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import type { IdentitiesAt, Identity } from '../../shared/crypto/signature.ts';
import { QflError } from '../../shared/errors.ts';
import type { SiteId } from '../../shared/ids.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  checkHead,
  countersign,
  CountersignedHead,
  isLater,
  type LedgerHead,
  type SignedLedgerHead,
} from '../../shared/wire/ledger-head.ts';
import { createSerialByKey } from '../../shared/serial.ts';

const PREFIX = 'ledger-head/';
/** A site that restarts often, or charges much, for a short time. */
const BUCKET_ENTRIES = 20;
/** In the long run about two entries a minute. */
const REFILL_MS = 30_000;

export interface LedgerHeads {
  newest(site: SiteId): Promise<CountersignedHead | undefined>;
  /**
   * Logs and countersigns the head; the newest one again gets the word it got.
   * @throws QflError `ledger_refuses` when it goes back or forks (facts: `newest`), `bad_signature`, `rate_limited`, `unknown_key`
   */
  take(site: SiteId, signed: SignedLedgerHead): Promise<CountersignedHead>;
}

export interface LedgerHeadsOptions {
  readonly store: Store;
  readonly audit: AuditLog;
  readonly identity: Identity;
  readonly clock: Clock;
  /** The site's identities by time, as the directory has them. */
  identitiesOf(site: SiteId): IdentitiesAt | undefined;
}

const RESTORE =
  'The site runs an older copy of its ledger. Stop its agent and run "qfl agent ledger restore" there.';

const goesBack = (head: LedgerHead, newest: CountersignedHead): QflError | undefined => {
  const known = newest.signed.head;
  const facts = { newest };
  const refuse = (detail: string): QflError =>
    new QflError('ledger_refuses', { detail, next: RESTORE, facts });
  if (isLater(known, head))
    return refuse(`record ${head.counter} of epoch ${head.epoch} was passed long ago`);
  if (head.epoch === known.epoch && head.counter === known.counter && head.hash !== known.hash)
    return refuse(`there is another record ${head.counter} of epoch ${head.epoch}`);
  const spentLess =
    BigInt(head.units) < BigInt(known.units) || BigInt(head.delta ?? '0') < BigInt(known.delta ?? '0');
  if (head.epoch > known.epoch && spentLess)
    return refuse('a restored ledger has spent less than it had before');
  return undefined;
};

/** Tokens per site, on the monotonic clock. */
const createBuckets = (clock: Clock) => {
  const buckets = new Map<SiteId, { entries: number; atMs: number }>();
  return (site: SiteId): boolean => {
    const nowMs = clock.monotonicMs();
    const bucket = buckets.get(site) ?? { entries: BUCKET_ENTRIES, atMs: nowMs };
    const refilled = Math.floor((nowMs - bucket.atMs) / REFILL_MS);
    bucket.entries = Math.min(BUCKET_ENTRIES, bucket.entries + refilled);
    bucket.atMs += refilled * REFILL_MS;
    buckets.set(site, bucket);
    if (bucket.entries === 0) return false;
    bucket.entries -= 1;
    return true;
  };
};

export const createLedgerHeads = (options: LedgerHeadsOptions): LedgerHeads => {
  const { store, audit, identity, clock } = options;
  const mayLog = createBuckets(clock);
  /** One head of a site after another: two that cross must not both be the newest. */
  const inTurn = createSerialByKey<SiteId>();
  const newest = async (site: SiteId): Promise<CountersignedHead | undefined> => {
    const value = await store.get(PREFIX + site);
    return value === undefined ? undefined : CountersignedHead.parse(JSON.parse(fromUtf8(value)));
  };
  const log = async (head: LedgerHead, outcome: 'ok' | 'refused'): Promise<number> => {
    const { index } = await audit.record({
      action: 'ledger.countersigned',
      outcome,
      objects: [
        { kind: 'site', id: head.site },
        { kind: 'ledger-head', id: head.hash },
        { kind: 'ledger-epoch', id: String(head.epoch) },
        { kind: 'ledger-record', id: String(head.counter) },
        { kind: 'ledger-units', id: head.units },
        ...(head.delta === undefined ? [] : [{ kind: 'ledger-delta', id: head.delta }]),
      ],
    });
    return index;
  };
  const verified = (site: SiteId, signed: SignedLedgerHead): LedgerHead => {
    const key = options.identitiesOf(site);
    if (key === undefined)
      throw new QflError('unknown_key', { detail: `${site} has no key in the directory` });
    const head = checkHead(key, signed);
    if (head.site === site) return head;
    throw new QflError('bad_signature', { detail: `${site} sent the ledger head of ${head.site}` });
  };
  const take = async (site: SiteId, signed: SignedLedgerHead): Promise<CountersignedHead> => {
    const head = verified(site, signed);
    const known = await newest(site);
    const last = known?.signed.head;
    const isSame = last?.epoch === head.epoch && last.counter === head.counter && last.hash === head.hash;
    if (known !== undefined && isSame) return known;
    if (!mayLog(site))
      throw new QflError('rate_limited', {
        detail: 'ledger heads come too often',
        next: 'The agent tries again by itself.',
      });
    const fault = known === undefined ? undefined : goesBack(head, known);
    const logIndex = await log(head, fault === undefined ? 'ok' : 'refused');
    if (fault !== undefined) throw fault;
    const countersigned = countersign(identity, { signed, logIndex, atMs: Math.trunc(clock.nowMs()) });
    await store.write([{ type: 'put', key: PREFIX + site, value: utf8(JSON.stringify(countersigned)) }]);
    return countersigned;
  };
  return { newest, take: (site, signed) => inTurn(site, () => take(site, signed)) };
};
