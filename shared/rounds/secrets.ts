/** Keys that a round derives, the same at every program that may know them. */
import { framed, fromHex, toHex, utf8 } from '../bytes.ts';
import { deriveKey } from '../crypto/hash.ts';
import type { SiteId } from '../ids.ts';
import type { RandomBytes } from '../random.ts';
import { unframed } from '../wire/framing.ts';
import { open, seal } from './box.ts';
import { SHARE_BYTES } from './shamir.ts';

/** Seed of the mask that both ends of a pair make, one adding and one taking away. */
export const pairSeedOf = (pairKey: Uint8Array, planHash: Uint8Array): Uint8Array =>
  deriveKey(pairKey, planHash, 'qfl round pair mask');
/** Seed of a site's own mask. */
export const selfSeedOf = (selfSecret: Uint8Array, planHash: Uint8Array): Uint8Array =>
  deriveKey(selfSecret, planHash, 'qfl round self mask');
const wrapKeyOf = (wrapSecret: Uint8Array, planHash: Uint8Array): Uint8Array =>
  deriveKey(wrapSecret, planHash, 'qfl round wrap');

interface Way {
  readonly planHash: Uint8Array;
  readonly from: SiteId;
  readonly to: SiteId;
}
const boxKeyOf = (pairKey: Uint8Array, { planHash, from, to }: Way): Uint8Array =>
  deriveKey(pairKey, planHash, `qfl round share box ${from} ${to}`);
const contextOf = ({ planHash, from, to }: Way): Uint8Array => framed(planHash, utf8(from), utf8(to));

/** The fields of what a site sealed; undefined where it is malformed, which only a corrupt site makes. */
const fieldsOf = (plain: Uint8Array | undefined): readonly Uint8Array[] | undefined => {
  try {
    return plain === undefined ? undefined : unframed(plain);
  } catch {
    return undefined;
  }
};

/** What one site entrusts to another: a share of each secret, and what it is held to. */
export interface Entrusted {
  readonly self: Uint8Array;
  readonly wrap: Uint8Array;
  /** `commitmentOf`, hex. */
  readonly commitment: string;
}

export const sealEntrusted = (
  pairKey: Uint8Array,
  way: Way,
  { self, wrap, commitment }: Entrusted,
  random: RandomBytes,
): Uint8Array =>
  seal(boxKeyOf(pairKey, way), contextOf(way), framed(self, wrap, fromHex(commitment)), random);

/** undefined for a box that the other site did not make for this plan and this site. */
export const openEntrusted = (pairKey: Uint8Array, way: Way, box: Uint8Array): Entrusted | undefined => {
  const plain = open(boxKeyOf(pairKey, way), contextOf(way), box);
  const [self, wrap, commitment] = fieldsOf(plain) ?? [];
  if (self?.byteLength !== SHARE_BYTES || wrap?.byteLength !== SHARE_BYTES || commitment === undefined)
    return undefined;
  return { self, wrap, commitment: toHex(commitment) };
};

/** The seeds that a site shares with its neighbours, in their order, for whoever is given its wrap secret. */
export const sealSeeds = (
  wrapSecret: Uint8Array,
  planHash: Uint8Array,
  site: SiteId,
  seeds: readonly Uint8Array[],
  random: RandomBytes,
): Uint8Array =>
  seal(wrapKeyOf(wrapSecret, planHash), framed(planHash, utf8(site)), framed(...seeds), random);
export const openSeeds = (
  wrapSecret: Uint8Array,
  planHash: Uint8Array,
  site: SiteId,
  box: Uint8Array,
): readonly Uint8Array[] | undefined =>
  fieldsOf(open(wrapKeyOf(wrapSecret, planHash), framed(planHash, utf8(site)), box));
