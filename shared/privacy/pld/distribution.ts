/**
 * The privacy loss distribution of an event tree, composed. For runs fixed in advance only: under adaptively chosen mechanisms no
 * filter built on it is sound, so ledgers never use it. May take seconds: run in a worker.
 */
import { cannotPrice, checkEvent, type LossEvent, type Relation } from '../loss-event.ts';
import { composeGrids } from './compose.ts';
import { checkCells, gridDelta, gridEpsilon, type GridSettings, type LossGrid } from './loss-grid.ts';
import { type Direction, gaussianPair, gaussianReplacedPair, gridOfPair, laplacePair } from './noise-pair.ts';
import {
  discreteGaussianOutcomes,
  discreteLaplaceOutcomes,
  gridOfOutcomes,
  guaranteeOutcomes,
  isSymmetric,
  nullResponseOutcomes,
  type OutcomePair,
  responseOutcomes,
  reversed,
  sampledOutcomes,
} from './outcome-pair.ts';

/** One mechanism, how often it runs, and the share of records that take part. */
interface Run {
  readonly event: LossEvent;
  readonly probability: number;
  readonly count: number;
}

/** Squared sensitivity over sigma² of continuous Gaussian answers on one sample; undefined when something else is among them. */
const gaussianSignal = (event: LossEvent): number | undefined => {
  if (event.type === 'gaussian') return (event.sensitivity / event.sigma) ** 2;
  if (event.type === 'self_composed') {
    const one = gaussianSignal(event.event);
    return one === undefined ? undefined : one * event.count;
  }
  if (event.type !== 'composed') return undefined;
  let sum = 0;
  for (const part of event.events) {
    const signal = gaussianSignal(part);
    if (signal === undefined) return undefined;
    sum += signal;
  }
  return sum;
};

const asGaussian = (signal: number, relation: Relation): LossEvent => ({
  type: 'gaussian',
  relation,
  sigma: 1,
  sensitivity: Math.sqrt(signal),
});

/** Answers on one sample: Gaussian ones are one Gaussian answer, a single other mechanism is itself. */
const sampledRun = (event: LossEvent, probability: number, count: number, relation: Relation): Run => {
  const signal = gaussianSignal(event);
  if (signal !== undefined) return { event: asGaussian(signal, relation), probability, count };
  if (event.type === 'composed' && event.events.length === 1)
    return sampledRun(event.events[0]!, probability, count, relation);
  if (event.type === 'self_composed' && event.count === 1)
    return sampledRun(event.event, probability, count, relation);
  return { event, probability, count };
};

/** The tree as a list of runs; a count within a count multiplies. */
const flatten = (event: LossEvent, count: number, relation: Relation): Run[] => {
  if (event.type === 'self_composed') return flatten(event.event, count * event.count, relation);
  if (event.type === 'composed') return event.events.flatMap((part) => flatten(part, count, relation));
  if (event.type !== 'poisson_sampled') return [{ event, probability: 1, count }];
  if (event.probability === 1) return flatten(event.event, count, relation);
  return event.probability === 0 ? [] : [sampledRun(event.event, event.probability, count, relation)];
};

/** Runs of the same mechanism are counted together, and all unsampled Gaussian answers are one of their joint strength. */
const merged = (runs: readonly Run[], relation: Relation): Run[] => {
  const gaussians = runs.filter(({ event, probability }) => event.type === 'gaussian' && probability === 1);
  const signal = gaussians.reduce((sum, { event, count }) => sum + count * (gaussianSignal(event) ?? 0), 0);
  const others = new Map<string, Run>();
  for (const run of runs) {
    if (gaussians.includes(run) || run.count === 0) continue;
    const key = JSON.stringify([run.event, run.probability]);
    others.set(key, { ...run, count: run.count + (others.get(key)?.count ?? 0) });
  }
  const together = signal === 0 ? [] : [{ event: asGaussian(signal, relation), probability: 1, count: 1 }];
  return [...together, ...others.values()];
};

/** A loss on a grid, by direction; both the same object where the mechanism is symmetric. */
type Grids = Readonly<Record<Direction, LossGrid>>;

const refuse = (event: LossEvent): never =>
  cannotPrice(`the loss distribution of ${event.type}`, 'Price the run by its Renyi curve.');

const responses = (event: LossEvent & { type: 'randomized_response' }): OutcomePair => {
  if (event.relation === 'add_or_remove_one')
    return cannotPrice('randomised response under add/remove', 'State it for records replaced by others.');
  return event.relation === 'replace_one'
    ? responseOutcomes(event.noise, event.buckets)
    : nullResponseOutcomes(event.noise, event.buckets);
};

/** The worst pair of a mechanism with finitely many kinds of answers; undefined for a continuous one. */
const outcomesOf = (event: LossEvent): OutcomePair | undefined => {
  if (event.type === 'discrete_gaussian') return discreteGaussianOutcomes(event.sigma, event.sensitivity);
  if (event.type === 'discrete_laplace')
    return event.sensitivity === 0
      ? guaranteeOutcomes(0, 0)
      : discreteLaplaceOutcomes(event.scale, event.sensitivity);
  if (event.type === 'epsilon_delta') return guaranteeOutcomes(event.epsilon, event.delta);
  if (event.type === 'exponential_mechanism') return guaranteeOutcomes(event.epsilon, 0);
  return event.type === 'randomized_response' ? responses(event) : undefined;
};

const outcomeGrids = (pair: OutcomePair, run: Run, relation: Relation, settings: GridSettings): Grids => {
  if (run.probability < 1 && relation === 'replace_one')
    return cannotPrice(
      'this mechanism, sampled, under replace-one',
      'State it for records added or removed.',
    );
  const sampled = sampledOutcomes(pair, run.probability);
  const remove = gridOfOutcomes(sampled, settings);
  return { remove, add: isSymmetric(sampled) ? remove : gridOfOutcomes(reversed(sampled), settings) };
};

/** Continuous noise; `distance` is the sensitivity in units of the noise. */
const noiseGrids = (
  pairOf: typeof gaussianPair,
  distance: number,
  run: Run,
  settings: GridSettings,
): Grids => {
  const grid = (direction: Direction): LossGrid =>
    gridOfPair(pairOf(distance, run.probability, direction), settings);
  const remove = grid('remove');
  return { remove, add: run.probability === 1 ? remove : grid('add') };
};

const gaussianGrids = (distance: number, run: Run, relation: Relation, settings: GridSettings): Grids => {
  if (run.probability === 1 || relation !== 'replace_one')
    return noiseGrids(gaussianPair, distance, run, settings);
  const both = gridOfPair(gaussianReplacedPair(distance, run.probability), settings);
  return { remove: both, add: both };
};

const laplaceGrids = (distance: number, run: Run, relation: Relation, settings: GridSettings): Grids => {
  if (run.probability < 1 && relation === 'replace_one')
    return cannotPrice('sampled Laplace noise under replace-one', 'State it for records added or removed.');
  return noiseGrids(laplacePair, distance, run, settings);
};

/** Undefined where nothing is lost. */
const gridsOf = (run: Run, relation: Relation, settings: GridSettings): Grids | undefined => {
  const { event } = run;
  // Integer noise has an outcome for every integer that matters; they must fit before they are listed.
  if (event.type === 'discrete_gaussian') checkCells(event.sensitivity + 20 * event.sigma, settings);
  if (event.type === 'discrete_laplace') checkCells(event.sensitivity, settings);
  const pair = outcomesOf(event);
  if (pair !== undefined) return outcomeGrids(pair, run, relation, settings);
  if (event.type === 'gaussian')
    return event.sensitivity === 0
      ? undefined
      : gaussianGrids(event.sensitivity / event.sigma, run, relation, settings);
  if (event.type === 'laplace')
    return event.sensitivity === 0
      ? undefined
      : laplaceGrids(event.sensitivity / event.scale, run, relation, settings);
  if (event.type === 'permute_and_flip')
    return event.epsilon === 0 ? undefined : laplaceGrids(event.epsilon, run, relation, settings);
  return refuse(event);
};

/** Parts that are bounds, not mechanisms: what they really lose may be less, so they have no optimistic figure. */
const isBound = ({ event }: Run): boolean =>
  event.type === 'epsilon_delta' ||
  event.type === 'exponential_mechanism' ||
  event.type === 'permute_and_flip';

export interface LossDistribution {
  /** False when some part is known by a bound only; then optimistic figures leave it out. */
  readonly exact: boolean;
  epsilon(delta: number): number;
  delta(epsilon: number): number;
}

export const DEFAULT_GRID: GridSettings = { step: 1e-4, rounding: 'pessimistic', cellsMax: 2 ** 22 };

/**
 * Pessimistic figures exceed the exact ones by an order of step², optimistic ones fall short by up to a step per run.
 * @throws QflError `invalid_request` when no distribution is known, or it does not fit on the grid.
 */
export const lossDistribution = (event: LossEvent, given: Partial<GridSettings> = {}): LossDistribution => {
  const settings = { ...DEFAULT_GRID, ...given };
  const relation = checkEvent(event) ?? 'add_or_remove_one';
  const runs = merged(flatten(event, 1, relation), relation);
  const counted = settings.rounding === 'optimistic' ? runs.filter((run) => !isBound(run)) : runs;
  const parts = counted.flatMap((run) => {
    const grids = gridsOf(run, relation, settings);
    return grids === undefined ? [] : [{ grids, count: run.count }];
  });
  const along = (direction: Direction): LossGrid =>
    composeGrids(
      parts.map(({ grids, count }) => ({ grid: grids[direction], count })),
      settings,
    );
  const remove = along('remove');
  const symmetric = parts.every(({ grids }) => grids.remove === grids.add);
  const add = symmetric ? remove : along('add');
  return {
    exact: !runs.some(isBound),
    epsilon: (delta) => Math.max(gridEpsilon(remove, delta), symmetric ? 0 : gridEpsilon(add, delta)),
    delta: (epsilon) => Math.max(gridDelta(remove, epsilon), symmetric ? 0 : gridDelta(add, epsilon)),
  };
};
