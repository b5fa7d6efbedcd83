/** What is left of a training when it ends in the middle, and how it goes on. The rounds are not: sums of zeros, or an error. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { RoundRequest, Rounds } from '../../../coordinator/rounds/rounds.ts';
import { runTraining } from '../../../coordinator/rounds/training.ts';
import { withSites } from '../../../coordinator/rounds/training-plan.ts';
import { QflError } from '../../../shared/errors.ts';
import { Pseudonym, RoundId, SiteId, TaskId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { TrainingRequest, type TrainingResult } from '../../../shared/wire/training.ts';

const SITES = ['east', 'north', 'west'].map((name) => SiteId.parse(name));
const TASK = TaskId.parse('0'.repeat(32));
const ROUNDS = 3;
const request = withSites(
  TrainingRequest.parse({
    data: { target: '44054006', features: [{ kind: 'sex', is: 'female' }] },
    evaluate: null,
    rounds: ROUNDS,
    epsilon: 20,
  }),
  SITES,
);
const noted = async (store: Store): Promise<number> => {
  let found = 0;
  for await (const _ of store.keys({ prefix: 'training/' })) found += 1;
  return found;
};

let store: Store;
let started: RoundRequest[];
let cancelled: RoundId[];
let forgotten: RoundId[];
beforeEach(() => {
  store = createMemoryStore();
  [started, cancelled, forgotten] = [[], [], []];
});

/** @param sumOf what the sum of each round does before it is there */
const train = (
  sumOf: (round: number) => Promise<unknown>,
  options: { signal?: AbortSignal; isStopping?: boolean; onStart?: () => void; members?: number } = {},
): Promise<TrainingResult> => {
  const rounds = {
    start(asked: RoundRequest) {
      started.push(asked);
      options.onStart?.();
      return Promise.resolve(RoundId.parse(String(started.length).padStart(32, '0')));
    },
    async sum() {
      const { length } = started;
      await sumOf(length);
      if (cancelled.length > 0) throw new QflError('site_unavailable', { detail: 'cancelled' });
      return { sum: new Int32Array(started[length - 1]!.words), survivors: SITES };
    },
    show: () => Promise.resolve({ losses: [], sites: SITES, members: options.members ?? SITES.length }),
    underWay: () => undefined,
    forget: (id: RoundId) => Promise.resolve(void forgotten.push(id)),
    cancel: (id: RoundId) => Promise.resolve(void cancelled.push(id)),
  } as unknown as Rounds;
  return runTraining(
    request,
    { rounds, store, sitesNow: () => SITES, isStopping: () => options.isStopping ?? false },
    {
      task: TASK,
      asker: Pseudonym.parse('a'.repeat(32)),
      signal: options.signal ?? new AbortController().signal,
      progress: () => undefined,
    },
  );
};
const fine = (): Promise<void> => Promise.resolve();
const failing = (at: number) => (round: number) =>
  round === at ? Promise.reject(new QflError('site_unavailable', { detail: 'too few' })) : fine();

describe('a training', () => {
  it('that ends leaves nothing but its result', async () => {
    expect((await train(fine)).steps).toHaveLength(ROUNDS);
    expect([await noted(store), forgotten.length]).toEqual([0, ROUNDS]);
  });

  it('of which a round failed begins another when it is tried again, and keeps the steps it had', async () => {
    await expect(train(failing(2))).rejects.toThrow(/too few/);
    expect(await noted(store)).toBe(1);
    const { steps, failedRounds } = await train(fine);
    // What the failed round cost is gone: the training has one step less, and stays within its budget.
    expect(steps.map(({ round }) => Number(round))).toEqual([1, 3]);
    expect([started.length, failedRounds, await noted(store)]).toEqual([3, 1, 0]);
  });

  it('of which a round failed before anybody was charged for good has all its steps', async () => {
    await expect(train(failing(2), { members: 0 })).rejects.toThrow(/too few/);
    const { steps } = await train(fine);
    expect(steps.map(({ round }) => Number(round))).toEqual([1, 3, 4]);
  });

  it('that is cancelled ends its round, and is forgotten', async () => {
    const abort = new AbortController();
    const cancel = (round: number): Promise<void> => {
      if (round === 2) abort.abort(new QflError('cancelled'));
      return fine();
    };
    await expect(train(cancel, { signal: abort.signal })).rejects.toThrow(/cancelled/);
    expect(cancelled).toEqual([RoundId.parse('2'.padStart(32, '0'))]);
    expect(await noted(store)).toBe(0);
  });

  it('that is cancelled while a round begins ends that round', async () => {
    const abort = new AbortController();
    const onStart = (): void => abort.abort(new QflError('cancelled'));
    await expect(train(fine, { signal: abort.signal, onStart })).rejects.toThrow(/cancelled/);
    expect(cancelled).toHaveLength(1);
  });

  it('whose program stops goes on with the same round', async () => {
    const abort = new AbortController();
    const stop = (): Promise<void> => {
      abort.abort(new QflError('cancelled'));
      throw new QflError('cancelled');
    };
    await expect(train(stop, { signal: abort.signal, isStopping: true })).rejects.toThrow();
    expect([cancelled, forgotten, await noted(store)]).toEqual([[], [], 1]);
    expect((await train(fine)).steps).toHaveLength(ROUNDS);
    expect(started).toHaveLength(ROUNDS);
  });
});
