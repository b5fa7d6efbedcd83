/** What a masked statistic costs, and what it cannot be. */
import { describe, expect, it } from 'vitest';
import { maskedPrice, maskedSigmaSquared, maskedVector } from '../../../agent/rounds/statistics.ts';
import { costUnits, createFilter } from '../../../shared/privacy/filter.ts';
import { MicroEpsilon } from '../../../shared/privacy/epsilon.ts';
import { discreteGaussian, mechanismOfText } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { minCohortOf, thresholdOf } from '../../../shared/rounds/tolerance.ts';
import { MeasuresQuery } from '../../../shared/wire/stats.ts';
import { siteAt } from './simulation.ts';

const queryOf = (measures: unknown[], microEpsilon = 500_000) =>
  MeasuresQuery.parse({ kind: 'measures', cohort: 'Patient', measures, microEpsilon });
const count = { measure: 'count', noise: 'auto', share: 1 };
const partyOf = (sites: number) => ({
  sites: Array.from({ length: sites }, (_, at) => siteAt(at)),
  threshold: thresholdOf(sites),
  minCohort: minCohortOf(sites),
  masked: true,
});

describe('a masked statistic', () => {
  it.each([3, 4, 6, 12])(
    'of %i sites costs each what its epsilon costs a zCDP ledger, or a little less',
    (sites) => {
      const filter = createFilter('zcdp', { epsilon: MicroEpsilon.parse(10_000_000), delta: 1e-6 });
      for (const microEpsilon of [50_000, 100_000, 500_000, 1_000_000]) {
        const query = queryOf([count], microEpsilon);
        const party = partyOf(sites);
        const work = { query, sigmaSquared: maskedSigmaSquared(query, party) };
        const cost = costUnits(mechanismOfText(maskedPrice(work, party).mechanism), filter);
        // epsilon²/2: the Gaussian of variance 1/epsilon².
        const variance = rational(1_000_000n * 1_000_000n, BigInt(microEpsilon) ** 2n);
        const asked = costUnits(discreteGaussian(rational(1n), variance), filter);
        // Shares of a variance of one are not quite Gaussian in the sum: that costs a little, and is charged.
        expect(Number(cost)).toBeLessThan(Number(asked) * 1.05);
      }
    },
  );

  it('has one figure of small integers', () => {
    expect(maskedVector(queryOf([count])).cells).toEqual(['count']);
    expect(() => maskedVector(queryOf([count, count]))).toThrow(/one figure/);
  });
});
