/** `qfl model …` as an operator types it, against a coordinator and an MLflow server. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { registerModel } from '../../shared/cli/model.ts';
import { checkDigest, recordOf } from '../../shared/models/record.ts';
import { SignedModel } from '../../shared/wire/model.ts';
import { startTestCoordinator, type TestCoordinator } from '../fixtures/coordinator.ts';
import { type FakeMlflow, startFakeMlflow } from '../fixtures/mlflow.ts';
import { newVersion } from '../unit/models/fixture.ts';

let coordinator: TestCoordinator;
let mlflow: FakeMlflow;
let folder = '';
let key = '';

beforeAll(async () => {
  coordinator = await startTestCoordinator();
  mlflow = await startFakeMlflow();
  folder = await mkdtemp(join(tmpdir(), 'qfl-model-cli-'));
  key = await coordinator.key('admin');
  for (const task of [1, 2]) await coordinator.running.models.register(newVersion(task, [task, 0, 0]));
});
afterEach(() => {
  process.exitCode = undefined;
  vi.restoreAllMocks();
});
afterAll(async () => {
  await coordinator.close();
  await mlflow.close();
  await rm(folder, { recursive: true, force: true });
});

/** What the command prints on its output. */
const qfl = async (...args: readonly string[]): Promise<string> => {
  let printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  const program = new Command('qfl');
  registerModel(program);
  await program.parseAsync(['node', 'qfl', 'model', ...args, '--url', coordinator.url, '--key', key]);
  vi.restoreAllMocks();
  return printed;
};

describe('qfl model', () => {
  test('lists, shows, promotes, rolls back', async () => {
    expect(await qfl('list')).toMatch(/diabetes\s+2\s+2\s+–\s+–/);
    expect(await qfl('promote', 'diabetes', '1')).toContain('diabetes 1 is at the stage production.');
    expect(await qfl('promote', 'diabetes', 'latest')).toContain('diabetes 2');
    expect(await qfl('rollback', 'diabetes')).toContain('diabetes 1 is in production again.');
    expect(await qfl('list', 'diabetes')).toMatch(/^2\s+archived\s+logistic\s+ε 0\.3/m);
    expect(await qfl('show', 'diabetes', 'production')).toContain(
      'epsilon 0.3, delta 0.000001 for each patient',
    );
    expect(JSON.parse(await qfl('show', 'diabetes', '--json'))).toMatchObject({ record: { version: 2 } });
  });

  test('pulls and exports what the record says', async () => {
    const out = join(folder, 'x.safetensors');
    expect(await qfl('pull', 'diabetes', '2', '--out', out)).toContain('version 2');
    await qfl('export', 'diabetes', '2', '--out', join(folder, 'all'));
    const signed = SignedModel.parse(JSON.parse(await readFile(join(folder, 'all', 'record.json'), 'utf8')));
    for (const file of [out, join(folder, 'all', 'model.safetensors')])
      checkDigest(recordOf(signed), await readFile(file));
    expect(await readFile(join(folder, 'all', 'README.md'), 'utf8')).toMatch(/^# diabetes 2\n/);
  });

  test('exports to MLflow, and says so when it did before', async () => {
    const args = ['export-mlflow', 'diabetes', '2', '--mlflow-url', mlflow.url];
    expect(await qfl(...args)).toContain('diabetes is exported: experiment test, run');
    expect(await qfl(...args)).toContain('was exported before');
    expect(mlflow.models.get('diabetes')?.[0]?.source).toBe(
      `${coordinator.url}/v1/registry/diabetes/versions/2/tensors`,
    );
  });

  test.each([
    [['show', 'diabetes', '9'], /there is no version 9 of diabetes/],
    [['show', 'Bad Name'], /is no model name/],
    [['promote', 'diabetes', '2', '--stage', 'best'], /is no stage/],
    [['rollback', 'diabetes'], /no earlier version/],
    [['delete', 'diabetes', 'production'], /is in production/],
  ])('%j says what is wrong and fails', async (args, why) => {
    expect(await qfl(...args)).toMatch(why);
    expect(process.exitCode).toBe(1);
  });
});
