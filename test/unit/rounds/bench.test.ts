/** The benchmark of sealed rounds plays whole rounds: small ones are exact, and it counts what it says. */
import { describe, expect, it } from 'vitest';
import { measureRound } from '../../bench/rounds.ts';

/** Times are not looked at here: as short as the clock allows. */
const TURN_BYTES = 1e7;

describe('the benchmark of sealed rounds', () => {
  it.each([
    [4, 1_000, 0, 4],
    // Six sites that stay take their own masks away; each of the three that left shared one with each of the six.
    [9, 70_000, 3, 6 + 3 * 6],
  ])('of %i sites and %i words with %i gone is exact', async (sites, dim, drops, prgRuns) => {
    const row = await measureRound(sites, dim, drops, TURN_BYTES);
    expect(row).toMatchObject({ sites, dim, drops, exact: true, prgRuns });
    // The vector itself, and what a site says of shares and survivors.
    expect(row.trafficRatio).toBeGreaterThan(1);
    expect(row.frameTrafficRatio).toBeGreaterThan(row.trafficRatio);
    for (const value of [row.maskMsPerSite, row.unmaskMs, row.peakRssMb, row.keystreamRatio])
      expect(value).toBeGreaterThan(0);
  });
});
