/**
 * Learning over real processes: three hospitals import tables, train on what was measured, and use what came of it; then with a program of their own, whose
 * adapters are summed, signed and fetched by a hospital.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seeded } from '../../shared/seeded.ts';
import { PredictAnswer, PulledModel } from '../../shared/wire/pulled-model.ts';
import { TaskShown } from '../../shared/wire/task.ts';
import { TrainingResult } from '../../shared/wire/training.ts';
import { LORA_TRAINER, loraTensors } from '../fixtures/lora-trainer.ts';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { PYTHON } from '../fixtures/python.ts';
import { call, type Federation, startFederation } from './federation.ts';

const HOSPITALS = ['east', 'north', 'west'] as const;
const PATIENTS = 300;
const SCHEMA = {
  columns: [
    { role: 'patient', column: 'id' },
    { role: 'age', column: 'age' },
    { role: 'sex', column: 'sex', female: ['f'], male: ['m'] },
    { role: 'condition', column: 'ill', condition: 'illness', values: ['yes'] },
    { role: 'measurement', column: 'pressure', code: 'pressure', unit: 'mmHg' },
  ],
};
const configOf = (trainer: string): string => `
privacy:
  site_lifetime_budget: 1000
  max_budget_per_user: 1000
  asking_site_daily_budget: 1000
  department_budgets: { research: 1000 }
rounds: { site_unit: true }
training:
  local_fit: true
  external: { lora: { command: [${PYTHON ?? '/nowhere/python3'}, ${trainer}], time_limit_seconds: 60, memory_limit_mb: null } }
`;

let federation: Federation;
let trainers = '';
const home = (): string[] => ['--home', federation.coordinator.home];

/** Pressure tells the illness, and in the west everybody is a little more ill. */
const tableOf = (at: number): string => {
  const random = seeded(at + 1);
  const rows = Array.from({ length: PATIENTS }, (_, row) => {
    const pressure = 90 + 80 * random.uniform();
    const isIll = random.uniform() < 1 / (1 + Math.exp((130 - 6 * at - pressure) / 6));
    const [age, sex] = [30 + random.below(50), random.uniform() < 0.5 ? 'f' : 'm'];
    return `${HOSPITALS[at]}-${row},${age},${sex},${isIll ? 'yes' : 'no'},${pressure.toFixed(1)}`;
  });
  return ['id,age,sex,ill,pressure', ...rows, ''].join('\n');
};

beforeAll(async () => {
  // Configurations name it, and are written before the federation has a folder.
  trainers = await mkdtemp(join(tmpdir(), 'qfl-trainers-'));
  const trainer = join(trainers, 'lora.py');
  await writeFile(trainer, LORA_TRAINER);
  federation = await startFederation({
    sites: HOSPITALS.map((name) => ({ name, config: configOf(trainer) })),
  });
  const schema = join(federation.folder, 'schema.json');
  await writeFile(schema, JSON.stringify(SCHEMA));
  for (const [at, { home: folder }] of federation.sites.entries()) {
    const table = join(federation.folder, `${HOSPITALS[at]}.csv`);
    await writeFile(table, tableOf(at));
    await qfl(['agent', 'import', table, '--schema', schema, '--home', folder]);
  }
  await eventually('all hold records', async () =>
    (await federation.site('north').status()).sites?.every(({ online, records }) => online && records),
  );
});
afterAll(async () => {
  await federation.close();
  await rm(trainers, { recursive: true, force: true });
});

const trained = async (request: object): Promise<TrainingResult> => {
  const file = join(federation.folder, 'request.json');
  await writeFile(file, JSON.stringify(request));
  const { id } = await qflJson(TaskShown, ['round', 'start', '--file', file, ...home()]);
  const task = await eventually('the training ends', async () => {
    const shown = TaskShown.parse((await federation.coordinator.asOperator(`/v1/tasks/${id}`)).body);
    return shown.endedMs !== null && shown;
  });
  expect([task.state, task.failure]).toEqual(['done', null]);
  return TrainingResult.parse((await federation.coordinator.asOperator(`/v1/tasks/${id}/result`)).body);
};
const DATA = {
  target: 'illness',
  features: [{ kind: 'age' }, { kind: 'observation', code: 'pressure', unit: 'mmHg', low: 60, high: 200 }],
};
const predict = async (site: string, fitted: boolean): Promise<number> => {
  const here = federation.site(site);
  const { status, body } = await call(`${here.url}/v1/models/illness/predict`, {
    key: await here.key('doctor', 'research'),
    body: { fitted, examples: [{ features: { age: 60, 'observation=pressure': 130 } }] },
  });
  expect(status).toBe(200);
  return PredictAnswer.parse(body).predictions[0]!.probability;
};

describe('hospitals with tables', () => {
  test('train on what was measured, and measure on patients who were held out', async () => {
    const { steps, evaluation, scaling, version } = await trained({
      name: 'illness',
      data: DATA,
      rounds: 6,
      learningRate: 2,
      epsilon: 20,
    });
    expect(steps.at(-1)!.accuracy!).toBeGreaterThan(0.75);
    expect(scaling!.mean[1]).toBeGreaterThan(115);
    expect(scaling!.mean[1]).toBeLessThan(145);
    expect(evaluation!.auc!).toBeGreaterThan(0.8);
    expect(version).toMatchObject({ name: 'illness', version: 1 });
  });

  test('fetch the model once it is promoted, ask it, and may fit it to their own patients', async () => {
    const west = federation.site('west');
    const refusal = await qflError(['agent', 'model', 'pull', 'illness', '--home', west.home]);
    expect(refusal.code).toBe('not_found');
    await qfl(['model', 'promote', 'illness', '1', '--stage', 'production', ...home()]);
    const pulled = await qflJson(PulledModel, ['agent', 'model', 'pull', 'illness', '--home', west.home]);
    expect(pulled).toMatchObject({ name: 'illness', version: 1, inUse: true });
    // In the west more people are ill at the same pressure than everywhere together.
    expect(await predict('west', true)).toBeGreaterThan((await predict('west', false)) + 0.05);
  });
});

describe('hospitals with a trainer of their own', () => {
  test.runIf(PYTHON === undefined)(
    'NOT RUN: no python3 on this machine, which the trainer is written in',
    () => {},
  );

  test.runIf(PYTHON !== undefined)(
    'sum their adapters in sealed rounds, and one fetches what came of it',
    async () => {
      const tensors = loraTensors(DATA.features.length).map(([name, shape]) => ({ name, shape }));
      const { steps, unit, version } = await trained({
        name: 'adapter',
        data: DATA,
        model: { kind: 'external', trainer: 'lora', tensors },
        strategy: 'fedavg',
        rounds: 1,
        clip: 20,
        epsilon: 300,
        evaluate: null,
      });
      expect([steps.length, steps[0]!.loss, unit]).toEqual([1, null, 'site']);
      const { home: folder } = federation.site('north');
      const pulled = await qflJson(PulledModel, ['agent', 'model', 'pull', 'adapter', '1', '--home', folder]);
      expect(pulled).toMatchObject({ kind: 'external', digest: version!.digest, privacy: { unit: 'site' } });
      expect(pulled.bytes).toBeGreaterThan(4 * 8 * DATA.features.length * 8);
    },
  );
});
