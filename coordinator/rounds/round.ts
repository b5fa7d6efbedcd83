/**
 * A sealed round as the coordinator sees it: a state made of what happened, one event after another. Pure: the runner keeps each event on the disk
 * before it acts on it, and after a crash the same events give the same state. Nothing here can open a vector that fewer than the plan's
 * sites stand behind; what a site sent that does not hold ends its part in the round, with its name and the reason.
 */
import { z } from 'zod';
import { fromBase64, fromHex, fromUtf8, toHex, utf8 } from '../../shared/bytes.ts';
import { blake2b, HASH_BYTES } from '../../shared/crypto/hash.ts';
import { type IdentityPublic, verifySignature } from '../../shared/crypto/signature.ts';
import { SiteId } from '../../shared/ids.ts';
import { Hash, LABELS, SignatureText } from '../../shared/rounds/fields.ts';
import {
  aliveBytes,
  commitmentOf,
  type Member,
  membersHashOf,
  revealBytes,
  RevealReply,
  RoundShares,
  shareHashOf,
  type Survivor,
  survivorsHashOf,
  vectorBytes,
} from '../../shared/rounds/messages.ts';
import { type PlanBytes, survivorsMin } from '../../shared/rounds/plan.ts';
import type { RoundPhase } from '../../shared/wire/round.ts';

export const RoundEvent = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('joined'), site: SiteId }),
  z.strictObject({ kind: z.literal('shared'), site: SiteId, text: z.string(), signature: SignatureText }),
  z.strictObject({ kind: z.literal('vector'), site: SiteId, hash: Hash, signature: SignatureText }),
  z.strictObject({ kind: z.literal('alive'), site: SiteId, signature: SignatureText }),
  z.strictObject({ kind: z.literal('revealed'), site: SiteId, reply: RevealReply }),
  /** It will not answer in this phase: it refused, or what it sent does not hold. */
  z.strictObject({
    kind: z.literal('lost'),
    site: SiteId,
    code: z.string(),
    detail: z.string(),
    /** Whose work it refused. */
    blames: SiteId.optional(),
  }),
  /** Nothing came for as long as the plan allows. */
  z.strictObject({ kind: z.literal('silence') }),
  z.strictObject({ kind: z.literal('opened'), sumHash: Hash }),
  z.strictObject({ kind: z.literal('failed'), detail: z.string() }),
  z.strictObject({ kind: z.literal('cancelled'), detail: z.string() }),
]);
export type RoundEvent = z.infer<typeof RoundEvent>;

export interface Loss {
  readonly site: SiteId;
  readonly phase: RoundPhase;
  readonly code: string;
  readonly detail: string;
  readonly blames: SiteId | null;
}

export interface RoundState {
  readonly plan: PlanBytes;
  readonly phase: RoundPhase;
  readonly joined: ReadonlySet<SiteId>;
  readonly shares: ReadonlyMap<SiteId, RoundShares>;
  readonly members: readonly Member[];
  readonly vectors: ReadonlyMap<SiteId, Survivor>;
  readonly survivors: readonly Survivor[];
  readonly alive: ReadonlyMap<SiteId, string>;
  readonly reveals: ReadonlyMap<SiteId, RevealReply['shares']>;
  readonly losses: readonly Loss[];
  readonly sumHash: string | null;
  /** Why it was aborted. */
  readonly why: string | null;
}

export type SiteKeysOf = (site: SiteId) => IdentityPublic | undefined;

export const newRound = (plan: PlanBytes): RoundState => ({
  plan,
  phase: 'joining',
  joined: new Set(),
  shares: new Map(),
  members: [],
  vectors: new Map(),
  survivors: [],
  alive: new Map(),
  reveals: new Map(),
  losses: [],
  sumHash: null,
  why: null,
});

const isEnded = ({ phase }: RoundState): boolean => phase === 'done' || phase === 'aborted';
export const membersHash = ({ plan, members }: RoundState): Uint8Array => membersHashOf(plan.hash, members);
export const survivorsHash = (state: RoundState): Uint8Array =>
  survivorsHashOf(state.plan.hash, membersHash(state), state.survivors);

/** Why sites were lost, in few words: `2 budget_exceeded, 1 timeout`. */
const lossesText = ({ losses }: RoundState): string => {
  if (losses.length === 0) return '';
  const counts = new Map<string, number>();
  for (const { code } of losses) counts.set(code, (counts.get(code) ?? 0) + 1);
  return ` (lost: ${[...counts].map(([code, count]) => `${count} ${code}`).join(', ')})`;
};

const abort = (state: RoundState, why: string): RoundState => ({
  ...state,
  phase: 'aborted',
  why: why + lossesText(state),
});
const lose = (
  state: RoundState,
  site: SiteId,
  code: string,
  detail: string,
  blames: SiteId | null = null,
): RoundState => ({
  ...state,
  losses: [...state.losses, { site, phase: state.phase, code, detail, blames }],
});
const lostIn = ({ losses }: RoundState, phase: RoundPhase): ReadonlySet<SiteId> =>
  new Set(losses.filter((loss) => loss.phase === phase).map(({ site }) => site));

interface PhaseRule {
  /** Whom the phase waits for. */
  asked(state: RoundState): readonly SiteId[];
  answered(state: RoundState): { has(site: SiteId): boolean };
  /** The state once nobody is waited for any more. */
  leave(state: RoundState): RoundState;
}

/** Whoever has neither answered in this phase nor been lost in it. */
export const awaited = (state: RoundState): readonly SiteId[] => {
  const rule = RULES[state.phase];
  if (rule === undefined) return [];
  const [answered, lost] = [rule.answered(state), lostIn(state, state.phase)];
  return rule.asked(state).filter((site) => !answered.has(site) && !lost.has(site));
};

/** What is wrong with what a site shared; undefined where it may be used. */
const faultOf = (
  { plan: { plan, hash } }: RoundState,
  site: SiteId,
  shares: RoundShares,
): string | undefined => {
  const { length } = plan.sites;
  if (shares.plan !== toHex(hash) || shares.site !== site) return 'shares of another round or site';
  const lists = [shares.pairHashes, shares.boxes, shares.shareHashes];
  if (lists.some((list) => list.length !== length)) return 'not one share for each site of the plan';
  const own = plan.sites.indexOf(site);
  if (shares.boxes.some((box, at) => (box === null) !== (at === own)))
    return 'a box is missing, or one too many';
  return undefined;
};

/** Pairs that published different seeds of their common mask: one of both lies, and it would stay in the sum. */
const disagreements = ({ plan, shares }: RoundState, out: ReadonlySet<SiteId>): [SiteId, SiteId][] => {
  const there = plan.plan.sites.flatMap((site, at) =>
    shares.has(site) && !out.has(site) ? [{ site, at }] : [],
  );
  return there.flatMap((one) =>
    there.flatMap((other): [SiteId, SiteId][] => {
      if (one.at >= other.at) return [];
      const [mine, theirs] = [
        shares.get(one.site)!.pairHashes[other.at],
        shares.get(other.site)!.pairHashes[one.at],
      ];
      return mine === theirs ? [] : [[one.site, other.site]];
    }),
  );
};

/** Leaves out whoever disagrees with most, until all agree. */
const withoutLiars = (state: RoundState): RoundState => {
  let next = state;
  const out = new Set<SiteId>();
  for (;;) {
    const pairs = disagreements(next, out);
    if (pairs.length === 0) return next;
    const counts = new Map<SiteId, number>();
    for (const site of pairs.flat()) counts.set(site, (counts.get(site) ?? 0) + 1);
    const [worst] = [...counts].toSorted((left, right) => right[1] - left[1])[0]!;
    out.add(worst);
    next = lose(next, worst, 'protocol', 'published other seeds than its neighbours, or they than it');
  }
};

/** Without masks there are no secrets to share: whoever agreed is in. */
const unmaskedMembers = ({ plan, joined }: RoundState): Member[] =>
  plan.plan.sites.filter((site) => joined.has(site)).map((site) => ({ site, commitment: '0'.repeat(64) }));

const toSharing = (state: RoundState): RoundState =>
  state.joined.size >= survivorsMin(state.plan.plan)
    ? state.plan.plan.masked
      ? { ...state, phase: 'sharing' }
      : { ...state, phase: 'collecting', members: unmaskedMembers(state) }
    : abort(
        state,
        `${state.joined.size} sites agreed to the plan, and ${survivorsMin(state.plan.plan)} are needed`,
      );

const toCollecting = (agreed: RoundState): RoundState => {
  const state = withoutLiars(agreed);
  const lost = lostIn(state, 'sharing');
  const { plan, hash } = state.plan;
  const members = plan.sites.flatMap((site): Member[] => {
    const shares = state.shares.get(site);
    return shares === undefined || lost.has(site)
      ? []
      : [{ site, commitment: commitmentOf(hash, site, shares) }];
  });
  return members.length >= survivorsMin(plan)
    ? { ...state, phase: 'collecting', members }
    : abort(state, `${members.length} sites shared their secrets, and ${survivorsMin(plan)} are needed`);
};

const toConfirming = (state: RoundState): RoundState => {
  const survivors = state.members.flatMap(({ site }) => state.vectors.get(site) ?? []);
  const least = survivorsMin(state.plan.plan);
  return survivors.length >= least
    ? { ...state, phase: state.plan.plan.masked ? 'confirming' : 'opening', survivors }
    : abort(state, `${survivors.length} sites sent a vector, and a sum of fewer than ${least} is not opened`);
};

const toRevealing = (state: RoundState): RoundState =>
  state.alive.size >= state.plan.plan.threshold
    ? { ...state, phase: 'revealing' }
    : abort(
        state,
        `${state.alive.size} sites stand for the survivors, and ${state.plan.plan.threshold} must`,
      );

const toOpening = (state: RoundState): RoundState =>
  state.reveals.size >= state.plan.plan.threshold
    ? { ...state, phase: 'opening' }
    : abort(
        state,
        `${state.reveals.size} sites gave their shares, and the sum needs ${state.plan.plan.threshold}: it stays closed`,
      );

/** Phases in which sites are waited for. */
const RULES: Readonly<Partial<Record<RoundPhase, PhaseRule>>> = {
  joining: { asked: ({ plan }) => plan.plan.sites, answered: ({ joined }) => joined, leave: toSharing },
  sharing: { asked: ({ joined }) => [...joined], answered: ({ shares }) => shares, leave: toCollecting },
  collecting: {
    asked: ({ members }) => members.map(({ site }) => site),
    answered: ({ vectors }) => vectors,
    leave: toConfirming,
  },
  confirming: {
    asked: ({ survivors }) => survivors.map(({ site }) => site),
    answered: ({ alive }) => alive,
    leave: toRevealing,
  },
  revealing: {
    asked: ({ alive }) => [...alive.keys()],
    answered: ({ reveals }) => reveals,
    leave: toOpening,
  },
};
const leave = (state: RoundState): RoundState => RULES[state.phase]?.leave(state) ?? state;

/** On to the next phase when nobody is waited for any more; of the shares, as many as open the sum are enough. */
const settle = (state: RoundState): RoundState => {
  if (isEnded(state) || state.phase === 'opening') return state;
  const enough = state.phase === 'revealing' && state.reveals.size >= state.plan.plan.threshold;
  return enough || awaited(state).length === 0 ? leave(state) : state;
};

const withEntry = <Value>(map: ReadonlyMap<SiteId, Value>, site: SiteId, value: Value): Map<SiteId, Value> =>
  new Map(map).set(site, value);

type Of<Kind extends RoundEvent['kind']> = Extract<RoundEvent, { kind: Kind }>;

const takeShares = (state: RoundState, event: Of<'shared'>, keys: SiteKeysOf): RoundState => {
  const { site, text, signature } = event;
  const key = keys(site);
  const signed = blake2b(HASH_BYTES, utf8(text));
  if (key === undefined || !verifySignature(key, LABELS.shares, signed, fromBase64(signature)))
    return lose(state, site, 'bad_signature', 'its shares are not signed by it');
  const parsed = RoundShares.safeParse(jsonOf(text));
  const fault = parsed.success ? faultOf(state, site, parsed.data) : 'its shares are malformed';
  return parsed.success && fault === undefined
    ? { ...state, shares: withEntry(state.shares, site, parsed.data) }
    : lose(state, site, 'protocol', fault ?? 'its shares are malformed');
};

const takeVector = (state: RoundState, event: Of<'vector'>, keys: SiteKeysOf): RoundState => {
  const { site, hash, signature } = event;
  const key = keys(site);
  const signed = vectorBytes(state.plan.hash, membersHash(state), fromHex(hash));
  return key !== undefined && verifySignature(key, LABELS.vector, signed, fromBase64(signature))
    ? { ...state, vectors: withEntry(state.vectors, site, { site, vectorHash: hash, signature }) }
    : lose(state, site, 'bad_signature', 'its vector is not signed for this plan and these members');
};

const takeAlive = (state: RoundState, event: Of<'alive'>, keys: SiteKeysOf): RoundState => {
  const { site, signature } = event;
  const key = keys(site);
  const signed = aliveBytes(state.plan.hash, membersHash(state), survivorsHash(state));
  return key !== undefined && verifySignature(key, LABELS.alive, signed, fromBase64(signature))
    ? { ...state, alive: withEntry(state.alive, site, signature) }
    : lose(state, site, 'bad_signature', 'it did not sign the survivors');
};

/** What is wrong with the shares that a site shows; undefined where each is the one its dealer published. */
const revealFault = (state: RoundState, site: SiteId, shown: RevealReply['shares']): string | undefined => {
  const { members, survivors, plan } = state;
  const alive = new Set(survivors.map((survivor) => survivor.site));
  const place = plan.plan.sites.indexOf(site);
  if (shown.length !== members.length) return 'not one share a member';
  for (const [at, { site: of, kind, share }] of shown.entries()) {
    if (of !== members[at]!.site || kind !== (alive.has(of) ? 'self' : 'wrap'))
      return 'another share than was asked for';
    const published = state.shares.get(of)!.shareHashes[place]![kind];
    if (shareHashOf(kind, plan.hash, fromBase64(share)) !== published)
      return `the share of ${of} that it shows is not the one it was given`;
  }
  return undefined;
};

const takeReveal = (state: RoundState, event: Of<'revealed'>, keys: SiteKeysOf): RoundState => {
  const { site, reply } = event;
  const key = keys(site);
  const signed = revealBytes(state.plan.hash, survivorsHash(state), reply.shares);
  if (key === undefined || !verifySignature(key, LABELS.reveal, signed, fromBase64(reply.signature)))
    return lose(state, site, 'bad_signature', 'the shares it shows are not signed by it');
  const fault = revealFault(state, site, reply.shares);
  return fault === undefined
    ? { ...state, reveals: withEntry(state.reveals, site, reply.shares) }
    : lose(state, site, 'protocol', fault);
};

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

const PHASE_OF = {
  joined: 'joining',
  shared: 'sharing',
  vector: 'collecting',
  alive: 'confirming',
  revealed: 'revealing',
} as const;

const take = (state: RoundState, event: RoundEvent, keys: SiteKeysOf): RoundState => {
  switch (event.kind) {
    case 'joined':
      return { ...state, joined: new Set(state.joined).add(event.site) };
    case 'shared':
      return takeShares(state, event, keys);
    case 'vector':
      return takeVector(state, event, keys);
    case 'alive':
      return takeAlive(state, event, keys);
    case 'revealed':
      return takeReveal(state, event, keys);
    case 'lost':
      return lose(state, event.site, event.code, event.detail, event.blames ?? null);
    case 'silence':
      return leave(state);
    case 'opened':
      return state.phase === 'opening' ? { ...state, phase: 'done', sumHash: event.sumHash } : state;
    case 'failed':
    case 'cancelled':
      break;
  }
  return abort(state, event.detail);
};

/** The state after an event. What comes late, twice, or from whom nothing is awaited changes nothing. */
export const roundAfter = (state: RoundState, event: RoundEvent, keys: SiteKeysOf): RoundState => {
  if (isEnded(state)) return state;
  const phase = event.kind in PHASE_OF ? PHASE_OF[event.kind as keyof typeof PHASE_OF] : undefined;
  if (phase !== undefined && state.phase !== phase) return state;
  if ('site' in event && !awaited(state).includes(event.site)) return state;
  return settle(take(state, event, keys));
};

/** The text of a payload that a site sent. */
export const textOf = (payload: Uint8Array): string => fromUtf8(payload);
