/**
 * A whole round in memory: the sites' and the coordinator's states as they ship, and a network that loses, repeats, delays and reorders, and sites that stop
 * at any message and come back from what they kept. The exchange of epoch keys is stubbed: pair keys are drawn.
 */
import {
  acceptMembers,
  confirmSurvivors,
  joinRound,
  masksOf,
  reveal,
  type RosterKeys,
  shareSecrets,
  signVector,
  SiteRound,
  type Step,
} from '../../../agent/rounds/site-round.ts';
import { openMasks } from '../../../coordinator/rounds/opening.ts';
import {
  awaited,
  newRound,
  roundAfter,
  RoundEvent,
  type RoundState,
  survivorsHash,
} from '../../../coordinator/rounds/round.ts';
import { toBase64, toHex } from '../../../shared/bytes.ts';
import { blake2b } from '../../../shared/crypto/hash.ts';
import { createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import { DepartmentId, EpochId, Pseudonym, RoundId, SiteId } from '../../../shared/ids.ts';
import type { RandomBytes } from '../../../shared/random.ts';
import { LABELS } from '../../../shared/rounds/fields.ts';
import { maskGraph } from '../../../shared/rounds/mask-graph.ts';
import { chunkHashOf, vectorHashOf } from '../../../shared/rounds/messages.ts';
import { packPlan, type PlanBytes, type RoundPlan } from '../../../shared/rounds/plan.ts';
import { minCohortOf, thresholdOf } from '../../../shared/rounds/tolerance.ts';
import { addWords, bytesOf, mask, type Words } from '../../../shared/rounds/words.ts';
import { type Seeded, seeded } from '../../../shared/seeded.ts';

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
      mechanism: { kind: 'discrete_gaussian', sensitivitySquared: ['1', '1'], sigmaSquared: ['1', '1'] },
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
}

export const worldOf = (
  sites: number,
  words: number,
  seed: number,
  { plan: rest, degreeMax }: { readonly plan?: Partial<RoundPlan>; readonly degreeMax?: number } = {},
): World => {
  const random = seeded(seed);
  const plan = planFor(sites, words, rest);
  const graph = graphOf(sites, degreeMax);
  const members = plan.plan.sites.map((_, at) =>
    memberAt(
      plan,
      at,
      Uint32Array.from({ length: words }, () => random.next()),
      graph,
    ),
  );
  return { state: newRound(plan), plan, members, events: [], graph, random };
};

export const happen = (world: World, event: RoundEvent): void => {
  const kept = RoundEvent.parse(JSON.parse(JSON.stringify(event)));
  world.events.push(kept);
  world.state = roundAfter(world.state, kept, rosterKeys(world.members.length));
};

/** What the coordinator asks in this phase, what the site answers, and the event that it makes. */
export const answerOf = (world: World, member: Member): RoundEvent => {
  const { state, plan } = world;
  const site = siteAt(member.at);
  const keys = rosterKeys(world.members.length);
  const { identity } = member;
  switch (state.phase) {
    case 'joining':
      return { kind: 'joined', site };
    case 'sharing': {
      const bytes = keep(member, shareSecrets(member.round, randomFrom(world.random)));
      const signature = toBase64(identity.sign(LABELS.shares, blake2b(32, bytes)));
      return { kind: 'shared', site, text: text(bytes), signature };
    }
    case 'collecting': {
      const boxes = state.members.map((other) =>
        other.site === site
          ? null
          : {
              box: state.shares.get(other.site)!.boxes[member.at]!,
              hashes: state.shares.get(other.site)!.shareHashes[member.at]!,
            },
      );
      keep(
        member,
        acceptMembers(member.round, { plan: toHex(plan.hash), members: [...state.members], boxes }),
      );
      member.vector ??= maskedVector(member);
      const hash = hashOfVector(plan, site, member.vector);
      const signature = keep(member, signVector(member.round, hash, identity));
      return { kind: 'vector', site, hash: toHex(hash), signature };
    }
    case 'confirming': {
      const message = { plan: toHex(plan.hash), survivors: [...state.survivors] };
      const signature = keep(member, confirmSurvivors(member.round, message, { identity, keys }));
      return { kind: 'alive', site, signature };
    }
    case 'revealing': {
      const alive = [...state.alive].map(([one, signature]) => ({ site: one, signature }));
      const message = { plan: toHex(plan.hash), survivors: toHex(survivorsHash(state)), alive };
      const reply = keep(member, reveal(member.round, message, { identity, keys }));
      return { kind: 'revealed', site, reply };
    }
    case 'opening':
    case 'done':
    case 'aborted':
      break;
  }
  throw new Error(`nobody is asked in phase ${state.phase}`);
};

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
}

/** Plays the round to its end. The states on both sides are rebuilt from what was kept at every step. */
export const play = (world: World, { dies, repeats, silence }: Faults): void => {
  const dead = new Set<number>();
  const { random, state: first } = world;
  while (world.state.phase !== 'opening' && world.state.phase !== 'aborted') {
    const { phase } = world.state;
    const asked = awaited(world.state)
      .map((site) => ({ site, order: random.uniform() }))
      .toSorted((left, right) => left.order - right.order);
    for (const { site } of asked) {
      if (world.state.phase !== phase) break;
      const member = world.members[placeOf(site)]!;
      if (!dead.has(member.at) && random.uniform() < dies) dead.add(member.at);
      if (dead.has(member.at)) continue;
      if (random.uniform() < silence) continue;
      const times = random.uniform() < repeats ? 2 : 1;
      for (let time = 0; time < times && world.state.phase === phase; time += 1)
        happen(world, answerOf(world, member));
    }
    if (world.state.phase === phase) happen(world, { kind: 'silence' });
  }
  // A coordinator that starts again has nothing but the events.
  const again = world.events.reduce(
    (state, event) => roundAfter(state, event, rosterKeys(world.members.length)),
    first,
  );
  if (
    JSON.stringify([...again.vectors]) !== JSON.stringify([...world.state.vectors]) ||
    again.phase !== world.state.phase
  )
    throw new Error('the events do not give the same state again');
};
