/** What a coordinator that lies would get if a site forgot one of its checks, and that with the check it gets nothing. */
import { describe, expect, it } from 'vitest';
import { masksOf, signVector, type SiteRound } from '../../agent/rounds/site-round.ts';
import { toBase64, toHex } from '../../shared/bytes.ts';
import { LABELS } from '../../shared/rounds/fields.ts';
import {
  aliveBytes,
  membersHashOf,
  type RevealReply,
  type Survivor,
  survivorsHashOf,
} from '../../shared/rounds/messages.ts';
import { openSeeds, pairSeedOf, selfSeedOf } from '../../shared/rounds/secrets.ts';
import { combinerFor } from '../../shared/rounds/shamir.ts';
import { mask, type Words } from '../../shared/rounds/words.ts';
import { acceptMembers, confirmSurvivors, reveal } from '../unit/rounds/at-once.ts';
import {
  answerOf,
  happen,
  hashOfVector,
  type Member,
  memberAt,
  pairKeyOf,
  planFor,
  rosterKeys,
  siteAt,
  type World,
  worldOf,
} from '../unit/rounds/simulation.ts';

const SITES = 6;
const keys = rosterKeys(SITES);

/** A round up to where each site stands for the survivors, honestly. */
const untilConfirmed = (): World => {
  const world = worldOf(SITES, 16, 11);
  for (const phase of ['joining', 'sharing', 'collecting', 'confirming'])
    for (const member of world.members)
      if (world.state.phase === phase) happen(world, answerOf(world, member));
  return world;
};

const membersHash = (world: World): Uint8Array => membersHashOf(world.plan.hash, world.state.members);
const hashOfList = (world: World, list: readonly Survivor[]): Uint8Array =>
  survivorsHashOf(world.plan.hash, membersHash(world), list);
/** Every site corrupted into signing a list as if it had checked nothing. */
const signedByAll = (world: World, list: readonly Survivor[]) =>
  world.members
    .filter(({ at }) => list.some(({ site }) => site === siteAt(at)))
    .map(({ at, identity }) => ({
      site: siteAt(at),
      signature: toBase64(
        identity.sign(LABELS.alive, aliveBytes(world.plan.hash, membersHash(world), hashOfList(world, list))),
      ),
    }));

const ask = (world: World, round: SiteRound, list: readonly Survivor[], member: Member): RevealReply =>
  reveal(
    round,
    {
      plan: toHex(world.plan.hash),
      survivors: toHex(hashOfList(world, list)),
      alive: signedByAll(world, list),
    },
    { identity: member.identity, keys },
  ).reply;

/** What the coordinator computes of one site's vector from both of its secrets. */
const openVector = (world: World, victim: number, replies: readonly [number, RevealReply][][]): Words => {
  const { hash } = world.plan;
  const secretOf = (kind: 'self' | 'wrap') => {
    const shown = replies
      .flat()
      .flatMap(([holder, { shares }]) =>
        shares
          .filter((share) => share.site === siteAt(victim) && share.kind === kind)
          .map(({ share }) => [holder + 1, Buffer.from(share, 'base64')] as const),
      )
      .slice(0, world.plan.plan.threshold);
    return combinerFor(shown.map(([point]) => point)).secretOf(shown.map(([, share]) => share))!;
  };
  const seeds = openSeeds(
    secretOf('wrap'),
    hash,
    siteAt(victim),
    Buffer.from(world.state.shares.get(siteAt(victim))!.seeds, 'base64'),
  )!;
  const near = world.graph[victim]!;
  const opened = Uint32Array.from(world.members[victim]!.vector!);
  mask(opened, {
    plus: seeds.filter((_, at) => near[at]! < victim),
    minus: [selfSeedOf(secretOf('self'), hash), ...seeds.filter((_, at) => near[at]! > victim)],
  });
  return opened;
};

describe('never both', () => {
  it('a site that forgot which list it stands for gives both secrets of another away', () => {
    const world = untilConfirmed();
    const victim = 2;
    const all = world.state.survivors;
    const without = all.filter(({ site }) => site !== siteAt(victim));
    const first = world.members.map((member): [number, RevealReply] => [
      member.at,
      ask(world, member.round, all, member),
    ]);
    // The fault: what it stood for, and that it revealed, is not remembered.
    const forgetful = world.members.map((member): [number, RevealReply] => {
      const standing = {
        hash: toHex(hashOfList(world, without)),
        sites: without.map(({ site }) => site),
      };
      const { revealed: _, ...round } = { ...member.round, survivors: standing };
      return [member.at, ask(world, round, without, member)];
    });
    expect(openVector(world, victim, [first, forgetful])).toEqual(world.members[victim]!.input);
    // As it ships: the second list is refused, before and after the first was revealed.
    const member = world.members[0]!;
    for (const round of [
      member.round,
      reveal(
        member.round,
        {
          plan: toHex(world.plan.hash),
          survivors: toHex(hashOfList(world, all)),
          alive: signedByAll(world, all),
        },
        { identity: member.identity, keys },
      ).round,
    ]) {
      expect(() => ask(world, round, without, member)).toThrow(/already stood for other survivors/);
      expect(() =>
        confirmSurvivors(
          round,
          { plan: toHex(world.plan.hash), survivors: [...without] },
          { identity: member.identity, keys },
        ),
      ).toThrow(/already stood for other survivors/);
    }
  });
});

describe('the list of survivors', () => {
  const sent = (world: World): World => {
    for (const phase of ['joining', 'sharing', 'collecting'])
      for (const member of world.members)
        if (world.state.phase === phase) happen(world, answerOf(world, member));
    return world;
  };

  it('unchecked, a list of one site opens that site’s vector', () => {
    const world = sent(worldOf(SITES, 16, 12));
    const victim = 1;
    const alone = world.state.survivors.filter(({ site }) => site === siteAt(victim));
    const standing = { hash: toHex(hashOfList(world, alone)), sites: alone.map(({ site }) => site) };
    // The fault: sites stand for a list that they did not check, and take each other's word for it whoever is on it.
    const alive = world.members.map(({ at, identity }) => ({
      site: siteAt(at),
      signature: toBase64(
        identity.sign(
          LABELS.alive,
          aliveBytes(world.plan.hash, membersHash(world), hashOfList(world, alone)),
        ),
      ),
    }));
    const replies = world.members.map((member): [number, RevealReply] => {
      const round: SiteRound = { ...member.round, survivors: standing, revealed: true };
      const message = { plan: toHex(world.plan.hash), survivors: standing.hash, alive };
      return [member.at, reveal(round, message, { identity: member.identity, keys }).reply];
    });
    const { threshold } = world.plan.plan;
    const secretsOf = (site: number, kind: 'self' | 'wrap') => {
      const shown = replies.slice(0, threshold).map(([holder, { shares }]) => {
        const share = shares.find((one) => one.site === siteAt(site))!;
        expect(share.kind).toBe(kind);
        return [holder + 1, Buffer.from(share.share, 'base64')] as const;
      });
      return combinerFor(shown.map(([point]) => point)).secretOf(shown.map(([, share]) => share))!;
    };
    const opened = Uint32Array.from(world.members[victim]!.vector!);
    const { hash } = world.plan;
    const plus: Uint8Array[] = [];
    const minus = [selfSeedOf(secretsOf(victim, 'self'), hash)];
    for (const other of world.graph[victim]!) {
      const box = Buffer.from(world.state.shares.get(siteAt(other))!.seeds, 'base64');
      const seeds = openSeeds(secretsOf(other, 'wrap'), hash, siteAt(other), box)!;
      (victim < other ? minus : plus).push(seeds[world.graph[other]!.indexOf(victim)]!);
    }
    mask(opened, { plus, minus });
    expect(opened).toEqual(world.members[victim]!.input);
    // As it ships.
    const member = world.members[victim]!;
    const refused = (list: readonly Survivor[]) => () =>
      confirmSurvivors(
        member.round,
        { plan: toHex(hash), survivors: [...list] },
        { identity: member.identity, keys },
      );
    const all = world.state.survivors;
    expect(refused(alone)).toThrow(/fewer survivors than the plan asks for/);
    expect(refused([...alone, ...alone, ...alone, ...alone])).toThrow(/each once/);
    expect(refused(all.filter(({ site }) => site !== siteAt(victim)))).toThrow(/not among the survivors/);
    expect(refused([...all, { ...all[0]!, site: siteAt(77) }])).toThrow(/was no member/);
    expect(refused(all.map((one, at) => (at === 3 ? { ...one, vectorHash: 'f'.repeat(64) } : one)))).toThrow(
      /did not sign its vector/,
    );
    const tooFew = signedByAll(world, all).slice(0, threshold - 1);
    const { round } = confirmSurvivors(
      member.round,
      { plan: toHex(hash), survivors: [...all] },
      { identity: member.identity, keys },
    );
    const request = { plan: toHex(hash), survivors: toHex(hashOfList(world, all)) };
    const mine = { identity: member.identity, keys };
    expect(() => reveal(round, { ...request, alive: tooFew }, mine)).toThrow(/too few sites/);
    expect(() => reveal(round, { ...request, alive: Array(threshold).fill(tooFew[0]) }, mine)).toThrow(
      /too few sites/,
    );
    expect(() =>
      reveal(round, { ...request, alive: tooFew.map((one) => ({ ...one, site: siteAt(5) })) }, mine),
    ).toThrow(/does not stand for these survivors/);
  });
});

describe('the plan in every key', () => {
  it('left out, sites that were shown different models still add up', () => {
    const [one, other] = [
      planFor(2, 8, { modelHash: 'a'.repeat(64) }),
      planFor(2, 8, { modelHash: 'b'.repeat(64) }),
    ];
    const left = (seeds: readonly [Uint8Array, Uint8Array]): Words => {
      const sum: Words = new Uint32Array(8);
      mask(sum, { plus: [seeds[0]], minus: [] });
      mask(sum, { plus: [], minus: [seeds[1]] });
      return sum;
    };
    const pair = pairKeyOf(0, 1);
    // The fault: a mask made of the pair's key alone.
    const constant = Buffer.alloc(32);
    expect(left([pairSeedOf(pair, constant), pairSeedOf(pair, constant)])).toEqual(new Uint32Array(8));
    expect(left([pairSeedOf(pair, one.hash), pairSeedOf(pair, other.hash)])).not.toEqual(new Uint32Array(8));
  });

  it('a site shown another plan than the rest finds that nobody entrusted it with anything', () => {
    const world = worldOf(SITES, 8, 13);
    for (const phase of ['joining', 'sharing'])
      for (const member of world.members)
        if (world.state.phase === phase) happen(world, answerOf(world, member));
    const elsewhere = worldOf(SITES, 8, 14, { plan: { modelHash: 'b'.repeat(64) } });
    const alone = elsewhere.members[0]!;
    answerOf({ ...elsewhere, state: { ...elsewhere.state, phase: 'sharing' } }, alone);
    const boxes = world.state.members.map(({ site }, at) =>
      at === 0
        ? null
        : {
            box: world.state.shares.get(site)!.boxes[0]!,
            hashes: world.state.shares.get(site)!.shareHashes[0]!,
          },
    );
    const members = [...world.state.members];
    expect(() => acceptMembers(alone.round, { plan: toHex(elsewhere.plan.hash), members, boxes })).toThrow(
      /another commitment than this site made|did not entrust/,
    );
  });
});

describe('a member that the coordinator invents', () => {
  it('has entrusted nobody, and the list is refused', () => {
    const world = worldOf(SITES, 8, 15);
    for (const phase of ['joining', 'sharing'])
      for (const member of world.members.slice(0, 5))
        if (world.state.phase === phase) happen(world, answerOf(world, member));
    if (world.state.phase === 'joining') happen(world, { kind: 'silence' });
    for (const member of world.members.slice(0, 5))
      if (world.state.phase === 'sharing') happen(world, answerOf(world, member));
    expect(world.state.phase).toBe('collecting');
    const member = world.members[0]!;
    const own = world.state.shares.get(siteAt(1))!;
    const invented = [...world.state.members, { site: siteAt(5), commitment: '0'.repeat(64) }];
    const boxes = invented.map(({ site }) =>
      site === siteAt(0)
        ? null
        : {
            box: (world.state.shares.get(site) ?? own).boxes[0]!,
            hashes: (world.state.shares.get(site) ?? own).shareHashes[0]!,
          },
    );
    expect(() =>
      acceptMembers(member.round, { plan: toHex(world.plan.hash), members: invented, boxes }),
    ).toThrow(/site-0005 did not entrust this site/);
  });
});

describe('one vector a round', () => {
  it('is signed once: a second one, or other members, is refused', () => {
    const world = untilConfirmed();
    const member = world.members[0]!;
    const again = memberAt(
      world.plan,
      0,
      Uint32Array.from(member.input, (word) => word + 1),
      world.graph,
    );
    const vector = Uint32Array.from(again.input);
    mask(vector, masksOf(member.round));
    expect(() =>
      signVector(member.round, hashOfVector(world.plan, siteAt(0), vector), member.identity),
    ).toThrow(/already made another vector/);
    const fewer = world.state.members.slice(1);
    const boxes = fewer.map(() => null);
    expect(() =>
      acceptMembers(member.round, { plan: toHex(world.plan.hash), members: fewer, boxes }),
    ).toThrow(/already agreed to other members/);
  });
});
