/** Each guarantee of the directory taken away: the hostile coordinator then gets through. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type * as OwnName from '../../agent/federation/own-name.ts';
import { toHex } from '../../shared/bytes.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import type * as Quorum from '../../shared/directory/quorum.ts';
import type * as Record from '../../shared/directory/record.ts';
import { SiteId } from '../../shared/ids.ts';
import {
  asks,
  createHostileWorld,
  type HonestSite,
  type HostileWorld,
  newVault,
  stateOf,
} from '../fixtures/hostile.ts';

const faults = vi.hoisted(() => ({
  anySignature: false,
  noQuorum: false,
  alwaysFresh: false,
  smallQuorum: false,
  ownNameUnwatched: false,
}));
vi.mock('../../shared/directory/record.ts', async (original) => {
  const real = await original<typeof Record>();
  return {
    ...real,
    recordHolds: (...args: Parameters<typeof real.recordHolds>) =>
      faults.anySignature || real.recordHolds(...args),
  };
});
vi.mock('../../shared/directory/quorum.ts', async (original) => {
  const real = await original<typeof Quorum>();
  return {
    ...real,
    growthSinceS(...args: Parameters<typeof real.growthSinceS>) {
      const [, after, cosigned, self] = args;
      if (faults.noQuorum) return Date.now() / 1_000;
      const sinceS = faults.smallQuorum
        ? real.quorumSinceS(real.witnessesOf(after), 2, cosigned, self)
        : real.growthSinceS(...args);
      return sinceS !== undefined && faults.alwaysFresh ? sinceS + 3_600 : sinceS;
    },
  };
});
vi.mock('../../agent/federation/own-name.ts', async (original) => {
  const real = await original<typeof OwnName>();
  return {
    ...real,
    createOwnLeaves: (...args: Parameters<typeof real.createOwnLeaves>) => ({
      ...real.createOwnLeaves(...args),
      ...(faults.ownNameUnwatched ? { isForeign: () => Promise.resolve(false) } : {}),
    }),
  };
});

const east = SiteId.parse('east');
const FIVE = ['north', 'south', 'east', 'west', 'middle'];
let world: HostileWorld;
const site = (name: string): HonestSite => world.sites.find((one) => one.name === name)!;
const atMs = (): number => Math.trunc(world.clock.nowMs());

beforeEach(() => {
  for (const name of Object.keys(faults) as (keyof typeof faults)[]) faults[name] = false;
});
/** Runs the attack without and with the fault. */
const both = async (fault: keyof typeof faults, attack: () => Promise<string>) => {
  const caught = await attack();
  faults[fault] = true;
  return { caught, passed: await attack() };
};

describe('without its guarantee', () => {
  test('a swapped key is used: the chain of signatures', async () => {
    const evil = await newVault();
    const evilKey = toHex(evil.identity.publicKeys.ed25519);
    const found = await both('anySignature', async () => {
      world = await createHostileWorld(['north', 'south', 'east']);
      await world.interval();
      const keys = stateOf(world.leaves).get(east)!;
      world.show([...world.leaves, await evil.identityLeaf(east, atMs(), keys)]);
      await world.interval();
      return asks(site('north'), east);
    });
    expect(found.caught).not.toBe(evilKey);
    expect(found.passed).toBe(evilKey);
  });

  test('a stolen key publishes unnoticed: the watch over the own name', async () => {
    const found = await both('ownNameUnwatched', async () => {
      world = await createHostileWorld(['north', 'south', 'east']);
      await world.interval();
      const keys = stateOf(world.leaves).get(east)!;
      world.show([...world.leaves, await site('east').vault.prekeyLeaf(atMs() + 1, keys)]);
      await world.interval();
      return asks(site('east'), SiteId.parse('north'));
    });
    expect(found.caught).toBe('lockdown');
    expect(found.passed).not.toBe('lockdown');
  });

  test('a forked log is used by both halves: the quorum', async () => {
    const left = SiteId.parse('left');
    const stranger = await newVault();
    const found = await both('noQuorum', async () => {
      world = await createHostileWorld(['north', 'south', 'east', 'west']);
      await world.interval();
      const fork = [...world.leaves, await stranger.identityLeaf(left, atMs(), undefined)];
      world.show(fork, world.sites.slice(0, 2));
      world.show(
        [...world.leaves, await stranger.identityLeaf(SiteId.parse('right'), atMs(), undefined)],
        world.sites.slice(2),
      );
      await world.interval();
      return asks(site('north'), left);
    });
    expect(found).toEqual({
      caught: 'unknown_key',
      passed: toHex(stranger.identity.publicKeys.ed25519),
    });
  });

  test('a stale view is used: the age of the cosignatures', async () => {
    const found = await both('alwaysFresh', async () => {
      world = await createHostileWorld(['north', 'south', 'east']);
      await world.interval();
      world.clock.moveMs(11 * MINUTE_MS);
      return asks(site('north'), east);
    });
    expect(found.caught).toBe('directory_stale');
    expect(found.passed).not.toBe('directory_stale');
  });

  test('a hidden revocation is hidden: a majority, not a pair', async () => {
    const found = await both('smallQuorum', async () => {
      world = await createHostileWorld(FIVE);
      await world.interval();
      const revoked = [...world.leaves, world.revocationOf(stateOf(world.leaves).get(east)!)];
      world.show(revoked, [site('south'), site('west'), site('middle')]);
      world.clock.moveMs(11 * MINUTE_MS);
      await world.interval();
      return asks(site('north'), east);
    });
    expect(found.caught).toBe('directory_stale');
    expect(found.passed).not.toBe('directory_stale');
  });
});
