/**
 * A site's part in a sealed round, as a state that grows message by message. Pure: who calls keeps each state on the disk before its answer leaves,
 * and a message that comes again gets the same answer. What the site must never do twice in two ways (its shares, its vector, the survivors
 * it stands for) is refused by the state itself.
 */
import { z } from 'zod';
import { equalConstantTime, fromBase64, fromHex, toBase64, toHex } from '../../shared/bytes.ts';
import type { Identity, IdentityPublic } from '../../shared/crypto/signature.ts';
import { verifySignature } from '../../shared/crypto/signature.ts';
import { assert, QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { Hash, LABELS, SignatureText } from '../../shared/rounds/fields.ts';
import {
  aliveBytes,
  commitmentOf,
  Member,
  membersHashOf,
  pairHashOf,
  revealBytes,
  type RevealReply,
  type RevealRequest,
  type RoundMembers,
  RoundShares,
  type RoundSurvivors,
  secretHashOf,
  shareHashesOf,
  survivorsHashOf,
  ShareText,
  vectorBytes,
} from '../../shared/rounds/messages.ts';
import { parsePlan, type PlanBytes, survivorsMin } from '../../shared/rounds/plan.ts';
import {
  openEntrusted,
  pairSeedOf,
  sealEntrusted,
  sealSeeds,
  selfSeedOf,
} from '../../shared/rounds/secrets.ts';
import { SECRET_BYTES, splitting } from '../../shared/rounds/shamir.ts';
import type { Steps } from '../../shared/rounds/slowly.ts';
import type { Masks } from '../../shared/rounds/words.ts';

const Secret = z.base64();
const Shares = z.strictObject({ self: ShareText, wrap: ShareText });

/** As it is kept: everything that is needed to answer again, and nothing of the records. */
export const SiteRound = z.strictObject({
  /** The plan's bytes as they came, base64. */
  plan: z.base64(),
  self: SiteId,
  /** Key of each pair at this round's position, in the order of the plan's sites; null for itself. */
  pairKeys: z.array(Secret.nullable()),
  /** Positions of its neighbours in the mask graph. */
  neighbours: z.array(z.int().nonnegative()),
  selfSecret: Secret.optional(),
  wrapSecret: Secret.optional(),
  /** What it published, word for word. */
  shares: z.string().optional(),
  ownShares: Shares.optional(),
  members: z.array(Member).optional(),
  /** Shares of the members' secrets, in their order. */
  held: z.array(Shares).optional(),
  /** Its vector once it is spooled. */
  vector: z.strictObject({ hash: Hash, signature: SignatureText }).optional(),
  /** The one list of survivors that it stands for. */
  survivors: z.strictObject({ hash: Hash, sites: z.array(SiteId) }).optional(),
  /** Set before anything is revealed; the list above is then for ever. */
  revealed: z.literal(true).optional(),
});
export type SiteRound = z.infer<typeof SiteRound>;

/** Who signs for this site, and who for the others. */
export interface Signers {
  readonly identity: Identity;
  readonly keys: RosterKeys;
}
export type RosterKeys = (site: SiteId) => IdentityPublic | undefined;

const refuse = (detail: string): QflError => new QflError('protocol', { detail });
/** What another site made for this one does not hold: the coordinator is told who, and plans the next round without it. */
const refuseDealer = (dealer: SiteId, detail: string): QflError =>
  new QflError('protocol', { detail: `${dealer} ${detail}`, facts: { dealer } });
const twice = (what: string): QflError =>
  new QflError('conflict', {
    detail: `this site has already ${what} in this round, and never does so twice in two ways`,
    next: 'The round cannot go on with this site. Start another; if this was no mistake of yours, tell the other hospitals.',
  });

const planOf = ({ plan }: SiteRound): PlanBytes => parsePlan(fromBase64(plan));

/** The answer to be sent, after the state that goes with it is on the disk. */
export interface Step<Reply> {
  readonly round: SiteRound;
  readonly reply: Reply;
}

export interface Joined {
  readonly plan: PlanBytes;
  readonly self: SiteId;
  /** In the order of the plan's sites; undefined for itself. */
  readonly pairKeys: readonly (Uint8Array | undefined)[];
  readonly neighbours: readonly number[];
}

/** A round that the site has agreed to. */
export const joinRound = ({ plan, self, pairKeys, neighbours }: Joined): SiteRound => {
  assert(plan.plan.sites.includes(self), 'a site joins rounds that name it');
  return {
    plan: toBase64(plan.bytes),
    self,
    pairKeys: pairKeys.map((key) => (key === undefined ? null : toBase64(key))),
    neighbours: [...neighbours],
  };
};

const pairKeyTo = ({ pairKeys }: SiteRound, at: number): Uint8Array => {
  const key = pairKeys[at];
  assert(key !== null && key !== undefined, 'there is a key with every other site of the plan');
  return fromBase64(key);
};

/** R1: its secrets, in shares for the others. Once; asked again, the same bytes. */
export function* sharingSecrets(round: SiteRound, random: RandomBytes): Steps<Step<Uint8Array>> {
  if (round.shares !== undefined) return { round, reply: Buffer.from(round.shares, 'utf8') };
  const { plan, hash } = planOf(round);
  const { sites, threshold } = plan;
  const { self } = round;
  const own = sites.indexOf(self);
  const [selfSecret, wrapSecret] = [random(SECRET_BYTES), random(SECRET_BYTES)];
  const holders = sites.length;
  const selfShares = yield* splitting(selfSecret, { threshold, holders }, random);
  const wrapShares = yield* splitting(wrapSecret, { threshold, holders }, random);
  const seeds = new Map(round.neighbours.map((at) => [at, pairSeedOf(pairKeyTo(round, at), hash)]));
  const published = {
    selfHash: secretHashOf('self', hash, self, selfSecret),
    wrapHash: secretHashOf('wrap', hash, self, wrapSecret),
    seeds: toBase64(sealSeeds(wrapSecret, hash, self, [...seeds.values()], random)),
  };
  const commitment = commitmentOf(hash, self, published);
  const entrusted = sites.map((_, at) => ({ self: selfShares[at]!, wrap: wrapShares[at]!, commitment }));
  const boxes: (string | null)[] = [];
  for (const [at, to] of sites.entries()) {
    const way = { planHash: hash, from: self, to };
    boxes.push(
      at === own ? null : toBase64(sealEntrusted(pairKeyTo(round, at), way, entrusted[at]!, random)),
    );
    yield;
  }
  const body: RoundShares = {
    plan: toHex(hash),
    site: self,
    ...published,
    pairHashes: sites.map((_, at) => (seeds.has(at) ? pairHashOf(hash, seeds.get(at)!) : null)),
    boxes,
    shareHashes: entrusted.map((shares) => shareHashesOf(hash, shares)),
  };
  const shares = JSON.stringify(body);
  return {
    reply: Buffer.from(shares, 'utf8'),
    round: {
      ...round,
      shares,
      selfSecret: toBase64(selfSecret),
      wrapSecret: toBase64(wrapSecret),
      ownShares: { self: toBase64(selfShares[own]!), wrap: toBase64(wrapShares[own]!) },
    },
  };
}
const ownCommitment = (round: SiteRound, hash: Uint8Array): string =>
  commitmentOf(hash, round.self, RoundShares.parse(JSON.parse(round.shares ?? '{}')));

/**
 * Who is in. Each member must have entrusted this site with its shares and told it what it is held to: a coordinator that invents a member, or
 * alters what one published, is refused here.
 * @throws QflError `protocol`, `conflict` for another list than before
 */
export function* acceptingMembers(
  round: SiteRound,
  { members, boxes }: RoundMembers,
): Steps<Step<undefined>> {
  const { plan, hash } = planOf(round);
  if (plan.masked && round.shares === undefined)
    throw refuse('members before this site has shared its secrets');
  if (round.members !== undefined) {
    if (!equalConstantTime(membersHashOf(hash, round.members), membersHashOf(hash, members)))
      throw twice('agreed to other members');
    return { round, reply: undefined };
  }
  if (members.length < survivorsMin(plan)) throw refuse('fewer members than the plan asks for');
  if (!plan.masked) return { round: { ...round, members: [...members], held: [] }, reply: undefined };
  if (members.length !== boxes.length) throw refuse('not one box a member');
  if (members.some(({ site }, at) => at > 0 && site <= members[at - 1]!.site))
    throw refuse('members are not in order, each once');
  if (!members.some(({ site }) => site === round.self)) throw refuse('this site is not among the members');
  const heldOf = ({ site, commitment }: Member, at: number): z.infer<typeof Shares> => {
    const place = plan.sites.indexOf(site);
    if (place < 0) throw refuse(`${site} is a member and not in the plan`);
    if (site === round.self) {
      if (commitment !== ownCommitment(round, hash)) throw refuse('another commitment than this site made');
      return round.ownShares!;
    }
    const way = { planHash: hash, from: site, to: round.self };
    const sealed = boxes[at];
    const entrusted = openEntrusted(pairKeyTo(round, place), way, fromBase64(sealed?.box ?? ''));
    if (entrusted?.commitment !== commitment)
      throw refuseDealer(site, 'did not entrust this site with its shares');
    const hashes = shareHashesOf(hash, entrusted);
    if (hashes.self !== sealed?.hashes.self || hashes.wrap !== sealed.hashes.wrap)
      throw refuseDealer(site, 'entrusted this site with other shares than it published');
    return { self: toBase64(entrusted.self), wrap: toBase64(entrusted.wrap) };
  };
  const held: z.infer<typeof Shares>[] = [];
  for (const [at, member] of members.entries()) {
    held.push(heldOf(member, at));
    yield;
  }
  return { round: { ...round, members: [...members], held }, reply: undefined };
}
/** Seeds of the masks of its vector: its own, and one for each neighbour that is a member; the site lower in order adds. */
export const masksOf = (round: SiteRound): Masks => {
  const { plan, hash } = planOf(round);
  if (!plan.masked) return { plus: [], minus: [] };
  assert(round.members !== undefined && round.selfSecret !== undefined, 'masks are made for members');
  const members = new Set(round.members.map(({ site }) => site));
  const own = plan.sites.indexOf(round.self);
  const near = round.neighbours.filter((at) => members.has(plan.sites[at]!));
  const seedOf = (at: number): Uint8Array => pairSeedOf(pairKeyTo(round, at), hash);
  return {
    plus: [selfSeedOf(fromBase64(round.selfSecret), hash), ...near.filter((at) => own < at).map(seedOf)],
    minus: near.filter((at) => own > at).map(seedOf),
  };
};

export const membersHash = (round: SiteRound): Uint8Array =>
  membersHashOf(planOf(round).hash, round.members ?? []);

/** R2: the spooled vector, signed with plan and members. One vector a round. @throws QflError `conflict` for another */
export const signVector = (round: SiteRound, vectorHash: Uint8Array, identity: Identity): Step<string> => {
  const { hash } = planOf(round);
  assert(round.members !== undefined, 'a vector is masked for members');
  const hex = toHex(vectorHash);
  if (round.vector !== undefined && round.vector.hash !== hex) throw twice('made another vector');
  const signature =
    round.vector?.signature ??
    toBase64(identity.sign(LABELS.vector, vectorBytes(hash, membersHashOf(hash, round.members), vectorHash)));
  return { round: { ...round, vector: { hash: hex, signature } }, reply: signature };
};

/**
 * R3: stands for one list of survivors, each of whom signed the same plan and the same members.
 * @throws QflError `protocol`, `bad_signature`, `conflict` for another list than before
 */
export function* confirmingSurvivors(
  round: SiteRound,
  { survivors }: RoundSurvivors,
  { identity, keys }: Signers,
): Steps<Step<string>> {
  const { plan, hash } = planOf(round);
  if (round.members === undefined || round.vector === undefined)
    throw refuse('survivors before this site has sent its vector');
  const members = membersHashOf(hash, round.members);
  const survivorsHash = survivorsHashOf(hash, members, survivors);
  const hex = toHex(survivorsHash);
  if (round.survivors !== undefined && round.survivors.hash !== hex) throw twice('stood for other survivors');
  if (round.survivors === undefined) {
    checkSurvivors(round, survivors, survivorsMin(plan));
    for (const { site, vectorHash, signature } of survivors) {
      yield;
      const key = keys(site);
      const signed = vectorBytes(hash, members, fromHex(vectorHash));
      if (key === undefined || !verifySignature(key, LABELS.vector, signed, fromBase64(signature)))
        throw new QflError('bad_signature', {
          detail: `${site} did not sign its vector for this plan and these members`,
        });
    }
  }
  return {
    round: { ...round, survivors: { hash: hex, sites: survivors.map(({ site }) => site) } },
    reply: toBase64(identity.sign(LABELS.alive, aliveBytes(hash, members, survivorsHash))),
  };
}
const checkSurvivors = (
  { members = [], self, vector }: SiteRound,
  survivors: RoundSurvivors['survivors'],
  least: number,
): void => {
  const known = new Set(members.map(({ site }) => site));
  if (survivors.length < least) throw refuse('fewer survivors than the plan asks for');
  if (survivors.some(({ site }, at) => at > 0 && site <= survivors[at - 1]!.site))
    throw refuse('survivors are not in order, each once');
  if (survivors.some(({ site }) => !known.has(site))) throw refuse('a survivor was no member');
  const own = survivors.find(({ site }) => site === self);
  if (own?.vectorHash !== vector?.hash)
    throw refuse('this site is not among the survivors with what it sent');
};

/**
 * R4: its shares, of survivors the one that uncovers their own mask, of the others the one that uncovers what they left in the sum; never both of one
 * site, because both together show its vector. The state returned must be on the disk before they leave.
 * @throws QflError `protocol`, `bad_signature`, `conflict` for another list than it stands for
 */
export function* revealing(
  round: SiteRound,
  { survivors, alive }: RevealRequest,
  { identity, keys }: Signers,
): Steps<Step<RevealReply>> {
  const { plan, hash } = planOf(round);
  const { members, held, survivors: standing } = round;
  if (members === undefined || held === undefined || standing === undefined)
    throw refuse('nothing is revealed before this site stands for a list of survivors');
  if (standing.hash !== survivors) throw twice('stood for other survivors');
  if (round.revealed === undefined) {
    const signed = aliveBytes(hash, membersHashOf(hash, members), fromHex(survivors));
    const those = new Set<SiteId>();
    for (const { site, signature } of alive) {
      yield;
      const key = standing.sites.includes(site) ? keys(site) : undefined;
      if (key === undefined || !verifySignature(key, LABELS.alive, signed, fromBase64(signature)))
        throw new QflError('bad_signature', { detail: `${site} does not stand for these survivors` });
      those.add(site);
    }
    if (those.size < plan.threshold) throw refuse('too few sites stand for these survivors');
  }
  const alives = new Set(standing.sites);
  const shares = members.map(({ site }, at) => {
    const kind = alives.has(site) ? 'self' : 'wrap';
    return { site, kind, share: held[at]![kind] } as const;
  });
  return {
    round: { ...round, revealed: true },
    reply: {
      shares,
      signature: toBase64(identity.sign(LABELS.reveal, revealBytes(hash, fromHex(survivors), shares))),
    },
  };
}
