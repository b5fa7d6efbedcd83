/**
 * Carries a training through its rounds. What there is so far, and the round under way, are kept: after a crash it goes on with the same round. A round that
 * ends because hospitals refused what one of them had made for them is followed by one without that hospital.
 */
import { QflError, toQflError } from '../../shared/errors.ts';
import type { Pseudonym, RoundId, SiteId, TaskId } from '../../shared/ids.ts';
import { publicScaling } from '../../shared/learning/moments.ts';
import { tensorsOf } from '../../shared/learning/tensors.ts';
import { decode } from '../../shared/rounds/encode.ts';
import { turnSeed, weightBytes } from '../../shared/rounds/noise.ts';
import { toleranceOf } from '../../shared/rounds/tolerance.ts';
import type { Store } from '../../shared/store/port.ts';
import type { RoundShown } from '../../shared/wire/round.ts';
import {
  isOfSites,
  type TrainingRequest,
  type TrainingResult,
  WEIGHTS_SHOWN_MAX,
} from '../../shared/wire/training.ts';
import type { Rounds } from './rounds.ts';
import {
  afterFailure,
  nextStage,
  NOTHING_YET,
  partyOf,
  planStage,
  type Stage,
  takeMoments,
  takeScores,
  takeStep,
  withSites,
} from './training-plan.ts';
import { beginNumbers, createTrainingShelf, type Figures, type Numbers } from './training-shelf.ts';

export interface TrainingOptions {
  readonly rounds: Rounds;
  readonly store: Store;
  /** Approved sites that are there and hold records. */
  readonly sitesNow: () => readonly SiteId[];
  /** The program is ending: what is under way goes on at the next start. */
  readonly isStopping: () => boolean;
  /** Keeps the model of a training that is done; called again where a crash came between. */
  readonly register?: (made: TrainedModel) => Promise<NonNullable<TrainingResult['version']>>;
}

export interface TrainingRun {
  readonly task: TaskId;
  readonly asker: Pseudonym;
  readonly signal: AbortSignal;
  /** @param figures of the last step */
  readonly progress: (done: number, total: number, figures?: Readonly<Record<string, number>>) => void;
}

export interface TrainedModel {
  readonly task: TaskId;
  readonly request: TrainingRequest;
  readonly weights: Float64Array<ArrayBuffer>;
  readonly result: TrainingResult;
}

/** Hospitals that so many others refused that an honest one was among these. */
const refusedSites = ({ losses, sites }: RoundShown): SiteId[] => {
  const { corruptTolerated } = toleranceOf(sites.length);
  const blamers = new Map<SiteId, Set<SiteId>>();
  for (const { site, blames } of losses)
    if (blames !== null) blamers.set(blames, (blamers.get(blames) ?? new Set()).add(site));
  return [...blamers].filter(([, by]) => by.size > Math.max(1, corruptTolerated)).map(([site]) => site);
};

const averageOf = ({ averagedSteps }: Figures, { averaged, server }: Numbers): Float64Array<ArrayBuffer> =>
  averagedSteps === 0 ? server.weights : averaged.map((value) => value / averagedSteps);

/** Of the last step, for whoever follows the training. */
const lastFigures = ({ steps }: Figures): Record<string, number> | undefined => {
  const last = steps.at(-1);
  if (last === undefined) return undefined;
  const { patients, loss, accuracy, survivors } = last;
  return {
    step: steps.length,
    ...(loss === null ? {} : { loss }),
    ...(accuracy === null ? {} : { accuracy }),
    patients,
    survivors,
  };
};

export const runTraining = async (
  request: TrainingRequest,
  { rounds, store, sitesNow, isStopping, register }: TrainingOptions,
  { task, asker, signal, progress }: TrainingRun,
): Promise<TrainingResult> => {
  const shelf = createTrainingShelf(store);
  const tensors = tensorsOf(request.model, request.data);
  const kept = await shelf.get(task, tensors.size);
  let figures: Figures = kept?.figures ?? {
    ...NOTHING_YET,
    steps: [],
    without: [],
    round: null,
    averagedSteps: 0,
  };
  let numbers: Numbers = kept?.numbers ?? beginNumbers(tensors.initial(request.seed));
  let isKept = kept !== undefined;
  const keep = async (next: Figures, changed?: Numbers): Promise<void> => {
    figures = next;
    numbers = changed ?? numbers;
    await shelf.put(task, figures, changed ?? (isKept ? undefined : numbers));
    isKept = true;
  };

  const cancelled = (): void => {
    if (figures.round !== null && !isStopping())
      // It may be over already: then there is nothing to end.
      void rounds.cancel(figures.round, 'the training was cancelled').catch(() => undefined);
  };
  const begin = async (whole: TrainingRequest, stage: Stage): Promise<RoundId> => {
    const { silenceMs, department } = request;
    const round = await rounds.start(
      {
        ...partyOf(whole),
        // A rule that passes over single vectors is for what is learnt: counts of all patients are sums.
        rule: stage.name === 'step' ? whole.rule : 'sum',
        words: stage.grid.words,
        work: stage.work,
        privacy: stage.privacy,
        model: stage.needsWeights ? weightBytes(stageWeights(stage)) : null,
        silenceMs,
        asker,
        department,
        task,
      },
      signal,
    );
    await keep({ ...figures, round });
    // Cancelled while it began: nobody heard of a round then.
    if (signal.aborted) cancelled();
    return round;
  };
  /** What is measured at the end is what will be used: the average, where there is one. */
  const stageWeights = ({ name }: Stage): Float64Array<ArrayBuffer> =>
    name === 'scores' ? averageOf(figures, numbers) : numbers.server.weights;

  const take = async (stage: Stage, id: RoundId, sum: Int32Array, survivors: number): Promise<void> => {
    const decoded = decode(sum, stage.grid, turnSeed(id), stage.length);
    const base = { ...figures, round: null };
    if (stage.name === 'moments')
      return keep({ ...base, scaling: takeMoments(request, decoded), scalingRound: id });
    if (stage.name === 'scores')
      return keep({
        ...base,
        isScored: true,
        evaluation: { round: id, ...takeScores(decoded, stage, survivors) },
      });
    const stepped = takeStep(request, decoded, numbers.server);
    const steps = [...figures.steps, { round: id, ...stepped.figures, survivors }];
    const isAveraged = steps.length + figures.failed > request.rounds - request.averageLast;
    const { averaged } = numbers;
    const { weights } = stepped.server;
    return keep(
      { ...base, steps, averagedSteps: figures.averagedSteps + (isAveraged ? 1 : 0) },
      {
        server: stepped.server,
        averaged: isAveraged ? averaged.map((value, at) => value + weights[at]!) : averaged,
      },
    );
  };

  /** True where the training goes on after a round without a sum. */
  const goesOnAfter = async (id: RoundId, stage: Stage): Promise<boolean> => {
    const shown = await rounds.show(id);
    const refused = refusedSites(shown);
    // Before anybody was in, nothing was computed, and the sites took their charges back.
    const next = shown.members > 0 ? afterFailure(request, figures, stage.name) : figures;
    const without = [...new Set([...figures.without, ...refused])].toSorted();
    await keep({ ...figures, ...next, steps: [...next.steps], without, round: null });
    return refused.length > 0;
  };
  const runStage = async (whole: TrainingRequest, stage: Stage): Promise<void> => {
    // A crash may have come between a round and the note of it.
    const id = figures.round ?? rounds.underWay(task) ?? (await begin(whole, stage));
    try {
      const { sum, survivors } = await rounds.sum(id);
      await take(stage, id, sum, survivors.length);
      await rounds.forget(id);
    } catch (error) {
      if (signal.aborted || isStopping() || toQflError(error).code !== 'site_unavailable') throw error;
      if (!(await goesOnAfter(id, stage))) throw error;
    }
  };
  /** A cancelled training is forgotten; one that failed, or took too long, keeps what it has, and begins another round where it is tried again. */
  const leave = async (): Promise<void> => {
    if (figures.round !== null) await rounds.forget(figures.round);
    const isOver = signal.aborted && toQflError(signal.reason).code !== 'timeout';
    if (isOver) await shelf.remove(task);
    else await keep({ ...figures, round: null });
  };

  const total = request.rounds;
  signal.addEventListener('abort', cancelled, { once: true });
  try {
    for (let name = nextStage(request, figures); name !== undefined; name = nextStage(request, figures)) {
      signal.throwIfAborted();
      progress(Math.min(total, figures.steps.length + figures.failed), total, lastFigures(figures));
      const whole = withSites(request, sitesNow(), figures.without);
      await runStage(whole, planStage(whole, figures, name));
    }
    if (figures.steps.length === 0)
      throw new QflError('site_unavailable', {
        detail: 'no round of this training gave a sum, and what they cost is used up',
        next: 'See why in "qfl round list"; then begin another training.',
      });
  } catch (error) {
    if (!isStopping()) await leave();
    throw error;
  } finally {
    signal.removeEventListener('abort', cancelled);
  }
  progress(total, total, lastFigures(figures));
  const weights = averageOf(figures, numbers);
  const result: TrainingResult = {
    weights: weights.length <= WEIGHTS_SHOWN_MAX ? [...weights] : null,
    // What the sites used: found by a round, or public.
    scaling: figures.scaling ?? publicScaling(request.data),
    scalingRound: figures.scalingRound,
    steps: figures.steps,
    evaluation: figures.evaluation,
    epsilon: request.epsilon,
    delta: request.delta,
    unit: isOfSites(request.strategy) ? 'site' : 'patient',
    failedRounds: figures.failed,
    without: figures.without,
    version: null,
  };
  const version = (await register?.({ task, request, weights, result })) ?? null;
  await shelf.remove(task);
  return { ...result, version };
};
