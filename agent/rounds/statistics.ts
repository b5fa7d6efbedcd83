/**
 * A statistic as a sealed round: the coordinator and everybody else see the sum over the hospitals only, and the noise in it is that of a few hospitals, not
 * of each. One vector of small integers: a count, a histogram or a table of declared bins.
 */
import { z } from 'zod';
import { breathe } from '../../shared/breathe.ts';
import { assert, QflError } from '../../shared/errors.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import {
  discreteGaussian,
  distributedGaussian,
  mechanismToText,
  noiseOf,
} from '../../shared/privacy/mechanism.ts';
import { ceil, rational } from '../../shared/privacy/rational.ts';
import type { RandomBytes } from '../../shared/random.ts';
import { honestShares, type Party, sigmaOf } from '../../shared/rounds/logistic.ts';
import type { RoundPlan, RoundPrivacy } from '../../shared/rounds/plan.ts';
import { MeasuresQuery } from '../../shared/wire/stats.ts';
import { type Vector, vectorsOf } from '../answer/stats/layout.ts';
import { createMeasuresPlanner } from '../answer/stats/plan.ts';
import type { Block } from '../budget/blocks.ts';
import type { LedgerLimits } from '../budget/ledger.ts';
import type { Records } from '../records/store.ts';
import type { RoundWorker } from './work.ts';

export const STATISTIC = 'statistic';
const DRAWS_PER_TURN = 256;

const StatisticWork = z.strictObject({
  query: MeasuresQuery,
  /** Variance of each site's share of the noise: an integer in decimal. */
  sigmaSquared: z.string().regex(/^[1-9]\d{0,17}$/),
});
export type StatisticWork = z.infer<typeof StatisticWork>;

/** What a masked statistic sums. @throws QflError `invalid_request` for figures that are no single vector of small integers */
export const maskedVector = ({ measures }: MeasuresQuery): Vector => {
  const [measure, ...others] = measures;
  const isOne = others.length === 0 && (measure?.measure === 'count' || measure?.measure === 'table');
  if (measure === undefined || !isOne)
    throw new QflError('invalid_request', {
      detail: 'a masked statistic has one figure: a count, a histogram or a table',
      next: 'Ask for the figures one by one, or without --masked.',
    });
  return vectorsOf(measure)[0]!;
};

/** Of a share, for which the sum of the honest ones costs what the epsilon asked for costs: D²/(epsilon²·h), rounded up. */
export const maskedSigmaSquared = (query: MeasuresQuery, party: Party): string => {
  const { l2Squared } = maskedVector(query);
  const epsilon = BigInt(query.microEpsilon);
  const scale = BigInt(MICRO_PER_EPSILON);
  const shares = BigInt(honestShares(party));
  return String(ceil(rational(l2Squared * scale * scale, epsilon * epsilon * shares)));
};

export const maskedPrice = ({ query, sigmaSquared }: StatisticWork, party: Party): RoundPrivacy => {
  const { l2Squared, cells } = maskedVector(query);
  return {
    unit: 'patient',
    mechanism: mechanismToText(
      distributedGaussian({
        sensitivitySquared: l2Squared,
        sigmaSquared: sigmaOf(sigmaSquared),
        shares: honestShares(party),
        words: cells.length,
      }),
    ),
  };
};

const parseWork = (plan: RoundPlan): StatisticWork => {
  const parsed = StatisticWork.safeParse(plan.work.settings);
  if (!parsed.success)
    throw new QflError('invalid_request', { detail: `not a statistic: ${z.prettifyError(parsed.error)}` });
  if (maskedVector(parsed.data.query).cells.length !== plan.words)
    throw new QflError('invalid_request', {
      detail: 'the plan sums another number of cells than its figure has',
    });
  return parsed.data;
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
      // Before any record is read: how long drawing takes then says nothing about them.
      const draw = noiseOf(discreteGaussian(rational(1n), sigmaOf(work.sigmaSquared)), options.random);
      const noise: bigint[] = [];
      for (let word = 0; word < plan.words; word += 1) {
        noise.push(draw());
        if (word % DRAWS_PER_TURN === 0) await breathe();
      }
      const planned = await planner(work.query, { limits: options.limits(), blocks: options.blocks(plan) });
      const [exact] = await planned.evaluate(signal);
      assert(Array.isArray(exact) && exact.length === plan.words, 'one integer for each cell');
      return Int32Array.from(noise, (value, word) => Number(BigInt.asIntN(32, value + BigInt(exact[word]))));
    },
  };
};
