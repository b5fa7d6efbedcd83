/** Trainers of a site's own: what they are given, what is taken of them, and that nothing of them is left. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  type ExternalTask,
  type ExternalTrainer,
  type ExternalTrainers,
  openExternalTrainers,
} from '../../../agent/training/external.ts';
import { TAIL_CHARS } from '../../../agent/training/output-tail.ts';
import { QflError, toQflError } from '../../../shared/errors.ts';
import type { Example, TensorPart } from '../../../shared/learning/model.ts';
import { layoutOf } from '../../../shared/learning/layout.ts';
import { seeded } from '../../../shared/seeded.ts';
import { writeFlat, writeSafetensors } from '../../../shared/tensor/safetensors.ts';
import { LORA_TRAINER, loraTensors } from '../../fixtures/lora-trainer.ts';
import { PYTHON } from '../../fixtures/python.ts';

const PARTS: readonly TensorPart[] = [
  { name: 'weight', shape: [2], offset: 0 },
  { name: 'bias', shape: [1], offset: 2 },
];
const MEBIBYTE = 1024 * 1024;
let home = '';
let logged: unknown[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'qfl-trainer-'));
  logged = [];
});
afterEach(() => rm(home, { recursive: true, force: true }));

const random = seeded(5);
const uniform = (): number => random.below(2 ** 30) / 2 ** 30;
const example = (width: number): Example => {
  const inputs = Float64Array.from({ length: width }, () => uniform() * 4 - 2);
  return { inputs, series: undefined, target: inputs[0]! > inputs[1]! ? 1 : 0 };
};
const EXAMPLES = Array.from({ length: 200 }, () => example(2));

const opened = (change: Partial<ExternalTrainer>): Promise<ExternalTrainers> =>
  openExternalTrainers({
    home,
    trainers: new Map([
      [
        'own',
        { command: ['/bin/false'], timeLimitMs: 60_000, memoryLimitBytes: null, dtype: 'F64', ...change },
      ],
    ]),
    logger: { warn: (...said: unknown[]) => void logged.push(...said) },
  });
const task = (change: Partial<ExternalTask> = {}): ExternalTask => ({
  parts: PARTS,
  weights: Float64Array.of(0.5, -0.5, 0.25),
  examples: EXAMPLES,
  shape: { features: 2, channels: 0 },
  signal: new AbortController().signal,
  ...change,
});
/** A shell script as the trainer. */
const shell = (script: string, change: Partial<ExternalTrainer> = {}): Promise<ExternalTrainers> =>
  opened({ command: ['/bin/sh', '-c', script], ...change });
const failure = async (trainers: ExternalTrainers, change: Partial<ExternalTask> = {}): Promise<QflError> =>
  trainers.train('own', task(change)).then(
    () => expect.unreachable('the trainer was taken'),
    (error: unknown) => toQflError(error),
  );
/** Nothing of a training is left on the disk. */
const left = (): string[] => readdirSync(join(home, 'training'));
/** Is it there and running? One that is over and that nobody has asked about yet (state Z) is not. */
const isAlive = (pid: number): boolean => {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) Z /.test(readFileSync(file, 'utf8'));
};
const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
const writes = (file: Uint8Array): string => `printf '${hex(file)}' > update.safetensors`;

describe('what a trainer changed', () => {
  test('is its weights less those it was given, in float64 as they were written', async () => {
    const update = writeFlat(PARTS, Float64Array.of(1, 2, 3), 'F32');
    expect(await (await shell(writes(update))).train('own', task())).toEqual(Float64Array.of(0.5, 2.5, 2.75));
    expect(left()).toEqual([]);
  });

  test('is nothing where it changes nothing, also when the weights were rounded for it', async () => {
    const copies = await shell('cp global.safetensors update.safetensors', { dtype: 'F32' });
    const weights = Float64Array.of(0.1, 1 / 3, 1e-9);
    expect(await copies.train('own', task({ weights }))).toEqual(new Float64Array(3));
  });
});

describe('an update is refused', () => {
  test.each([
    ['that is not there', 'true', 'invalid_request', /ended without/],
    ['that is a link', 'ln -s /etc/passwd update.safetensors', 'invalid_request', /ended without/],
    ['that is a pipe', 'mkfifo update.safetensors', 'invalid_request', /ended without/],
    ['that is a folder', 'mkdir update.safetensors', 'invalid_request', /ended without/],
    ['that is no safetensors', 'echo hello > update.safetensors', 'invalid_request', /safetensors/],
    [
      'with another shape',
      writes(writeFlat([{ name: 'weight', shape: [1, 2], offset: 0 }, PARTS[1]!], new Float64Array(3))),
      'invalid_request',
      /shape/,
    ],
    [
      'with a tensor less',
      writes(writeFlat(PARTS.slice(0, 1), new Float64Array(2))),
      'invalid_request',
      /missing/,
    ],
    [
      'with a number that is not finite',
      writes(writeFlat(PARTS, Float64Array.of(0, Infinity, 0))),
      'invalid_request',
      /finite/,
    ],
    [
      'with a tensor more',
      writes(writeSafetensors([{ name: 'x', dtype: 'F64', shape: [], values: Float64Array.of(1) }])),
      'invalid_request',
      /missing/,
    ],
    [
      'of a trainer that failed',
      'cp global.safetensors update.safetensors; exit 3',
      'trainer_failed',
      /code 3/,
    ],
    ['of one that was killed', 'kill -9 $$', 'trainer_failed', /SIGKILL/],
  ])('%s', async (_name, script, code, why) => {
    const error = await failure(await shell(script));
    expect({ code: error.code, detail: error.detail }).toEqual({ code, detail: expect.stringMatching(why) });
    expect(left()).toEqual([]);
  });

  test('that is larger than its model could be', async () => {
    // Two mebibytes of header and 24 bytes are allowed; so much in one file is stopped while it is written.
    const error = await failure(await shell('head -c 3000000 /dev/zero > update.safetensors || exit 9'));
    expect(error.detail).toMatch(/code 9/);
    const less = await shell('head -c 2000000 /dev/zero > update.safetensors || exit 9');
    expect((await failure(less)).detail).toMatch(/not a safetensors file/);
    expect(left()).toEqual([]);
  });

  test('of a trainer that is not configured, and of a program that is not there', async () => {
    const trainers = await opened({ command: ['/no/such/program'] });
    await expect(trainers.train('other', task())).rejects.toMatchObject({ code: 'not_found' });
    expect((await failure(trainers)).code).toBe('trainer_failed');
  });
});

describe('its time', () => {
  test('is limited: it and what it started end, also those that will not', async () => {
    const stubborn = await shell(
      'trap "" TERM; (trap "" TERM; echo $$ > /dev/null; sleep 60) & echo $! > "$HOME/../../child"; sleep 60; sleep 60',
      { timeLimitMs: 300 },
    );
    const began = performance.now();
    expect((await failure(stubborn)).code).toBe('timeout');
    // The limit, the grace of two seconds, and what the machine is late.
    expect(performance.now() - began).toBeLessThan(10_000);
    const child = Number(await readFile(join(home, 'child'), 'utf8'));
    await delay(100);
    expect(isAlive(child)).toBe(false);
    expect(left()).toEqual([]);
  });

  test('ends when the round does', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new QflError('cancelled')), 200);
    expect((await failure(await shell('sleep 60'), { signal: stop.signal })).code).toBe('cancelled');
    expect((await failure(await shell('true'), { signal: AbortSignal.abort() })).code).toBe('cancelled');
    expect(left()).toEqual([]);
  });

  test('is limited for the processor too, for a program that nobody is left to end', async () => {
    await (
      await shell('ulimit -t > "$HOME/../../cpu"; cp global.safetensors update.safetensors')
    ).train('own', task());
    expect(Number(await readFile(join(home, 'cpu'), 'utf8'))).toBe(60 * availableParallelism());
  });

  test('is not prolonged by what it leaves running', async () => {
    const leaves = await shell(
      'sleep 60 & echo $! > "$HOME/../../child"; cp global.safetensors update.safetensors',
    );
    const began = performance.now();
    await leaves.train('own', task());
    expect(performance.now() - began).toBeLessThan(10_000);
    await delay(100);
    expect(isAlive(Number(await readFile(join(home, 'child'), 'utf8')))).toBe(false);
  });
});

describe('what it sees', () => {
  test('of the environment is a path, its folder and a language', async () => {
    process.env['QFL_SECRET_OF_TEST'] = 'hidden';
    try {
      await (
        await shell('env | sort > "$HOME/../../env"; cp global.safetensors update.safetensors')
      ).train('own', task());
    } finally {
      delete process.env['QFL_SECRET_OF_TEST'];
    }
    const names = (await readFile(join(home, 'env'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.split('=')[0]);
    // PWD and the like come of the shell itself.
    expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name ?? ''))).toEqual([
      'HOME',
      'LANG',
      'PATH',
      'TMPDIR',
    ]);
  });

  test('is readable by the agent’s user only, and what a crash left is gone before the next training', async () => {
    await mkdir(join(home, 'training', 'run-old'), { recursive: true });
    await writeFile(join(home, 'training', 'run-old', 'examples.safetensors'), 'patients');
    const modes = await shell('stat -c "%a" . .. examples.safetensors > ../../modes; exit 1');
    expect(left()).toEqual([]);
    await failure(modes);
    expect((await readFile(join(home, 'modes'), 'utf8')).trim().split('\n')).toEqual(['700', '700', '600']);
  });

  test('is told in the log by its end only, without digits, and only when it fails', async () => {
    await failure(await shell('yes "patient 4711 has 8.3" | head -n 100000; echo last line 99 >&2; exit 1'));
    const said = JSON.stringify(logged);
    expect(said).toContain('patient #### has #.#');
    expect(said).not.toContain('4711');
    expect(said.length).toBeLessThan(TAIL_CHARS * 2);
    logged = [];
    await (await shell('echo 1; cp global.safetensors update.safetensors')).train('own', task());
    expect(logged).toEqual([]);
  });

  test('is all there: a series row by row beside inputs and targets', async () => {
    const keeps = await shell(
      'cp examples.safetensors settings.json ../../; cp global.safetensors update.safetensors',
    );
    const series = {
      steps: 2,
      channels: 1,
      hours: Float64Array.of(0, 1.5),
      values: Float64Array.of(0.25, NaN),
    };
    await keeps.train(
      'own',
      task({
        examples: [
          { inputs: Float64Array.of(1, 2), series, target: 1 },
          { inputs: Float64Array.of(3, 4), series: { ...series, steps: 1 }, target: 0 },
        ],
        shape: { features: 2, channels: 1 },
        settings: { passes: 3, note: 'x', last: true },
      }),
    );
    expect(JSON.parse(await readFile(join(home, 'settings.json'), 'utf8'))).toEqual({
      passes: 3,
      note: 'x',
      last: true,
    });
    const { readSafetensors, tensorOf } = await import('../../../shared/tensor/safetensors.ts');
    const read = readSafetensors(await readFile(join(home, 'examples.safetensors'))).tensors.map(tensorOf);
    expect(Object.fromEntries(read.map(({ name, shape, values }) => [name, [shape, [...values]]]))).toEqual({
      inputs: [
        [2, 2],
        [1, 2, 3, 4],
      ],
      target: [[2], [1, 0]],
      'series.steps': [[2], [2, 1]],
      'series.hours': [[3], [0, 1.5, 0]],
      'series.values': [
        [3, 1],
        [0.25, NaN, 0.25],
      ],
    });
  });
});

describe.runIf(PYTHON !== undefined)('in Python', () => {
  const python = async (script: string, change: Partial<ExternalTrainer> = {}): Promise<ExternalTrainers> => {
    const file = join(home, 'trainer.py');
    await writeFile(file, script);
    await chmod(file, 0o600);
    return opened({ command: [PYTHON ?? '', file], ...change });
  };
  const losses = (weights: Float64Array): number =>
    EXAMPLES.reduce((sum, { inputs, target }) => {
      const score = weights[2]! + weights[0]! * inputs[0]! + weights[1]! * inputs[1]!;
      return sum + Math.log1p(Math.exp(target === 1 ? -score : score));
    }, 0) / EXAMPLES.length;

  test('the example of deploy/training.md learns', async () => {
    const page = await readFile(new URL('../../../deploy/training.md', import.meta.url), 'utf8');
    const script = /```python\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
    const trainers = await python(script, { dtype: 'F32', memoryLimitBytes: 512 * MEBIBYTE });
    const weights = new Float64Array(3);
    const delta = await trainers.train('own', task({ weights, settings: { passes: 50, learningRate: 1 } }));
    // Zero weights have a loss of ln 2; whoever learned that the first input has to be larger than the second is far below.
    expect(losses(weights)).toBeCloseTo(Math.LN2, 12);
    expect(losses(delta)).toBeLessThan(0.3);
    expect(delta[0]!).toBeGreaterThan(0.5);
    expect(delta[1]!).toBeLessThan(-0.5);
  });

  test('one that takes more memory than it may fails, and the same with room for it does not', async () => {
    const takes = `
import shutil
block = bytearray(300 * 1024 * 1024)
block[::4096] = b"x" * len(block[::4096])
shutil.copy("global.safetensors", "update.safetensors")
`;
    const within = await python(takes, { memoryLimitBytes: 800 * MEBIBYTE });
    expect(await within.train('own', task())).toEqual(new Float64Array(3));
    const error = await failure(await python(takes, { memoryLimitBytes: 200 * MEBIBYTE }));
    expect(error.detail).toMatch(/ended with/);
    expect(JSON.stringify(logged)).toContain('MemoryError');
    expect(left()).toEqual([]);
  });

  test('LoRA adapters of several layers go through the same door', async () => {
    const width = 6;
    const { size, tensors: parts } = layoutOf(loraTensors(width));
    // As adapters begin: A drawn, B zero, so that the model is the frozen one.
    const weights = new Float64Array(size);
    for (const part of parts)
      if (part.name.endsWith('A'))
        for (let at = 0; at < 8 * width; at += 1) weights[part.offset + at] = uniform() - 0.5;
    const examples = Array.from({ length: 60 }, () => example(width));
    const shape = { features: width, channels: 0 };
    const trainers = await python(LORA_TRAINER, { dtype: 'F32' });
    const moved = (delta: Float64Array, end: string): number =>
      parts
        .filter(({ name }) => name.endsWith(end))
        .reduce(
          (sum, part) =>
            sum + delta.subarray(part.offset, part.offset + 8 * width).reduce((s, d) => s + d * d, 0),
          0,
        );
    const once = await trainers.train(
      'own',
      task({ parts, weights, examples, shape, settings: { passes: 1 } }),
    );
    // While B is zero, nothing reaches A: its gradient is exactly zero in the first step, and B's is not.
    expect(moved(once, 'lora_A')).toBe(0);
    expect(moved(once, 'lora_B')).toBeGreaterThan(1e-6);
    const more = await trainers.train(
      'own',
      task({ parts, weights, examples, shape, settings: { passes: 5 } }),
    );
    expect(moved(more, 'lora_A')).toBeGreaterThan(0);
  });
});

test.runIf(PYTHON === undefined)('NOT RUN, there is no python3 on this machine: trainers in Python', () => {
  console.warn('trainers in Python were not run: there is no python3 on this machine');
});
