/**
 * A site's pair keys of an epoch (`shared/rounds/epoch.ts`), as a state that grows message by message. Every other site is held against the directory
 * that a quorum of hospitals has confirmed: a coordinator that invents a site, or puts another key in its place, is refused. Who calls keeps
 * each state on the disk before its answer leaves.
 */
import { z } from 'zod';
import { equalConstantTime, fromBase64, fromHex, toBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { breathe } from '../../shared/breathe.ts';
import { type Identity, verifyHybrid, verifySignature } from '../../shared/crypto/signature.ts';
import {
  decapsulate,
  encapsulate,
  type Hedge,
  XWING_SEED_BYTES,
  xwingKeyPair,
} from '../../shared/crypto/xwing.ts';
import { assert, QflError } from '../../shared/errors.ts';
import { EpochId, SiteId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import {
  EPOCH_NONCE_BYTES,
  EpochPairing,
  graphSeedOf,
  nextPairKey,
  nonceHashOf,
  offerBytes,
  pairingBytes,
  pairKeyOf,
  roundPairKey,
  SignedOffer,
  transcriptOf,
} from '../../shared/rounds/epoch.ts';
import { Hash, LABELS } from '../../shared/rounds/fields.ts';
import type { RosterKeys } from './site-round.ts';

const Secret = z.base64();

export const SiteEpoch = z.strictObject({
  epoch: EpochId,
  self: SiteId,
  /** Ascending. */
  sites: z.array(SiteId),
  offer: SignedOffer,
  nonce: Secret,
  /** Of its own X-Wing key; gone once all pairs are made. */
  seed: Secret.optional(),
  nonceHashes: z.array(Hash).optional(),
  transcript: Hash.optional(),
  sent: z.array(EpochPairing).optional(),
  /** What it encapsulated to each other site, in the order of `sent`; gone once all pairs are made. */
  secrets: z.array(Secret).optional(),
  /** Key of each pair at `position`, in the order of the sites; null for itself. */
  keys: z.array(Secret.nullable()).optional(),
  /** The next round's number is at least this. */
  position: z.int().positive(),
  graphSeed: Hash.optional(),
  /** By this site's clock. */
  madeMs: z.int().nonnegative().default(0),
});
export type SiteEpoch = z.infer<typeof SiteEpoch>;

export interface EpochStep<Reply> {
  readonly epoch: SiteEpoch;
  readonly reply: Reply;
}

const refuse = (detail: string): QflError => new QflError('protocol', { detail: `an epoch: ${detail}` });
const other = (what: string): QflError =>
  new QflError('conflict', {
    detail: `this epoch already has other ${what}`,
    next: 'An epoch begins once. Begin another with "qfl round start".',
  });
const unknownSite = (site: SiteId): QflError =>
  new QflError('unknown_key', {
    detail: `${site} is in no directory that enough hospitals have confirmed`,
    next: 'Ask the operator who that is. If nobody can tell, tell the other hospitals.',
  });

const SITES_MIN = 3;

/** @throws QflError `protocol`, `unknown_key` */
export const offerEpoch = (
  { epoch, sites }: { readonly epoch: EpochId; readonly sites: readonly SiteId[] },
  self: SiteId,
  federation: string,
  {
    identity,
    keys,
    random,
    nowMs,
  }: {
    readonly identity: Identity;
    readonly keys: RosterKeys;
    readonly random: RandomBytes;
    readonly nowMs: number;
  },
): EpochStep<SignedOffer> => {
  if (sites.some((site, at) => at > 0 && site <= sites[at - 1]!))
    throw refuse('sites are not in order, each once');
  if (sites.length < SITES_MIN)
    throw refuse('fewer than three sites: the sum of two tells each the other’s part');
  if (!sites.includes(self)) throw refuse('it does not name this site');
  for (const site of sites) if (keys(site) === undefined) throw unknownSite(site);
  const seed = random(XWING_SEED_BYTES);
  const nonce = random(EPOCH_NONCE_BYTES);
  const offer = {
    federation,
    epoch,
    site: self,
    xwing: toBase64(xwingKeyPair(seed).publicKey),
    nonceHash: toHex(nonceHashOf(epoch, self, nonce)),
  };
  const { ed25519, mldsa65 } = identity.signHybrid(LABELS.offer, offerBytes(offer));
  const signed: SignedOffer = {
    offer,
    signature: { ed25519: toBase64(ed25519), mldsa65: toBase64(mldsa65) },
  };
  return {
    reply: signed,
    epoch: {
      epoch,
      self,
      sites: [...sites],
      offer: signed,
      nonce: toBase64(nonce),
      seed: toBase64(seed),
      position: 1,
      madeMs: nowMs,
    },
  };
};

const checkOffer = (state: SiteEpoch, at: number, signed: SignedOffer, keys: RosterKeys): void => {
  const site = state.sites[at]!;
  const { offer, signature } = signed;
  if (offer.site !== site || offer.epoch !== state.epoch || offer.federation !== state.offer.offer.federation)
    throw refuse(`the offer of ${site} is of another site or epoch`);
  const key = keys(site);
  if (key === undefined) throw unknownSite(site);
  const bytes = { ed25519: fromBase64(signature.ed25519), mldsa65: fromBase64(signature.mldsa65) };
  if (!verifyHybrid(key, LABELS.offer, offerBytes(offer), bytes))
    throw new QflError('bad_signature', { detail: `the offer of ${site} is not signed by it` });
};

/** Keys for each other site, of offers that each signed itself. @throws QflError `protocol`, `unknown_key`, `bad_signature`, `conflict` */
export const pairEpoch = async (
  state: SiteEpoch,
  offers: readonly SignedOffer[],
  {
    identity,
    keys,
    hedge,
  }: { readonly identity: Identity; readonly keys: RosterKeys; readonly hedge: Hedge },
): Promise<EpochStep<readonly EpochPairing[]>> => {
  if (offers.length !== state.sites.length) throw refuse('not one offer a site');
  const transcript = transcriptOf(offers.map(({ offer }) => offer));
  if (state.transcript !== undefined) {
    if (toHex(transcript) !== state.transcript) throw other('offers');
    return { epoch: state, reply: state.sent ?? [] };
  }
  for (const [at, signed] of offers.entries()) {
    checkOffer(state, at, signed, keys);
    await breathe();
  }
  const own = offers.find(({ offer }) => offer.site === state.self);
  if (own === undefined || !equalConstantTime(offerBytes(own.offer), offerBytes(state.offer.offer)))
    throw refuse('another offer in this site’s name');
  const sent: EpochPairing[] = [];
  const secrets: string[] = [];
  for (const { offer } of offers) {
    if (offer.site === state.self) continue;
    const context = utf8(`${state.epoch} ${state.self} ${offer.site}`);
    const { ciphertext, secret } = encapsulate(fromBase64(offer.xwing), hedge, 'qfl epoch pair', context);
    const pairing = { from: state.self, to: offer.site, ciphertext: toBase64(ciphertext) };
    const signature = toBase64(identity.sign(LABELS.pairing, pairingBytes(transcript, pairing)));
    sent.push({ ...pairing, signature });
    secrets.push(toBase64(secret));
    await breathe();
  }
  const nonceHashes = offers.map(({ offer }) => offer.nonceHash);
  return { reply: sent, epoch: { ...state, transcript: toHex(transcript), nonceHashes, sent, secrets } };
};

/**
 * The keys of all pairs, of what the others encapsulated to this site; its nonce is shown only now, when no other site can choose its own by it. The secrets
 * that the keys were made of are not in the new state.
 * @throws QflError `protocol`, `unknown_key`, `bad_signature`
 */
export const closeEpoch = async (
  state: SiteEpoch,
  pairings: readonly EpochPairing[],
  keys: RosterKeys,
): Promise<EpochStep<string>> => {
  if (state.keys !== undefined) return { epoch: state, reply: state.nonce };
  const { transcript: hex, sent, secrets, seed, self } = state;
  if (hex === undefined || sent === undefined || secrets === undefined || seed === undefined)
    throw refuse('pairings before this site has made its own');
  const transcript = fromHex(hex);
  const made = new Map<SiteId, Uint8Array>();
  for (const [at, { to: site }] of sent.entries()) {
    const theirs = pairings.find(({ from, to }) => from === site && to === self);
    if (theirs === undefined) throw refuse(`${site} made no key with this site`);
    const key = keys(site);
    if (key === undefined) throw unknownSite(site);
    if (!verifySignature(key, LABELS.pairing, pairingBytes(transcript, theirs), fromBase64(theirs.signature)))
      throw new QflError('bad_signature', { detail: `the key from ${site} is not signed by it` });
    const received = decapsulate(fromBase64(seed), fromBase64(theirs.ciphertext));
    const mine = fromBase64(secrets[at]!);
    made.set(
      site,
      self < site ? pairKeyOf(transcript, mine, received) : pairKeyOf(transcript, received, mine),
    );
    await breathe();
  }
  const { secrets: _secrets, seed: _seed, ...rest } = state;
  const inOrder = state.sites.map((site) => (site === self ? null : toBase64(made.get(site)!)));
  return { reply: state.nonce, epoch: { ...rest, keys: inOrder } };
};

/** The seed of the mask graph, of nonces that each site was bound to before it saw another. @throws QflError `protocol`, `conflict` */
export const drawGraph = (state: SiteEpoch, nonces: readonly string[]): EpochStep<undefined> => {
  const { transcript, nonceHashes, keys, sites, epoch } = state;
  if (transcript === undefined || nonceHashes === undefined || keys === undefined)
    throw refuse('nonces before this site has its keys');
  if (nonces.length !== sites.length) throw refuse('not one nonce a site');
  for (const [at, site] of sites.entries())
    if (toHex(nonceHashOf(epoch, site, fromBase64(nonces[at]!))) !== nonceHashes[at])
      throw refuse(`${site} shows another nonce than it was bound to`);
  const graphSeed = toHex(graphSeedOf(fromHex(transcript), nonces.map(fromBase64)));
  if (state.graphSeed !== undefined && state.graphSeed !== graphSeed) throw other('nonces');
  return { epoch: { ...state, graphSeed }, reply: undefined };
};

/** Rounds that may be skipped in the ratchet: of those that this site was not part of. */
const SKIPPED_MAX = 100_000;

export interface RoundKeys {
  /** In the order of the epoch's sites; undefined for itself. */
  readonly pairKeys: readonly (Uint8Array | undefined)[];
  /** The epoch after it: from its keys those of this round cannot be found. */
  readonly epoch: SiteEpoch;
}

/** The keys of one round. Each number is given once. @throws QflError `conflict` for a number that was used, `protocol` */
export const takeRoundKeys = (state: SiteEpoch, number: number): RoundKeys => {
  const { keys, position } = state;
  if (keys === undefined || state.graphSeed === undefined)
    throw refuse('a round before the epoch is complete');
  if (number < position)
    throw new QflError('conflict', {
      detail: `round number ${number} of this epoch was used before: a plan is carried out once`,
      next: 'Begin another round.',
    });
  if (number - position > SKIPPED_MAX) throw refuse('a round number far ahead');
  const at = keys.map((key) => {
    if (key === null) return undefined;
    let bytes: Uint8Array = fromBase64(key);
    for (let skipped = position; skipped < number; skipped += 1) bytes = nextPairKey(bytes);
    return bytes;
  });
  assert(at.length === state.sites.length, 'a key for each site');
  return {
    pairKeys: at.map((key) => (key === undefined ? undefined : roundPairKey(key))),
    epoch: {
      ...state,
      position: number + 1,
      keys: at.map((key) => (key === undefined ? null : toBase64(nextPairKey(key)))),
    },
  };
};
