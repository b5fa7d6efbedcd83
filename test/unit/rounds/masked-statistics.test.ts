/** What masked statistics sum and cost, and what they cannot be. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  createStatisticWorker,
  maskedParts,
  maskedPrice,
  maskedSigmaSquared,
  maskedWords,
  STATISTIC,
} from '../../../agent/rounds/statistics.ts';
import { evaluateMeasures } from '../../../agent/answer/stats/plan.ts';
import type { LedgerLimits } from '../../../agent/budget/ledger.ts';
import { costUnits, createFilter } from '../../../shared/privacy/filter.ts';
import { MicroEpsilon } from '../../../shared/privacy/epsilon.ts';
import { discreteGaussian, mechanismOfText } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { minCohortOf, thresholdOf } from '../../../shared/rounds/tolerance.ts';
import { Measure, MeasuresQuery } from '../../../shared/wire/stats.ts';
import { condition, importResources, memoryRecords, patient } from '../../fixtures/fhir.ts';
import { HBA1C, MEASURES, observation } from '../../fixtures/stats.ts';
import { planFor, siteAt } from './simulation.ts';

const queryOf = (measures: unknown[], microEpsilon = 500_000) =>
  MeasuresQuery.parse({ kind: 'measures', cohort: 'Patient', measures, microEpsilon });
const count = { measure: 'count', noise: 'auto', share: 1 };
const partyOf = (sites: number) => ({
  sites: Array.from({ length: sites }, (_, at) => siteAt(at)),
  threshold: thresholdOf(sites),
  minCohort: minCohortOf(sites),
  masked: true,
});
const SUMMED = MEASURES.filter(
  ([, one]) => one.measure !== 'keyed_table' && !(one.measure === 'quantiles' && one.method === 'select'),
);
const limits = { microEpsilonPerQueryMax: 1e12, rule: 'zcdp' } as unknown as LedgerLimits;

describe('a masked statistic', () => {
  it.each([3, 4, 6, 12])(
    'of %i sites costs each what its epsilon costs a zCDP ledger, or a little less',
    (sites) => {
      const filter = createFilter('zcdp', { epsilon: MicroEpsilon.parse(10_000_000), delta: 1e-6 });
      for (const microEpsilon of [50_000, 100_000, 500_000, 1_000_000]) {
        const query = queryOf([count], microEpsilon);
        const party = partyOf(sites);
        const work = { query, sigmaSquared: maskedSigmaSquared(query, party) };
        const [mechanism] = maskedPrice(work, party).mechanisms;
        const cost = costUnits(mechanismOfText(mechanism!), filter);
        // epsilon²/2: the Gaussian of variance 1/epsilon².
        const variance = rational(1_000_000n * 1_000_000n, BigInt(microEpsilon) ** 2n);
        const asked = costUnits(discreteGaussian(rational(1n), variance), filter);
        // Shares of a variance of one are not quite Gaussian in the sum: that costs a little, and is charged.
        expect(Number(cost)).toBeLessThan(Number(asked) * 1.05);
      }
    },
  );

  it('of several figures charges each part, and never more than all of it in one', () => {
    const filter = createFilter('zcdp', { epsilon: MicroEpsilon.parse(10_000_000), delta: 1e-6 });
    const costOf = (measures: unknown[]): number => {
      const query = queryOf(measures);
      const work = { query, sigmaSquared: maskedSigmaSquared(query, partyOf(6)) };
      return maskedPrice(work, partyOf(6)).mechanisms.reduce(
        (sum, one) => sum + Number(costUnits(mechanismOfText(one), filter)),
        0,
      );
    };
    const all = SUMMED.map(([, one]) => one);
    expect(
      maskedPrice(
        { query: queryOf(all), sigmaSquared: maskedSigmaSquared(queryOf(all), partyOf(6)) },
        partyOf(6),
      ).mechanisms,
    ).toHaveLength(maskedParts(queryOf(all)).length);
    expect(costOf(all)).toBeGreaterThan(0);
    expect(costOf(all)).toBeLessThan(costOf([count]) * 1.05);
  });

  it('adds to each figure of the records its own noise, part after part', async () => {
    const records = memoryRecords();
    const people = Array.from({ length: 20 }, (_, at) => [
      patient(`p${at}`, { gender: at % 2 === 0 ? 'male' : 'female', birthDate: `19${40 + at}-01-01` }),
      observation(`o${at}`, `p${at}`, { valueQuantity: { value: 4 + at / 2, unit: '%', code: '%' } }),
      ...(at % 3 === 0 ? [condition(`c${at}`, `p${at}`)] : []),
    ]).flat();
    await importResources(records, people);
    // So much epsilon that a share has the smallest noise there is: a variance of one.
    const query = queryOf(
      SUMMED.map(([, one]) => one),
      100_000_000_000,
    );
    const party = partyOf(3);
    const work = { query, sigmaSquared: maskedSigmaSquared(query, party) };
    expect(new Set(work.sigmaSquared)).toEqual(new Set(['1']));
    const { plan } = planFor(3, maskedWords(maskedParts(query)), {
      work: { kind: STATISTIC, settings: { ...work } },
      privacy: maskedPrice(work, party),
    });
    const worker = createStatisticWorker({
      records,
      random: (size) => randomBytes(size),
      limits: () => limits,
      blocks: () => undefined,
    });
    expect(worker.priceOf(plan)).toEqual(plan.privacy);
    const noisy = await worker.compute(plan, new Uint8Array(0), new AbortController().signal);
    const exact = (await evaluateMeasures(records, query)).flatMap((vector) => [...(vector as bigint[])]);
    expect(noisy).toHaveLength(exact.length);
    // Ten standard deviations: once in 10^23 cells. Not all of them zero: it is noise.
    exact.forEach((value, at) => expect(Math.abs(noisy[at]! - Number(value))).toBeLessThan(10));
    expect(exact.some((value, at) => noisy[at] !== Number(value))).toBe(true);
    expect(exact.some((value) => value > 10n)).toBe(true);
  });

  it.each([
    ['unknown keys', MEASURES.find(([, one]) => one.measure === 'keyed_table')![1], /Name the keys/],
    [
      'a selection',
      MEASURES.find(([, one]) => one.measure === 'quantiles' && one.method === 'select')![1],
      /sites add up histograms/,
    ],
    ['Laplace noise', Measure.parse({ measure: 'count', noise: 'laplace' }), /Leave the noise out/],
    [
      'what might wrap around',
      Measure.parse({
        measure: 'sum',
        of: { variable: 'value', unit: '%', low: '0', high: '3000', granularity: '1' },
        rows: { of: `Observation?code=${HBA1C}`, perPatientMax: 1, take: 'latest' },
      }),
      /coarser granularity/,
    ],
  ])('refuses %s and says what to do', (_, one, next) => {
    expect(() => maskedParts(queryOf([count, one]))).toThrow(
      expect.objectContaining({ code: 'invalid_request', next: expect.stringMatching(next) as string }),
    );
  });
});
