/**
 * How far a site's privacy ledger has come, told to the coordinator and countersigned by it. A head names the last record and what the lifetime
 * ledger had spent; nothing of who asked what. The coordinator logs it, refuses one that goes back, and tells the newest it knows to
 * whoever connects under the site's name: a site restored from an old copy meets its own later word.
 */
import { z } from 'zod';
import { framed, fromBase64, toBase64, utf8 } from '../bytes.ts';
import { type IdentitiesAt, type Identity, verifySignature } from '../crypto/signature.ts';
import { QflError } from '../errors.ts';
import { SiteId } from '../ids.ts';

const HEAD_LABEL = 'qfl ledger head';
const COUNTERSIGNED_LABEL = 'qfl ledger head countersigned';

export const LedgerHead = z.strictObject({
  site: SiteId,
  /** How often the ledger was restored. */
  epoch: z.int().nonnegative(),
  /** Of the last record. */
  counter: z.int().nonnegative(),
  /** Of the last record; BLAKE2b-256, hex. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  /** Spent on the site-lifetime ledger, in whole units of its rule. */
  units: z.string().regex(/^(0|[1-9]\d{0,38})$/),
  /** And of its delta, in units of 2^-80; left out when that is nothing. */
  delta: z
    .string()
    .regex(/^[1-9]\d{0,38}$/)
    .exactOptional(),
  /** The site's clock. */
  atMs: z.int().nonnegative(),
});
export type LedgerHead = z.infer<typeof LedgerHead>;

export const SignedLedgerHead = z.strictObject({ head: LedgerHead, signature: z.base64() });
export type SignedLedgerHead = z.infer<typeof SignedLedgerHead>;

/** The coordinator's word: it has logged this head at that place. */
export const CountersignedHead = z.strictObject({
  signed: SignedLedgerHead,
  /** Index of the entry in the coordinator's audit log. */
  logIndex: z.int().nonnegative(),
  /** The coordinator's clock. */
  atMs: z.int().nonnegative(),
  signature: z.base64(),
});
export type CountersignedHead = z.infer<typeof CountersignedHead>;

/** Null asks for the newest head only. */
export const LedgerHeadRequest = z.strictObject({ signed: SignedLedgerHead.nullable() });
export const LedgerHeadReply = z.strictObject({ newest: CountersignedHead.nullable() });

const headMessage = ({ site, epoch, counter, hash, units, delta, atMs }: LedgerHead): Uint8Array =>
  utf8(JSON.stringify([site, epoch, counter, hash, units, atMs, ...(delta === undefined ? [] : [delta])]));

export const signHead = (identity: Identity, head: LedgerHead): SignedLedgerHead => ({
  head,
  signature: toBase64(identity.sign(HEAD_LABEL, headMessage(head))),
});

/** @throws QflError `bad_signature` */
export const checkHead = (site: IdentitiesAt, { head, signature }: SignedLedgerHead): LedgerHead => {
  const message = headMessage(head);
  if (site(head.atMs).some((key) => verifySignature(key, HEAD_LABEL, message, fromBase64(signature))))
    return head;
  throw new QflError('bad_signature', { detail: `the ledger head is not signed by ${head.site}` });
};

const countersignedMessage = ({ signed, logIndex, atMs }: Omit<CountersignedHead, 'signature'>): Uint8Array =>
  framed(headMessage(signed.head), fromBase64(signed.signature), utf8(JSON.stringify([logIndex, atMs])));

export const countersign = (
  identity: Identity,
  facts: Omit<CountersignedHead, 'signature'>,
): CountersignedHead => ({
  ...facts,
  signature: toBase64(identity.sign(COUNTERSIGNED_LABEL, countersignedMessage(facts))),
});

/**
 * Both signatures hold, each by who had the name at that time: the site said it, the coordinator logged it.
 * @throws QflError `bad_signature`
 */
export const checkCountersigned = (
  keys: { readonly site: IdentitiesAt; readonly coordinator: IdentitiesAt },
  countersigned: CountersignedHead,
): LedgerHead => {
  const { signature, ...facts } = countersigned;
  const message = countersignedMessage(facts);
  const holds = keys
    .coordinator(facts.atMs)
    .some((key) => verifySignature(key, COUNTERSIGNED_LABEL, message, fromBase64(signature)));
  if (!holds)
    throw new QflError('bad_signature', { detail: 'a ledger head is not countersigned by the coordinator' });
  return checkHead(keys.site, countersigned.signed);
};

/** Of two heads of one site, is the first the later one? */
export const isLater = (
  left: Pick<LedgerHead, 'epoch' | 'counter'>,
  right: Pick<LedgerHead, 'epoch' | 'counter'>,
): boolean => left.epoch > right.epoch || (left.epoch === right.epoch && left.counter > right.counter);
