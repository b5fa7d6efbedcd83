/** Messages of a sealed round (design: sealed-rounds, section 4) and the bytes under their hashes and signatures. */
import { z } from 'zod';
import { framed, fromHex, toHex, u32, u64, utf8 } from '../bytes.ts';
import { blake2b, HASH_BYTES, hashOf } from '../crypto/hash.ts';
import { SiteId } from '../ids.ts';
import { Hash, ROUND_SITES_MAX, SignatureText } from './fields.ts';

const Sites = <Item extends z.ZodType>(item: Item) => z.array(item).max(ROUND_SITES_MAX);
/** Two Shamir shares and a commitment, under XChaCha20-Poly1305 with its nonce. */
const Box = z.base64().max(400);
const SeedsBox = z.base64().max(8_192);
export const ShareText = z.base64().length(44);

/** Hashes of the two shares that one site made for another. */
export const ShareHashes = z.strictObject({ self: Hash, wrap: Hash });
export type ShareHashes = z.infer<typeof ShareHashes>;

/**
 * R1, site to coordinator, as payload; the header has the signature (`LABELS.shares`) over the hash of these bytes. Lists are in the order of the
 * plan's sites, null where there is none for that site.
 */
export const RoundShares = z.strictObject({
  plan: Hash,
  site: SiteId,
  selfHash: Hash,
  wrapHash: Hash,
  /** The seeds it shares with its neighbours, under the wrap secret. */
  seeds: SeedsBox,
  /** Hash of the seed shared with each neighbour: both ends publish it. */
  pairHashes: Sites(Hash.nullable()),
  boxes: Sites(Box.nullable()),
  /** Of the shares made for each site, its own included: whoever later shows another one is named. */
  shareHashes: Sites(ShareHashes),
});
export type RoundShares = z.infer<typeof RoundShares>;
export const SignedHeader = z.strictObject({ signature: SignatureText });

const SECRET_LABELS = { self: 'qfl round self secret', wrap: 'qfl round wrap secret' } as const;
export type SecretKind = keyof typeof SECRET_LABELS;
export const secretHashOf = (
  kind: SecretKind,
  planHash: Uint8Array,
  site: SiteId,
  secret: Uint8Array,
): string => toHex(hashOf(SECRET_LABELS[kind], planHash, utf8(site), secret));
export const pairHashOf = (planHash: Uint8Array, seed: Uint8Array): string =>
  toHex(hashOf('qfl round pair seed', planHash, seed));
export const shareHashesOf = (
  planHash: Uint8Array,
  { self, wrap }: Readonly<Record<SecretKind, Uint8Array>>,
): ShareHashes => ({
  self: shareHashOf('self', planHash, self),
  wrap: shareHashOf('wrap', planHash, wrap),
});
export const shareHashOf = (kind: SecretKind, planHash: Uint8Array, share: Uint8Array): string =>
  toHex(hashOf('qfl round share', planHash, utf8(kind), share));

/** What a site is held to by what it told the others in their boxes. */
export const commitmentOf = (
  planHash: Uint8Array,
  site: SiteId,
  shares: Pick<RoundShares, 'selfHash' | 'wrapHash' | 'seeds'>,
): string =>
  toHex(
    hashOf(
      'qfl round commitment',
      planHash,
      utf8(site),
      fromHex(shares.selfHash),
      fromHex(shares.wrapHash),
      blake2b(HASH_BYTES, Buffer.from(shares.seeds, 'base64')),
    ),
  );

export const Member = z.strictObject({ site: SiteId, commitment: Hash });
export type Member = z.infer<typeof Member>;
/** R1, coordinator to each site: who is in, and what they sealed for it. */
export const RoundMembers = z.strictObject({
  plan: Hash,
  members: Sites(Member),
  /** In the order of `members`; null for itself. */
  boxes: Sites(z.strictObject({ box: Box, hashes: ShareHashes }).nullable()),
});
export type RoundMembers = z.infer<typeof RoundMembers>;

/** T1. */
export const membersHashOf = (planHash: Uint8Array, members: readonly Member[]): Uint8Array =>
  hashOf(
    'qfl round members',
    planHash,
    ...members.flatMap(({ site, commitment }) => [utf8(site), fromHex(commitment)]),
  );

/** Bytes of a masked vector that travel and are acknowledged together. */
export const CHUNK_BYTES = 256 * 1_024;
export const chunkCountOf = (words: number): number => Math.ceil((words * 4) / CHUNK_BYTES);
export const chunkHashOf = (bytes: Uint8Array): Uint8Array => blake2b(HASH_BYTES, bytes);
export const vectorHashOf = (
  planHash: Uint8Array,
  site: SiteId,
  words: number,
  chunkHashes: readonly Uint8Array[],
): Uint8Array => hashOf('qfl round vector', planHash, utf8(site), u64(BigInt(words)), ...chunkHashes);

/** R2, before the chunks: payload = the chunks' hashes, one after another. */
export const VectorHeader = z.strictObject({ plan: Hash, members: Hash, signature: SignatureText });
export const vectorBytes = (
  planHash: Uint8Array,
  membersHash: Uint8Array,
  vectorHash: Uint8Array,
): Uint8Array => framed(planHash, membersHash, vectorHash);
/** R2, site: one chunk as payload. */
export const ChunkHeader = z.strictObject({ plan: Hash, index: z.int().nonnegative() });
/**
 * What the coordinator has of a vector: chunks from the first on without a gap. `begun`: it knows their hashes; after it was started again it has to be
 * told them once more. Not `open`: nothing more is taken.
 */
export const UploadState = z.strictObject({
  chunks: z.int().nonnegative(),
  begun: z.boolean(),
  open: z.boolean(),
});
export type UploadState = z.infer<typeof UploadState>;

export const Survivor = z.strictObject({ site: SiteId, vectorHash: Hash, signature: SignatureText });
export type Survivor = z.infer<typeof Survivor>;
/** R3, coordinator to each survivor. */
export const RoundSurvivors = z.strictObject({ plan: Hash, survivors: Sites(Survivor) });
export type RoundSurvivors = z.infer<typeof RoundSurvivors>;
export const survivorsHashOf = (
  planHash: Uint8Array,
  membersHash: Uint8Array,
  survivors: readonly Survivor[],
): Uint8Array =>
  hashOf(
    'qfl round survivors',
    planHash,
    membersHash,
    ...survivors.flatMap(({ site, vectorHash }) => [utf8(site), fromHex(vectorHash)]),
  );
export const aliveBytes = (
  planHash: Uint8Array,
  membersHash: Uint8Array,
  survivorsHash: Uint8Array,
): Uint8Array => framed(planHash, membersHash, survivorsHash);

/** R4, coordinator to each survivor: enough others have seen the same list. */
export const RevealRequest = z.strictObject({
  plan: Hash,
  survivors: Hash,
  alive: Sites(z.strictObject({ site: SiteId, signature: SignatureText })),
});
export type RevealRequest = z.infer<typeof RevealRequest>;
/** In the order of the members: of a survivor its share of the self secret, of one that dropped out that of the wrap secret. Never both. */
export const RevealReply = z.strictObject({
  shares: Sites(z.strictObject({ site: SiteId, kind: z.enum(['self', 'wrap']), share: ShareText })),
  signature: SignatureText,
});
export type RevealReply = z.infer<typeof RevealReply>;
export const revealBytes = (
  planHash: Uint8Array,
  survivorsHash: Uint8Array,
  shares: RevealReply['shares'],
): Uint8Array =>
  framed(
    planHash,
    survivorsHash,
    u32(shares.length),
    ...shares.flatMap(({ site, kind, share }) => [utf8(site), utf8(kind), Buffer.from(share, 'base64')]),
  );

/** R5, signed by the coordinator (`LABELS.receipt`): the spool may go. */
export const RoundReceipt = z.strictObject({
  plan: Hash,
  survivors: Hash,
  sumHash: Hash,
  /** Of the model that came of it; null where there is none. */
  modelHash: Hash.nullable(),
  atMs: z.int().nonnegative(),
});
export type RoundReceipt = z.infer<typeof RoundReceipt>;
export const SignedReceipt = z.strictObject({ receipt: RoundReceipt, signature: SignatureText });
export const receiptBytes = ({ plan, survivors, sumHash, modelHash, atMs }: RoundReceipt): Uint8Array =>
  framed(
    fromHex(plan),
    fromHex(survivors),
    fromHex(sumHash),
    modelHash === null ? new Uint8Array(0) : fromHex(modelHash),
    u64(BigInt(atMs)),
  );

/** Of the model's bytes, `CHUNK_BYTES` from chunk `index` on. */
export const ModelRequest = z.strictObject({ plan: Hash, index: z.int().nonnegative() });
export const PlanRef = z.strictObject({ plan: Hash });
/** No more than the code: what went wrong may depend on the records. */
export const RoundLost = z.strictObject({ plan: Hash, code: z.string().max(40) });
export const RoundAborted = z.strictObject({ plan: Hash, why: z.string().max(1_000) });
