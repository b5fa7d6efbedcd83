/** The settings of the task runner, as operators write them. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../../shared/config/load.ts';

const load = async (text: string, env: Record<string, string> = {}) => {
  const file = join(mkdtempSync(join(tmpdir(), 'qfl-config-')), 'c.yaml');
  writeFileSync(file, text);
  return loadConfig('coordinator', { file, env });
};
const workers = async (text: string, env = {}) => (await load(text, env)).config.workers;

describe('the settings of the task runner', () => {
  test('are those of the field documents when nothing is set', async () => {
    const { config, notices } = await load('{}');
    expect(config.tasks).toEqual({ parallelMax: 8, timeoutMs: 3_600_000 });
    expect(config.workers).toEqual({ sizeMin: 2, sizeMax: 16, upAt: 0.8, downAt: 0.3 });
    expect(config.cache).toEqual({ entriesMax: 10_000, lifeMs: 3_600_000 });
    expect(notices).toEqual([]);
  });

  test('follow the environment, and need no notice at a coordinator', async () => {
    const { config, notices } = await load('scheduler: {default_task_timeout: 60}', {
      QUANTUM_MAX_PARALLEL_TASKS: '4',
      QUANTUM_CACHE_SIZE: '5',
      QUANTUM_CACHE_TTL: '7',
    });
    expect(config.tasks).toEqual({ parallelMax: 4, timeoutMs: 60_000 });
    expect(config.cache).toEqual({ entriesMax: 5, lifeMs: 7_000 });
    expect(notices).toEqual([]);
  });

  test('at an agent they do nothing, which is said', async () => {
    const { notices } = await loadConfig('agent', { env: { QUANTUM_MAX_PARALLEL_TASKS: '4', WORKERS: '3' } });
    expect(notices).toMatchObject([
      { kind: 'replaced', path: expect.stringMatching(/workers|scheduler/) },
      { kind: 'replaced', path: expect.stringMatching(/workers|scheduler/) },
    ]);
  });

  test.each([
    [
      'crossed thresholds are read the other way round',
      { scale_up_threshold: 0.3, scale_down_threshold: 0.8 },
      { upAt: 0.8, downAt: 0.3 },
    ],
    [
      'equal ones are kept apart',
      { scale_up_threshold: 0.6, scale_down_threshold: 0.6 },
      { upAt: 0.6, downAt: 0.3 },
    ],
    ['switched off, the size is fixed', { enabled: false, min_capacity: 3 }, { sizeMin: 3, sizeMax: 3 }],
  ])('%s', async (_what, scaling, expected) => {
    expect(await workers(`performance: {auto_scaling: ${JSON.stringify(scaling)}}`)).toMatchObject(expected);
  });

  test('WORKERS bounds the pool', async () => {
    expect(await workers('{}', { WORKERS: '1' })).toMatchObject({ sizeMin: 1, sizeMax: 1 });
    expect(await workers('{}', { WORKERS: '6' })).toMatchObject({ sizeMin: 2, sizeMax: 6 });
  });
});
