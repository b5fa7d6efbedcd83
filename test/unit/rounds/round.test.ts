/** Whole rounds with seeded faults: the sum is exact or stays closed, and nobody reveals both secrets of a site. */
import { expect, describe, it } from 'vitest';
import { fromBase64 } from '../../../shared/bytes.ts';
import { toleranceOf } from '../../../shared/rounds/tolerance.ts';
import { openedSum, plainSum, play, siteAt, worldOf } from './simulation.ts';

const CALM = { dies: 0, repeats: 0, silence: 0 };

describe('a sealed round', () => {
  it.each([3, 4, 6, 10])('of %i sites gives the exact sum', (sites) => {
    const world = worldOf(sites, 50, sites);
    play(world, CALM);
    expect(world.state.survivors).toHaveLength(sites);
    expect(openedSum(world)).toEqual(plainSum(world));
  });

  it('of sites with few neighbours gives the exact sum, with some of them gone', () => {
    const world = worldOf(24, 20, 5, { degreeMax: 8 });
    play(world, { ...CALM, dies: 0.02 });
    expect(world.state.survivors.length).toBeLessThan(24);
    expect(openedSum(world)).toEqual(plainSum(world));
  });

  it('is exact or closed under three hundred rounds of faults', () => {
    let [opened, closed, dropped] = [0, 0, 0];
    for (let seed = 1; seed <= 300; seed += 1) {
      const sites = 3 + (seed % 10);
      const faults = { dies: (seed % 7) / 60, repeats: 0.2, silence: (seed % 5) / 50 };
      const world = worldOf(sites, 8, seed, { plan: { minCohort: 2 } });
      play(world, faults);
      const { phase, survivors, members } = world.state;
      if (phase === 'aborted') {
        closed += 1;
        continue;
      }
      expect([seed, openedSum(world)]).toEqual([seed, plainSum(world)]);
      expect(survivors.length).toBeGreaterThanOrEqual(toleranceOf(sites).threshold);
      opened += 1;
      if (survivors.length < members.length) dropped += 1;
    }
    // The faults were such that all of it happened.
    expect(opened).toBeGreaterThan(100);
    expect(closed).toBeGreaterThan(20);
    expect(dropped).toBeGreaterThan(20);
  });

  it('hides each vector: a masked one is not its input, and two sites’ are not their sum', () => {
    const world = worldOf(4, 64, 9);
    play(world, CALM);
    const [first, second] = world.members;
    const near = first!.input.filter((word, at) => word === first!.vector![at]).length;
    expect(near).toBeLessThan(3);
    const both = first!.input.filter(
      (word, at) => (word + second!.input[at]!) >>> 0 === (first!.vector![at]! + second!.vector![at]!) >>> 0,
    ).length;
    expect(both).toBeLessThan(3);
  });

  it('reveals of each member one secret, never both', () => {
    const world = worldOf(6, 4, 3);
    let asked = 0;
    play(world, { ...CALM, dies: 0.05 });
    for (const shares of world.state.reveals.values()) {
      asked += 1;
      const kinds = new Map(shares.map(({ site, kind }) => [site, kind]));
      expect(kinds.size).toBe(shares.length);
      for (const { site, share } of shares) {
        expect(fromBase64(share)).toHaveLength(32);
        const alive = world.state.survivors.some((survivor) => survivor.site === site);
        expect(kinds.get(site)).toBe(alive ? 'self' : 'wrap');
      }
    }
    expect(asked).toBeGreaterThanOrEqual(world.plan.plan.threshold);
  });

  it('without enough sites at any step ends closed, and says how many were needed', () => {
    const world = worldOf(3, 4, 1);
    play(world, { ...CALM, dies: 0.5 });
    expect(world.state.phase).toBe('aborted');
    expect(world.state.why).toMatch(/\d/);
    expect(siteAt(0)).toBe('site-0000');
  });
});
