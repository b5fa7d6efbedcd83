/** What is kept of a training while it goes on: its figures as JSON, its numbers as doubles beside them, in one write. */
import { z } from 'zod';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { assert } from '../../shared/errors.ts';
import { RoundId, SiteId, type TaskId } from '../../shared/ids.ts';
import { type ServerState, serverStateOf } from '../../shared/learning/server-step.ts';
import { weightBytes, weightsFrom } from '../../shared/rounds/noise.ts';
import type { Store } from '../../shared/store/port.ts';
import { Scaling } from '../../shared/wire/learning.ts';
import { Evaluation, TrainingStep } from '../../shared/wire/training.ts';

const FIGURES = 'training/';
const NUMBERS = 'training-numbers/';

const Figures = z.strictObject({
  scaling: Scaling.nullable(),
  scalingRound: RoundId.nullable(),
  steps: z.array(TrainingStep),
  evaluation: Evaluation.nullable(),
  isScored: z.boolean(),
  failed: z.int().nonnegative(),
  without: z.array(SiteId),
  /** The round under way. */
  round: RoundId.nullable(),
  /** Steps whose weights are in `averaged`. */
  averagedSteps: z.int().nonnegative(),
});
export type Figures = z.infer<typeof Figures>;

export interface Numbers {
  readonly server: ServerState;
  /** Sum of the weights after the last steps. */
  readonly averaged: Float64Array<ArrayBuffer>;
}
export interface KeptTraining {
  readonly figures: Figures;
  readonly numbers: Numbers;
}

export const beginNumbers = (weights: Float64Array<ArrayBuffer>): Numbers => ({
  server: serverStateOf(weights),
  averaged: new Float64Array(weights.length),
});

const PARTS = 4;
const bytesOf = ({ server: { weights, direction, squares }, averaged }: Numbers): Uint8Array =>
  Buffer.concat([weights, direction, squares, averaged].map(weightBytes));
const numbersFrom = (bytes: Uint8Array, size: number): Numbers => {
  const all = weightsFrom(bytes, PARTS * size);
  const [weights, direction, squares, averaged] = Array.from({ length: PARTS }, (_, part) =>
    all.slice(part * size, (part + 1) * size),
  );
  return {
    server: { weights: weights!, direction: direction!, squares: squares! },
    averaged: averaged!,
  };
};

export interface TrainingShelf {
  get(task: TaskId, size: number): Promise<KeptTraining | undefined>;
  /** @param numbers left out where they are as they were */
  put(task: TaskId, figures: Figures, numbers?: Numbers): Promise<void>;
  remove(task: TaskId): Promise<void>;
  /** Figures alone, of a training that goes on. */
  figures(task: TaskId): Promise<Figures | undefined>;
}

export const createTrainingShelf = (store: Store): TrainingShelf => {
  const figures = async (task: TaskId): Promise<Figures | undefined> => {
    const value = await store.get(FIGURES + task);
    return value === undefined ? undefined : Figures.parse(JSON.parse(fromUtf8(value)));
  };
  return {
    figures,
    async get(task, size) {
      const found = await figures(task);
      if (found === undefined) return undefined;
      const bytes = await store.get(NUMBERS + task);
      assert(bytes !== undefined, 'figures and numbers of a training are written together');
      return { figures: found, numbers: numbersFrom(bytes, size) };
    },
    put: (task, value, numbers) =>
      store.write([
        { type: 'put', key: FIGURES + task, value: utf8(JSON.stringify(value)) },
        ...(numbers === undefined
          ? []
          : [{ type: 'put' as const, key: NUMBERS + task, value: bytesOf(numbers) }]),
      ]),
    remove: (task) =>
      store.write([
        { type: 'del', key: FIGURES + task },
        { type: 'del', key: NUMBERS + task },
      ]),
  };
};
