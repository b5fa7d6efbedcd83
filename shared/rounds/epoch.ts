/**
 * Pair keys of an epoch. Each site offers an X-Wing key and a hidden nonce, signed by the identity that the directory knows it by; each pair of
 * sites encapsulates to one another; then all nonces are shown, and give the seed of the mask graph that nobody chose. Within an epoch each
 * round takes the next key of a ratchet and the one before is erased: a key stolen later opens no earlier round.
 */
import { z } from 'zod';
import { framed, fromHex, utf8 } from '../bytes.ts';
import { deriveKey, hashOf } from '../crypto/hash.ts';
import { XWING_CIPHERTEXT_BYTES, XWING_PUBLIC_BYTES } from '../crypto/xwing.ts';
import { EpochId, SiteId } from '../ids.ts';
import { Hash, HybridText, ROUND_SITES_MAX, SignatureText } from './fields.ts';

const base64Of = (bytes: number) => z.base64().length(Math.ceil(bytes / 3) * 4);

/** What a site signs (`LABELS.offer`, with both signatures: recorded today, these keys must not be told apart from others later) and all are shown. */
export const EpochOffer = z.strictObject({
  federation: z.string().max(64),
  epoch: EpochId,
  site: SiteId,
  xwing: base64Of(XWING_PUBLIC_BYTES),
  nonceHash: Hash,
});
export type EpochOffer = z.infer<typeof EpochOffer>;
export const SignedOffer = z.strictObject({ offer: EpochOffer, signature: HybridText });
export type SignedOffer = z.infer<typeof SignedOffer>;

export const offerBytes = ({ federation, epoch, site, xwing, nonceHash }: EpochOffer): Uint8Array =>
  framed(utf8(federation), fromHex(epoch), utf8(site), Buffer.from(xwing, 'base64'), fromHex(nonceHash));

/** All offers of an epoch, in the order of the sites: every key of it is bound to this. */
export const transcriptOf = (offers: readonly EpochOffer[]): Uint8Array =>
  hashOf('qfl epoch transcript', ...offers.map(offerBytes));

/** From one site to another; signed (`LABELS.pairing`) over `pairingBytes`. */
export const EpochPairing = z.strictObject({
  from: SiteId,
  to: SiteId,
  ciphertext: base64Of(XWING_CIPHERTEXT_BYTES),
  signature: SignatureText,
});
export type EpochPairing = z.infer<typeof EpochPairing>;

export const pairingBytes = (
  transcript: Uint8Array,
  { from, to, ciphertext }: Omit<EpochPairing, 'signature'>,
): Uint8Array => framed(transcript, utf8(from), utf8(to), Buffer.from(ciphertext, 'base64'));

export const EPOCH_NONCE_BYTES = 32;
export const nonceHashOf = (epoch: EpochId, site: SiteId, nonce: Uint8Array): Uint8Array =>
  hashOf('qfl epoch nonce', fromHex(epoch), utf8(site), nonce);

/** The seed of the mask graph: no site knew the others' nonces when it chose its own. */
export const graphSeedOf = (transcript: Uint8Array, nonces: readonly Uint8Array[]): Uint8Array =>
  hashOf('qfl epoch graph', transcript, ...nonces);

/** Key of a pair before its first round. `lower` is the secret that the site lower in order encapsulated. */
export const pairKeyOf = (transcript: Uint8Array, lower: Uint8Array, higher: Uint8Array): Uint8Array =>
  deriveKey(framed(lower, higher), transcript, 'qfl epoch pair key');

const NO_SALT = new Uint8Array(0);
/** The key of the round after: the one before cannot be found from it. */
export const nextPairKey = (key: Uint8Array): Uint8Array => deriveKey(key, NO_SALT, 'qfl epoch ratchet');
/** What a round uses of the pair's key at its position. */
export const roundPairKey = (key: Uint8Array): Uint8Array => deriveKey(key, NO_SALT, 'qfl round pair key');

// What is asked of a site, in this order; each answer is the same however often it is asked.
export const OfferRequest = z.strictObject({
  epoch: EpochId,
  sites: z.array(SiteId).min(2).max(ROUND_SITES_MAX),
});
export const PairingsRequest = z.strictObject({
  epoch: EpochId,
  offers: z.array(SignedOffer).max(ROUND_SITES_MAX),
});
export const PairingsReply = z.strictObject({ pairings: z.array(EpochPairing).max(ROUND_SITES_MAX) });
export const NonceRequest = z.strictObject({
  epoch: EpochId,
  pairings: z.array(EpochPairing).max(ROUND_SITES_MAX),
});
export const Nonce = base64Of(EPOCH_NONCE_BYTES);
export const NonceReply = z.strictObject({ nonce: Nonce });
export const GraphRequest = z.strictObject({ epoch: EpochId, nonces: z.array(Nonce).max(ROUND_SITES_MAX) });
