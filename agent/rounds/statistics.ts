/**
 * Statistics as a sealed round: the coordinator and everybody else see the sum over the hospitals only, and the noise in it is that of a few hospitals, not
 * of each. All figures of a question lie in one vector of integers, one part after another, each noised for its own bound.
 */
import { z } from 'zod';
import { assert, QflError } from '../../shared/errors.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import { distributedGaussian, mechanismToText } from '../../shared/privacy/mechanism.ts';
import { ceil, divide, multiply, rational } from '../../shared/privacy/rational.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { honestShares, type Party, PATIENTS_MAX, SIGMA_SQUARED, sigmaOf } from '../../shared/rounds/noise.ts';
import type { RoundPlan, RoundPrivacy } from '../../shared/rounds/plan.ts';
import { WORD_BYTES } from '../../shared/rounds/words.ts';
import { type Measure, MeasuresQuery } from '../../shared/wire/stats.ts';
import { type Vector, vectorsOf } from '../answer/stats/layout.ts';
import { createMeasuresPlanner } from '../answer/stats/plan.ts';
import { epsilonOfVector } from '../answer/stats/price.ts';
import type { Block } from '../budget/blocks.ts';
import type { LedgerLimits } from '../budget/ledger.ts';
import type { Records } from '../records/store.ts';
import { drawShare } from './noise-share.ts';
import type { RoundWorker } from './work.ts';

export const STATISTIC = 'statistic';
const WORD_HALF = 2n ** BigInt(8 * WORD_BYTES - 1);

const StatisticWork = z.strictObject({
  query: MeasuresQuery,
  /** Variance of each site's share of the noise, for each part: integers in decimal. */
  sigmaSquared: z.array(z.string().regex(SIGMA_SQUARED)).min(1).max(64),
});
export type StatisticWork = z.infer<typeof StatisticWork>;

/** A part of the vector: one vector of one measure. */
export interface MaskedPart extends Vector {
  readonly measure: Measure;
  /** Its part of the question's epsilon. */
  readonly epsilon: ReturnType<typeof epsilonOfVector>;
}

const refuse = (detail: string, next: string): QflError => new QflError('invalid_request', { detail, next });

const checkPart = ({ measure, l1, candidates, keysMax }: MaskedPart): void => {
  if (keysMax !== undefined)
    throw refuse(
      'keys that only the records know are told by each site above its own threshold, and a sealed sum has no sites in it',
      'Name the keys, or ask without --masked.',
    );
  if (candidates !== undefined)
    throw refuse('a selected quantile comes from one site', 'Leave its method out: sites add up histograms.');
  if (measure.noise === 'laplace')
    throw refuse(
      'the noise of a sealed sum is Gaussian: shares of Laplace noise do not add up to Laplace noise',
      'Leave the noise out, or ask without --masked.',
    );
  if (l1 * BigInt(PATIENTS_MAX) >= WORD_HALF)
    throw refuse(
      `a ${measure.measure} in which one patient counts up to ${l1} steps does not fit into the words of a sealed sum`,
      'Use a coarser granularity, tighter bounds or fewer rows a patient; or ask without --masked.',
    );
};

/** What a masked statistic sums, in order. @throws QflError `invalid_request` for figures that cannot be summed behind masks */
export const maskedParts = ({ measures, microEpsilon }: MeasuresQuery): readonly MaskedPart[] => {
  const parts = measures.flatMap((measure) => {
    const vectors = vectorsOf(measure);
    const epsilon = epsilonOfVector(microEpsilon, measures, measure, vectors.length);
    return vectors.map((vector): MaskedPart => ({ ...vector, measure, epsilon }));
  });
  parts.forEach(checkPart);
  return parts;
};

export const maskedWords = (parts: readonly MaskedPart[]): number =>
  parts.reduce((sum, { cells }) => sum + cells.length, 0);

/** Of each share, for which the sum of the honest ones costs what the part's epsilon costs: D²/(epsilon²·h), rounded up. */
export const maskedSigmaSquared = (query: MeasuresQuery, party: Party): string[] => {
  const shares = rational(BigInt(honestShares(party)));
  return maskedParts(query).map(({ l2Squared, epsilon }) =>
    String(ceil(divide(rational(l2Squared), multiply(multiply(epsilon, epsilon), shares)))),
  );
};

export const maskedPrice = ({ query, sigmaSquared }: StatisticWork, party: Party): RoundPrivacy => ({
  unit: 'patient',
  mechanisms: maskedParts(query).map(({ l2Squared, cells }, at) =>
    mechanismToText(
      distributedGaussian({
        sensitivitySquared: l2Squared,
        sigmaSquared: sigmaOf(sigmaSquared[at]!),
        shares: honestShares(party),
        words: cells.length,
      }),
    ),
  ),
});

const parseWork = (plan: RoundPlan): StatisticWork => {
  const parsed = StatisticWork.safeParse(plan.work.settings);
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: `not a statistic: ${z.prettifyError(parsed.error)}` });
  const parts = maskedParts(parsed.data.query);
  if (maskedWords(parts) !== plan.words || parts.length !== parsed.data.sigmaSquared.length)
    throw new QflError('invalid_request', {
      detail: 'the plan sums another number of cells than its figures have',
    });
  return parsed.data;
};

/** Each part's noise, part after part. */
const drawNoise = async (
  { query, sigmaSquared }: StatisticWork,
  random: RandomBytes,
): Promise<Int32Array> => {
  const parts = maskedParts(query);
  const noise = new Int32Array(maskedWords(parts));
  let from = 0;
  for (const [at, { cells }] of parts.entries()) {
    await drawShare(sigmaSquared[at]!, random, noise, from, cells.length);
    from += cells.length;
  }
  return noise;
};

export interface MaskedStatisticsOptions {
  readonly records: Records;
  readonly random: RandomBytes;
  readonly limits: () => LedgerLimits;
  readonly blocks: (plan: RoundPlan) => readonly Block[] | undefined;
}

export const createStatisticWorker = (options: MaskedStatisticsOptions): RoundWorker => {
  const planner = createMeasuresPlanner(options.records);
  return {
    kind: STATISTIC,
    priceOf(plan) {
      const work = parseWork(plan);
      const { microEpsilonPerQueryMax } = options.limits();
      if (work.query.microEpsilon > microEpsilonPerQueryMax)
        throw new QflError('invalid_request', {
          detail: `a query may charge at most epsilon ${microEpsilonPerQueryMax / MICRO_PER_EPSILON} here`,
          next: 'Ask with a smaller epsilon: more noise, less of the budget.',
        });
      return maskedPrice(work, plan);
    },
    async compute(plan, _model, signal) {
      const work = parseWork(plan);
      const noise = await drawNoise(work, options.random);
      const planned = await planner(work.query, { limits: options.limits(), blocks: options.blocks(plan) });
      const exact = (await planned.evaluate(signal)).flatMap((vector) => {
        assert(Array.isArray(vector), 'cells that the question names');
        return [...vector];
      });
      assert(exact.length === plan.words, 'one integer for each cell');
      return noise.map((value, word) => Number(BigInt.asIntN(32, BigInt(value) + exact[word]!)));
    },
  };
};
