/**
 * A whole round in memory: the sites' and the coordinator's states as they ship, and a network that loses, repeats, delays and reorders, sites that stop
 * at any message and come back from what they kept, a coordinator that starts again from its events, and sites that lie. The exchange of epoch
 * keys is stubbed: pair keys are drawn.
 */
import {
  joinRound,
  masksOf,
  type RosterKeys,
  signVector,
  SiteRound,
  type Step,
} from '../../../agent/rounds/site-round.ts';
import {
  awaited,
  membersHash,
  newRound,
  roundAfter,
  RoundEvent,
  type RoundState,
  survivorsHash,
} from '../../../coordinator/rounds/round.ts';
import { fromBase64, toBase64, toHex } from '../../../shared/bytes.ts';
import { blake2b } from '../../../shared/crypto/hash.ts';
import { createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import { QflError } from '../../../shared/errors.ts';
import { DepartmentId, EpochId, Pseudonym, RoundId, SiteId } from '../../../shared/ids.ts';
import type { RandomBytes } from '../../../shared/random.ts';
import { LABELS } from '../../../shared/rounds/fields.ts';
import { maskGraph } from '../../../shared/rounds/mask-graph.ts';
import {
  chunkHashOf,
  commitmentOf,
  revealBytes,
  RoundShares,
  type SecretKind,
  shareHashesOf,
  survivorsHashOf,
  vectorHashOf,
} from '../../../shared/rounds/messages.ts';
import { packPlan, type PlanBytes, type RoundPlan, survivorsMin } from '../../../shared/rounds/plan.ts';
import { sealEntrusted } from '../../../shared/rounds/secrets.ts';
import { minCohortOf, thresholdOf } from '../../../shared/rounds/tolerance.ts';
import { addWords, bytesOf, mask, type Words } from '../../../shared/rounds/words.ts';
import { type Seeded, seeded } from '../../../shared/seeded.ts';
import { acceptMembers, confirmSurvivors, openMasks, reveal, shareSecrets } from './at-once.ts';

export const siteAt = (at: number): SiteId => SiteId.parse(`site-${String(at).padStart(4, '0')}`);

const identities = new Map<number, Identity>();
/** Keys of many sites take a second to make: they are made once. */
export const identityAt = (at: number): Identity => {
  const known = identities.get(at) ?? createIdentity(blake2b(32, Buffer.from(`site ${at}`)));
  identities.set(at, known);
  return known;
};
const placeOf = (site: SiteId): number => Number(site.slice(5));
export const rosterKeys =
  (sites: number): RosterKeys =>
  (site) =>
    placeOf(site) < sites ? identityAt(placeOf(site)).publicKeys : undefined;

export const randomFrom =
  (random: Seeded): RandomBytes =>
  (count) =>
    Uint8Array.from({ length: count }, () => random.below(256));

export const planFor = (sites: number, words: number, rest: Partial<RoundPlan> = {}): PlanBytes =>
  packPlan({
    version: 1,
    federation: 'test',
    round: RoundId.parse('ab'.repeat(16)),
    epoch: EpochId.parse('cd'.repeat(16)),
    transcript: '0'.repeat(64),
    number: 1,
    sites: Array.from({ length: sites }, (_, at) => siteAt(at)),
    threshold: thresholdOf(sites),
    minCohort: minCohortOf(sites),
    masked: true,
    rule: 'sum',
    words,
    modelHash: null,
    work: { kind: 'test', settings: {} },
    privacy: {
      unit: 'patient',
      mechanisms: [{ kind: 'discrete_gaussian', sensitivitySquared: ['1', '1'], sigmaSquared: ['1', '1'] }],
    },
    asker: Pseudonym.parse('0'.repeat(32)),
    department: DepartmentId.parse('research'),
    madeMs: 0,
    silenceMs: 60_000,
    ...rest,
  });

/** The same key at both ends of a pair. */
export const pairKeyOf = (one: number, other: number): Uint8Array =>
  blake2b(32, Buffer.from(`pair ${Math.min(one, other)} ${Math.max(one, other)}`));

export const graphOf = (sites: number, degreeMax?: number) =>
  maskGraph(sites, Buffer.alloc(32, 7), degreeMax);

export interface Member {
  round: SiteRound;
  readonly at: number;
  readonly identity: Identity;
  readonly input: Words;
  vector: Words | undefined;
}

export const memberAt = (
  plan: PlanBytes,
  at: number,
  input: Words,
  graph: readonly (readonly number[])[],
): Member => ({
  at,
  identity: identityAt(at),
  input,
  vector: undefined,
  round: joinRound({
    plan,
    self: siteAt(at),
    pairKeys: plan.plan.sites.map((_, other) => (other === at ? undefined : pairKeyOf(at, other))),
    neighbours: graph[at]!,
  }),
});

/** What a site keeps comes back from its own text: nothing else survives a restart. */
export const keep = <Reply>(member: Member, { round, reply }: Step<Reply>): Reply => {
  member.round = SiteRound.parse(JSON.parse(JSON.stringify(round)));
  return reply;
};

export const hashOfVector = (plan: PlanBytes, site: SiteId, vector: Words): Uint8Array =>
  vectorHashOf(plan.hash, site, vector.length, [chunkHashOf(bytesOf(vector))]);

export const maskedVector = (member: Member): Words => {
  const vector = Uint32Array.from(member.input);
  mask(vector, masksOf(member.round));
  return vector;
};

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

export interface World {
  state: RoundState;
  readonly plan: PlanBytes;
  readonly members: readonly Member[];
  readonly events: RoundEvent[];
  readonly graph: readonly (readonly number[])[];
  readonly random: Seeded;
  /** What left the sites, whether it arrived or not. */
  readonly released: Release[];
}

/** A share that a site showed somebody. */
export interface Release {
  readonly holder: SiteId;
  readonly of: SiteId;
  readonly kind: SecretKind;
}

export interface WorldOptions {
  readonly plan?: Partial<RoundPlan>;
  readonly degreeMax?: number;
  /** What each site brings to the sum; random words where left out. */
  readonly inputOf?: (at: number) => Words;
}

export const worldOf = (
  sites: number,
  words: number,
  seed: number,
  { plan: rest, degreeMax, inputOf }: WorldOptions = {},
): World => {
  const random = seeded(seed);
  const plan = planFor(sites, words, rest);
  const graph = graphOf(sites, degreeMax);
  const drawn = (): Words => Uint32Array.from({ length: words }, () => random.next());
  const members = plan.plan.sites.map((_, at) => memberAt(plan, at, inputOf?.(at) ?? drawn(), graph));
  return { state: newRound(plan), plan, members, events: [], graph, random, released: [] };
};

export const happen = (world: World, event: RoundEvent): void => {
  const kept = RoundEvent.parse(JSON.parse(JSON.stringify(event)));
  world.events.push(kept);
  world.state = roundAfter(world.state, kept, rosterKeys(world.members.length));
};

/** A site that does not do as it should, each in one way. */
export type Lie =
  /** Shows shares that it was not given. */
  | 'garbage_reveal'
  /** Signs another vector than it sends. */
  | 'wrong_hash'
  /** Shares out what is no secret, and publishes the hashes of just that. */
  | 'garbage_shares'
  /** Entrusts one other site with other shares than it publishes. */
  | 'garbage_box';

const randomShare = (world: World): string => toBase64(randomFrom(world.random)(32));

/** What a liar makes of its honest answer, signed by its own key. */
const LIES: Readonly<Record<Lie, (world: World, member: Member, honest: RoundEvent) => RoundEvent>> = {
  garbage_reveal: (world, { identity }, honest) => {
    if (honest.kind !== 'revealed') return honest;
    const shares = honest.reply.shares.map((share) => ({ ...share, share: randomShare(world) }));
    const bytes = revealBytes(world.plan.hash, survivorsHash(world.state), shares);
    const signature = toBase64(identity.sign(LABELS.reveal, bytes));
    return { ...honest, reply: { shares, signature } };
  },
  wrong_hash: (world, { vector }, honest) =>
    // The coordinator makes the hash of the chunks that came; the signature is of others.
    honest.kind === 'vector'
      ? {
          ...honest,
          hash: toHex(
            hashOfVector(
              world.plan,
              honest.site,
              vector!.map((word) => word ^ 1),
            ),
          ),
        }
      : honest,
  garbage_shares: (world, { at, identity, round }, honest) => {
    if (honest.kind !== 'shared') return honest;
    const { hash, plan } = world.plan;
    const shares = RoundShares.parse(JSON.parse(honest.text));
    const random = randomFrom(world.random);
    const [boxes, shareHashes] = [[...shares.boxes], [...shares.shareHashes]];
    for (const [place, to] of plan.sites.entries()) {
      if (place === at) continue;
      const entrusted = {
        self: random(32),
        wrap: random(32),
        commitment: commitmentOf(hash, honest.site, shares),
      };
      const way = { planHash: hash, from: honest.site, to };
      boxes[place] = toBase64(sealEntrusted(fromBase64(round.pairKeys[place]!), way, entrusted, random));
      shareHashes[place] = shareHashesOf(hash, entrusted);
    }
    return resigned(honest, { ...shares, boxes, shareHashes }, identity);
  },
  garbage_box: (world, { at, identity }, honest) => {
    if (honest.kind !== 'shared') return honest;
    const shares = RoundShares.parse(JSON.parse(honest.text));
    const victim = (at + 1) % world.members.length;
    const shareHashes = shares.shareHashes.map((hashes, place) =>
      place === victim ? { ...hashes, self: toHex(randomFrom(world.random)(32)) } : hashes,
    );
    return resigned(honest, { ...shares, shareHashes }, identity);
  },
};
const resigned = (
  event: Extract<RoundEvent, { kind: 'shared' }>,
  shares: RoundShares,
  identity: Identity,
): RoundEvent => {
  const bytes = Buffer.from(JSON.stringify(shares));
  return {
    ...event,
    text: text(bytes),
    signature: toBase64(identity.sign(LABELS.shares, blake2b(32, bytes))),
  };
};

/** A message of the coordinator on its way: what the site answers whenever it arrives. */
type Question = () => RoundEvent;

/** What the coordinator asks in this phase; the answer is the site's of the moment at which it gets there. */
export const questionOf = (world: World, member: Member): Question => {
  const { state, plan } = world;
  const site = siteAt(member.at);
  const keys = rosterKeys(world.members.length);
  const { identity } = member;
  switch (state.phase) {
    case 'joining':
      return () => ({ kind: 'joined', site });
    case 'sharing':
      return () => {
        const bytes = keep(member, shareSecrets(member.round, randomFrom(world.random)));
        const signature = toBase64(identity.sign(LABELS.shares, blake2b(32, bytes)));
        return { kind: 'shared', site, text: text(bytes), signature };
      };
    case 'collecting': {
      const boxes = state.members.map((other) =>
        other.site === site
          ? null
          : {
              box: state.shares.get(other.site)!.boxes[member.at]!,
              hashes: state.shares.get(other.site)!.shareHashes[member.at]!,
            },
      );
      const message = { plan: toHex(plan.hash), members: [...state.members], boxes };
      return () => {
        keep(member, acceptMembers(member.round, message));
        member.vector ??= maskedVector(member);
        const hash = hashOfVector(plan, site, member.vector);
        const signature = keep(member, signVector(member.round, hash, identity));
        return { kind: 'vector', site, hash: toHex(hash), signature };
      };
    }
    case 'confirming': {
      const message = { plan: toHex(plan.hash), survivors: [...state.survivors] };
      return () => {
        const signature = keep(member, confirmSurvivors(member.round, message, { identity, keys }));
        return { kind: 'alive', site, signature };
      };
    }
    case 'revealing': {
      const alive = [...state.alive].map(([one, signature]) => ({ site: one, signature }));
      const message = { plan: toHex(plan.hash), survivors: toHex(survivorsHash(state)), alive };
      return () => {
        const reply = keep(member, reveal(member.round, message, { identity, keys }));
        return { kind: 'revealed', site, reply };
      };
    }
    case 'opening':
    case 'done':
    case 'aborted':
      break;
  }
  throw new Error(`nobody is asked in phase ${state.phase}`);
};

/** What the coordinator asks in this phase, what the site answers, and the event that it makes. */
export const answerOf = (world: World, member: Member): RoundEvent => questionOf(world, member)();

/** Sum of the survivors' vectors without what hid it; undefined when the secrets do not come out. */
export const openedSum = (world: World): Words | undefined => {
  const { state } = world;
  const opening = openMasks(state, world.graph);
  if ('fault' in opening) return undefined;
  const sum: Words = new Uint32Array(world.plan.plan.words);
  for (const { site } of state.survivors) addWords(sum, world.members[placeOf(site)]!.vector!);
  mask(sum, opening.masks);
  return sum;
};

/** What the sum has to be: of the inputs of those who are in it. */
export const plainSum = (world: World): Words => {
  const sum: Words = new Uint32Array(world.plan.plan.words);
  for (const { site } of world.state.survivors) addWords(sum, world.members[placeOf(site)]!.input);
  return sum;
};

export interface Faults {
  /** Chance that an asked site is gone for the rest of the round. */
  readonly dies: number;
  /** Chance that its answer comes twice, or is answered twice because the first was lost. */
  readonly repeats: number;
  /** Chance that the phase falls silent although somebody would still have answered. */
  readonly silence: number;
  /** Chance that a site stops while it answers, before or after its state is kept, and is asked again when it is back. */
  readonly crashes?: number;
  /** Chance that beside an answer something old arrives, at the site or at the coordinator. */
  readonly late?: number;
  /** Chance that the coordinator stops after an event and starts again from what it kept. */
  readonly restarts?: number;
  /** By the site's place. */
  readonly liars?: ReadonlyMap<number, Lie>;
}

/** Of a state everything, maps and sets in their order, piece by piece: with many sites it is longer than a text may be. */
function* piecesOf(state: RoundState): Generator<string> {
  for (const [name, value] of Object.entries(state))
    if (value instanceof Map || value instanceof Set)
      for (const entry of value.entries()) yield `${name} ${JSON.stringify(entry)}`;
    else yield `${name} ${JSON.stringify(value)}`;
}
const isSameState = (one: RoundState, other: RoundState): boolean => {
  const others = piecesOf(other);
  for (const piece of piecesOf(one)) if (others.next().value !== piece) return false;
  return others.next().done === true;
};

/** A coordinator that starts again has nothing but its events. @throws Error unless they give the same state */
export const restartCoordinator = (world: World): void => {
  const keys = rosterKeys(world.members.length);
  const again = world.events.reduce((state, event) => roundAfter(state, event, keys), newRound(world.plan));
  if (!isSameState(again, world.state)) throw new Error('the events do not give the same state again');
  world.state = again;
};

/** Whatever a site shows of its shares is out in the world once it is sent. */
const leaveSite = (world: World, event: RoundEvent): void => {
  if (event.kind !== 'revealed') return;
  for (const { site: of, kind } of event.reply.shares) world.released.push({ holder: event.site, of, kind });
};

/** The site stops: what it had not kept is as if it had never been. */
const crashBeforeKeeping = (member: Member, question: Question): void => {
  const { round, vector } = member;
  question();
  member.round = round;
  member.vector = vector;
};

const lossOf = (site: SiteId, thrown: unknown): RoundEvent => {
  if (!(thrown instanceof QflError)) throw thrown;
  return { kind: 'lost', site, code: thrown.code, detail: thrown.detail ?? '' };
};

interface Asked {
  readonly question: Question;
  readonly answer: string;
}

/** Plays the round to its end. The states on both sides are rebuilt from what was kept at every step. */
export const play = (world: World, faults: Faults): void => {
  const { dies, repeats, silence, crashes = 0, late = 0, restarts = 0, liars } = faults;
  const dead = new Set<number>();
  const { random } = world;
  const asked: Asked[] = [];
  // Nothing is drawn for a fault that is not there: seeds of the others stay what they are.
  const chance = (share: number): boolean => share > 0 && random.uniform() < share;

  const answer = (member: Member): RoundEvent => {
    const question = questionOf(world, member);
    try {
      if (chance(crashes)) crashBeforeKeeping(member, question);
      const event = question();
      leaveSite(world, event);
      if (chance(crashes)) sameAgain({ question, answer: JSON.stringify(event) });
      asked.push({ question, answer: JSON.stringify(event) });
      const lie = liars?.get(member.at);
      return lie === undefined ? event : LIES[lie](world, member, event);
    } catch (thrown) {
      return lossOf(siteAt(member.at), thrown);
    }
  };
  /** A message that comes again, however late, gets the answer that it got. */
  const sameAgain = ({ question, answer: before }: Asked): void => {
    const event = question();
    leaveSite(world, event);
    if (JSON.stringify(event) !== before) throw new Error('a site answered the same message in two ways');
  };
  /** Answers on their way, for longer than anybody waits. */
  const held: RoundEvent[] = [];
  const somethingOld = (): void => {
    if (held.length > 0 && random.uniform() < 0.3) happen(world, held.shift()!);
    else if (random.uniform() < 0.5 && asked.length > 0) sameAgain(asked[random.below(asked.length)]!);
    else if (world.events.length > 0) {
      const old = world.events[random.below(world.events.length)]!;
      // What ends a phase comes from nobody.
      if ('site' in old && old.kind !== 'lost') happen(world, old);
    }
  };

  const arrive = (event: RoundEvent): void => {
    if (chance(late / 4)) held.push(event);
    else happen(world, event);
  };

  while (world.state.phase !== 'opening' && world.state.phase !== 'aborted') {
    const { phase } = world.state;
    const order = awaited(world.state)
      .map((site) => ({ site, order: random.uniform() }))
      .toSorted((left, right) => left.order - right.order);
    for (const { site } of order) {
      if (world.state.phase !== phase) break;
      const member = world.members[placeOf(site)]!;
      if (!dead.has(member.at) && random.uniform() < dies) dead.add(member.at);
      if (dead.has(member.at)) continue;
      if (random.uniform() < silence) continue;
      const times = random.uniform() < repeats ? 2 : 1;
      for (let time = 0; time < times && world.state.phase === phase; time += 1) arrive(answer(member));
      if (chance(late)) somethingOld();
      if (chance(restarts)) restartCoordinator(world);
    }
    if (world.state.phase === phase) happen(world, { kind: 'silence' });
  }
  restartCoordinator(world);
};

/** What must hold of a round whatever went wrong; a sentence for each thing that does not. */
export const violationsOf = (world: World): string[] => {
  const found: string[] = [];
  // The coordinator here is honest and stands for one list, so of a member no two sites may show different kinds either.
  const kinds = new Map<SiteId, SecretKind>();
  for (const { holder, of, kind } of world.released) {
    if ((kinds.get(of) ?? kind) !== kind)
      found.push(`both kinds of secret of ${of} were shown, by ${holder} last`);
    kinds.set(of, kind);
  }
  if (world.state.phase !== 'opening') return found;
  const sum = openedSum(world);
  if (sum !== undefined && Buffer.compare(bytesOf(sum), bytesOf(plainSum(world))) !== 0)
    found.push('a wrong sum');
  if (world.state.survivors.length < survivorsMin(world.plan.plan)) found.push('a sum of too few sites');
  return found;
};

/** An answer, or undefined where the site refuses with a typed error. */
const triedOf = <Reply>(ask: () => Reply): Reply | undefined => {
  try {
    return ask();
  } catch (thrown) {
    if (thrown instanceof QflError) return undefined;
    throw thrown;
  }
};

/** A coordinator that lies now: it shows every site another list of survivors, and asks for the shares that go with it. */
export const tempt = (world: World): void => {
  const { state, plan, random, members } = world;
  const keys = rosterKeys(members.length);
  const all = state.members.flatMap(({ site }) => state.vectors.get(site) ?? []);
  const without = random.below(Math.max(1, all.length));
  const list = all.filter((_, at) => at !== without);
  const hash = survivorsHashOf(plan.hash, membersHash(state), list);
  const alive = members.flatMap((member) => {
    const message = { plan: toHex(plan.hash), survivors: list };
    const step = triedOf(() => confirmSurvivors(member.round, message, { identity: member.identity, keys }));
    return step === undefined ? [] : [{ site: siteAt(member.at), signature: keep(member, step) }];
  });
  // With every word for the list that it got, honest ones for the first list among them.
  const words = [...alive, ...[...state.alive].map(([site, signature]) => ({ site, signature }))];
  for (const member of members)
    for (const signed of [alive, words]) {
      const message = { plan: toHex(plan.hash), survivors: toHex(hash), alive: signed };
      const step = triedOf(() => reveal(member.round, message, { identity: member.identity, keys }));
      if (step === undefined) continue;
      leaveSite(world, { kind: 'revealed', site: siteAt(member.at), reply: keep(member, step) });
    }
};

/** What must hold beside a coordinator that lies: no site shows both secrets of a member, and of none enough to open both. */
export const doubleReleasesOf = ({ released, plan }: World): string[] => {
  const holders = new Map<string, Set<SiteId>>();
  for (const { holder, of, kind } of released) {
    const key = `${kind} ${of}`;
    holders.set(key, (holders.get(key) ?? new Set()).add(holder));
  }
  const both = plan.plan.sites.map((of) => ({
    of,
    self: holders.get(`self ${of}`) ?? new Set<SiteId>(),
    wrap: holders.get(`wrap ${of}`) ?? new Set<SiteId>(),
  }));
  const { threshold } = plan.plan;
  return both.flatMap(({ of, self, wrap }) => [
    ...[...self].filter((site) => wrap.has(site)).map((site) => `${site} showed both secrets of ${of}`),
    ...(self.size >= threshold && wrap.size >= threshold ? [`both secrets of ${of} can be opened`] : []),
  ]);
};
