/**
 * A training: sealed rounds one after another, each a step along the sum of the patients' clipped gradients. Weights and the round under way are kept, so that
 * after a crash the training goes on with the same round.
 */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { type Pseudonym, RoundId, type SiteId, type TaskId } from '../../shared/ids.ts';
import { rhoBudget } from '../../shared/privacy/conversion.ts';
import { decode, fitsWords } from '../../shared/rounds/encode.ts';
import {
  gridOf,
  honestShares,
  lengthOf,
  LOGISTIC,
  type LogisticWork,
  logisticPrice,
  readSum,
  sigmaSquaredFor,
  turnSeed,
  weightBytes,
  weightsOf,
} from '../../shared/rounds/logistic.ts';
import { minCohortOf, thresholdOf } from '../../shared/rounds/tolerance.ts';
import { MASKED_RULE } from '../../shared/rounds/plan.ts';
import type { Store } from '../../shared/store/port.ts';
import { type TrainingRequest, type TrainingResult, TrainingStep } from '../../shared/wire/round.ts';
import type { Rounds } from './rounds.ts';

const PREFIX = 'training/';
const SITES_MIN = 3;
/** Patients of the whole federation for which sums must not wrap around: more than any has. */
const PATIENTS_MAX = 1_000_000;

const Progress = z.strictObject({
  weights: z.array(z.number()),
  steps: z.array(TrainingStep),
  /** The round under way. */
  round: RoundId.nullable(),
});
type Progress = z.infer<typeof Progress>;

export interface TrainingOptions {
  readonly rounds: Rounds;
  readonly store: Store;
  /** Approved sites that are there and hold records. */
  readonly sitesNow: () => readonly SiteId[];
  /** The program is ending: what is under way goes on at the next start. */
  readonly isStopping: () => boolean;
}

export interface TrainingRun {
  readonly task: TaskId;
  readonly asker: Pseudonym;
  readonly signal: AbortSignal;
  readonly progress: (done: number, total: number) => void;
}

/** The request with the sites that take part: those it names, or all that are there. @throws QflError `site_unavailable`, `invalid_request` */
export const withSites = (request: TrainingRequest, sitesNow: readonly SiteId[]): TrainingRequest => {
  const sites = [...new Set(request.sites ?? sitesNow)].toSorted();
  if (sites.length < SITES_MIN)
    throw new QflError('site_unavailable', {
      detail: `a sealed round needs ${SITES_MIN} sites, and ${sites.length} with records ${sites.length === 1 ? 'is' : 'are'} there`,
      next: 'Wait until more are connected (qfl site list), or name them with --site.',
    });
  if (request.masked && request.rule !== 'sum')
    throw new QflError('invalid_request', {
      detail: MASKED_RULE,
      next: 'Leave the rule out; or give up hiding single hospitals with --unmasked, which each hospital has to allow (rounds.unmasked).',
    });
  if ((request.minCohort ?? 0) > sites.length)
    throw new QflError('invalid_request', {
      detail: `no sum of ${request.minCohort} sites comes of ${sites.length}`,
    });
  return { ...request, sites };
};

/** Who takes part, and under what rules. */
const partyOf = ({ sites = [], minCohort, masked, rule }: TrainingRequest) => ({
  sites,
  masked,
  rule,
  threshold: thresholdOf(sites.length),
  minCohort: minCohort ?? minCohortOf(sites.length),
});

/** What each round says to its sites, with the noise that makes the whole training lose (epsilon, delta) at most. */
export const workOf = (request: TrainingRequest): LogisticWork => {
  const party = partyOf(request);
  const { settings, clip, epsilon, delta, rounds } = request;
  const grid = gridOf(settings, clip);
  const shares = honestShares(party);
  const sigmaSquared = sigmaSquaredFor(rhoBudget(epsilon, delta) / rounds, grid, shares);
  const noise = { sigmaSquared: Number(sigmaSquared), shares: party.sites.length };
  if (!fitsWords(grid, PATIENTS_MAX, noise))
    throw new QflError('invalid_request', {
      detail: 'so much noise does not fit into the words of a sealed round',
      next: 'Ask for a larger epsilon, or fewer rounds.',
    });
  return { settings, clip, sigmaSquared };
};

export const runTraining = async (
  request: TrainingRequest,
  { rounds, store, sitesNow, isStopping }: TrainingOptions,
  { task, asker, signal, progress }: TrainingRun,
): Promise<TrainingResult> => {
  const { settings, clip, learningRate, epsilon, delta, silenceMs, department } = request;
  const key = PREFIX + task;
  const value = await store.get(key);
  let state: Progress =
    value === undefined
      ? { weights: Array.from({ length: weightsOf(settings) }, () => 0), steps: [], round: null }
      : Progress.parse(JSON.parse(fromUtf8(value)));
  const whole = withSites(request, sitesNow());
  const party = partyOf(whole);
  const keep = async (next: Progress): Promise<void> => {
    state = next;
    await store.write([{ type: 'put', key, value: utf8(JSON.stringify(next)) }]);
  };
  const work = workOf(whole);
  const grid = gridOf(settings, clip);
  const cancelled = (): void => {
    if (state.round !== null && !isStopping())
      // It may be over already: then there is nothing to end.
      void rounds.cancel(state.round, 'the training was cancelled').catch(() => undefined);
  };
  const begin = async (): Promise<RoundId> => {
    const round = await rounds.start(
      {
        ...party,
        words: grid.words,
        work: { kind: LOGISTIC, settings: { ...work } },
        privacy: logisticPrice(work, party),
        model: weightBytes(Float64Array.from(state.weights)),
        silenceMs,
        asker,
        department,
        task,
      },
      signal,
    );
    await keep({ ...state, round });
    // Cancelled while it began: nobody heard of a round then.
    if (signal.aborted) cancelled();
    return round;
  };
  /** A cancelled training is forgotten; one that failed, or took too long, keeps its steps, and begins another round where it is tried again. */
  const leave = async (): Promise<void> => {
    if (state.round !== null) await rounds.forget(state.round);
    const isOver = signal.aborted && toQflError(signal.reason).code !== 'timeout';
    if (isOver) await store.write([{ type: 'del', key }]);
    else await keep({ ...state, round: null });
  };
  signal.addEventListener('abort', cancelled, { once: true });
  try {
    while (state.steps.length < request.rounds) {
      signal.throwIfAborted();
      progress(state.steps.length, request.rounds);
      // A crash may have come between a round and the note of it.
      const id = state.round ?? rounds.underWay(task) ?? (await begin());
      const { sum, survivors } = await rounds.sum(id);
      const found = readSum(decode(sum, grid, turnSeed(id), lengthOf(settings)), settings, clip);
      const count = Math.max(1, found.patients);
      const weights = state.weights.map(
        (weight, at) => weight - (learningRate * found.gradient[at]!) / count,
      );
      const step = {
        round: id,
        patients: found.patients,
        loss: found.loss,
        accuracy: found.accuracy,
        survivors: survivors.length,
      };
      await keep({ ...state, weights, steps: [...state.steps, step], round: null });
      await rounds.forget(id);
    }
  } catch (error) {
    if (!isStopping()) await leave();
    throw error;
  } finally {
    signal.removeEventListener('abort', cancelled);
  }
  progress(request.rounds, request.rounds);
  await store.write([{ type: 'del', key }]);
  return { weights: state.weights, steps: state.steps, epsilon, delta, unit: 'patient' };
};
