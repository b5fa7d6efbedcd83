/** From hospitals' records through sealed rounds to a signed version, and from there to what it says of a patient. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { exampleOf } from '../../../agent/inference/examples.ts';
import { createPredictor } from '../../../agent/inference/predictor.ts';
import { createLearners } from '../../../agent/rounds/learning.ts';
import { workersOf } from '../../../agent/rounds/work.ts';
import type { SitePatient } from '../../../agent/training/examples.ts';
import { type ExternalTrainer, openExternalTrainers } from '../../../agent/training/external.ts';
import { type ModelRegistry, openModelRegistry } from '../../../coordinator/models/registry.ts';
import { registerTrained } from '../../../coordinator/models/trained.ts';
import { withSites } from '../../../coordinator/rounds/training-plan.ts';
import { runTraining } from '../../../coordinator/rounds/training.ts';
import { Pseudonym, TaskId } from '../../../shared/ids.ts';
import { layoutOf } from '../../../shared/learning/layout.ts';
import { modelOf } from '../../../shared/learning/models.ts';
import { silentLogger } from '../../../shared/log.ts';
import { seeded } from '../../../shared/seeded.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { readFlat } from '../../../shared/tensor/safetensors.ts';
import { type ModelName, ModelName as Name, type ModelSummary } from '../../../shared/wire/model.ts';
import { TrainingRequest } from '../../../shared/wire/training.ts';
import { LORA_TRAINER, loraTensors } from '../../fixtures/lora-trainer.ts';
import { PYTHON } from '../../fixtures/python.ts';
import { type LocalFederation, startLocalFederation } from '../rounds/federation.ts';
import { HeldClock } from '../tasks/fixture.ts';
import { COORDINATOR } from './fixture.ts';

const SITES = 3;
const PATIENTS = 120;
const DATA = {
  target: 'outcome',
  features: [
    { kind: 'observation', code: 'pressure', low: 0, high: 200 },
    { kind: 'sex', is: 'female' },
  ],
};
/** Pressure tells the outcome, sex does not. */
const patientsOf = (at: number): SitePatient[] => {
  const random = seeded(at + 1);
  return Array.from({ length: PATIENTS }, () => {
    const pressure = 80 + 90 * random.uniform();
    const inputs = Float64Array.of(pressure, random.uniform() < 0.5 ? 1 : 0);
    const isIll = random.uniform() < 1 / (1 + Math.exp(-(pressure - 125) / 6));
    return { raw: { inputs, series: undefined, target: isIll ? 1 : 0 }, place: random.uniform() };
  });
};

let folder = '';
let federation: LocalFederation;
let registry: ModelRegistry;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-trained-'));
  registry = await openModelRegistry({
    home: folder,
    federation: 'test',
    store: createMemoryStore(),
    identity: () => COORDINATOR,
    audit: { record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: 'entry' }) },
    clock: new HeldClock(),
  });
});
afterEach(async () => {
  await federation.close();
  await rm(folder, { recursive: true, force: true });
});

const homeOf = (at: number): string => join(folder, `site-${at}`);
/** Hospitals whose own trainer, where there is one, is this Python program. */
const start = async (script?: string): Promise<void> => {
  const file = join(folder, 'trainer.py');
  if (script !== undefined) await writeFile(file, script);
  const own: ExternalTrainer = {
    command: [PYTHON ?? '', file],
    timeLimitMs: 60_000,
    memoryLimitBytes: null,
    dtype: 'F64',
  };
  const trainers = await Promise.all(
    Array.from({ length: SITES }, (_, at) =>
      openExternalTrainers({
        home: homeOf(at),
        trainers: new Map(script === undefined ? [] : [['lora', own]]),
        logger: silentLogger,
      }),
    ),
  );
  federation = await startLocalFederation(SITES, {
    allowsSiteUnit: true,
    workersAt(at) {
      const patients = patientsOf(at);
      return workersOf(
        ...createLearners({
          examples: { read: () => Promise.resolve(patients) },
          random: (size) => randomBytes(size),
          blocks: () => undefined,
          external: trainers[at]!,
        }),
      );
    },
  });
};

const train = async (request: object, store = createMemoryStore()) => {
  const sites = federation.hospitals.map(({ site }) => site);
  const { rounds } = federation;
  return runTraining(
    withSites(TrainingRequest.parse({ data: DATA, silenceMs: 10_000, ...request }), sites),
    {
      rounds,
      store,
      sitesNow: () => sites,
      isStopping: () => false,
      register: (made) => registerTrained(registry, rounds, made),
    },
    {
      task: TaskId.parse('0'.repeat(32)),
      asker: Pseudonym.parse('a'.repeat(32)),
      signal: new AbortController().signal,
      progress: () => undefined,
    },
  );
};
const fileOf = async (summary: ModelSummary): Promise<Uint8Array> =>
  registry.piece(summary, 0, summary.bytes);

describe('a training', () => {
  test('leaves a version with its rounds, its figures and its scaling, which tells as it was trained', async () => {
    await start();
    const { steps, evaluation, scaling, scalingRound } = await train({
      epsilon: 20,
      rounds: 4,
      learningRate: 2,
    });
    const name: ModelName = Name.parse('logistic-outcome');
    const { record } = await registry.show(name, 'latest');
    const { rounds, sites, privacy } = record.lineage;
    expect(rounds.map(({ round }) => round)).toEqual([
      scalingRound,
      ...steps.map(({ round }) => round),
      evaluation?.round,
    ]);
    for (const { planHash, sumHash, survivors, lost } of rounds) {
      expect(planHash).toMatch(/^[0-9a-f]{64}$/);
      expect(sumHash).toMatch(/^[0-9a-f]{64}$/);
      expect({ survivors, lost }).toEqual({ survivors: SITES, lost: [] });
    }
    expect(new Set(rounds.map(({ planHash }) => planHash)).size).toBe(rounds.length);
    expect(sites).toHaveLength(SITES);
    expect(privacy).toEqual({ unit: 'patient', epsilon: 20, delta: 1e-6 });
    expect(record.lineage.scaling).toEqual(scaling);
    expect(record.metrics.map(({ values }) => values['accuracy'])).toEqual([
      ...steps.map(({ accuracy }) => accuracy),
      undefined,
    ]);
    expect(record.metrics.at(-1)?.values['held_out_auc']).toBe(evaluation?.auc);
    const file = await fileOf(registry.summary(name, 'latest'));
    const predict = createPredictor({ record, file }, modelOf);
    const told = (pressure: number): number =>
      predict(exampleOf(record.lineage.data!, scaling, { features: { 'observation=pressure': pressure } }))
        .probability;
    expect(told(160)).toBeGreaterThan(told(125));
    expect(told(125)).toBeGreaterThan(told(90));
  });

  test.runIf(PYTHON !== undefined)(
    'of LoRA adapters in Python at each hospital goes end to end through sealed rounds',
    async () => {
      await start(LORA_TRAINER);
      const shapes = loraTensors(DATA.features.length);
      const model = {
        kind: 'external',
        trainer: 'lora',
        tensors: shapes.map(([name, shape]) => ({ name, shape })),
      };
      await train({
        name: 'adapter',
        model,
        strategy: 'fedavg',
        epsilon: 1e6,
        rounds: 3,
        clip: 50,
        evaluate: null,
      });
      const summary = registry.summary(Name.parse('adapter'), 'latest');
      // One of means and spreads, then the steps.
      expect(summary).toMatchObject({ kind: 'external', rounds: 4, privacy: { unit: 'site' } });
      const { record } = await registry.show(summary.name, 'latest');
      const { tensors } = layoutOf(shapes);
      const weights = readFlat(tensors, await fileOf(summary));
      const { scaling } = record.lineage;
      // What the adapters say, worked out here once more: the sum over layers and outputs of B·A·x.
      const score = ([pressure, sex]: readonly [number, number]): number => {
        const x = [(pressure - scaling!.mean[0]!) / scaling!.sd[0]!, sex];
        let sum = 0;
        for (let layer = 0; layer < 2; layer += 1) {
          const a = tensors[2 * layer]!.offset;
          const b = tensors[2 * layer + 1]!.offset;
          for (let rank = 0; rank < 8; rank += 1) {
            const hidden = weights[a + 2 * rank]! * x[0]! + weights[a + 2 * rank + 1]! * x[1]!;
            sum += hidden * (weights[b + rank]! + weights[b + 8 + rank]!);
          }
        }
        return sum;
      };
      const everybody = Array.from({ length: SITES }, (_, at) => patientsOf(at)).flat();
      const right = everybody.filter(
        ({ raw }) => score([raw.inputs[0]!, raw.inputs[1]!]) > 0 === (raw.target === 1),
      );
      expect(right.length / everybody.length).toBeGreaterThan(0.8);
      for (let at = 0; at < SITES; at += 1) expect(await readdir(join(homeOf(at), 'training'))).toEqual([]);
    },
  );

  test.runIf(PYTHON === undefined)('NOT RUN, there is no python3 on this machine: LoRA adapters', () => {
    console.warn('LoRA adapters were not trained: there is no python3 on this machine');
  });
});
