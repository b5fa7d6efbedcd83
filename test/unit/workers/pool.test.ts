/** The worker pool with real threads: their number follows the load, and a job that dies takes nothing else with it. */
import { existsSync, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  createWorkerPool,
  type PoolOptions,
  spawnThread,
  type WorkerLike,
  workerProgram,
  type WorkerPool,
} from '../../../coordinator/workers/pool.ts';
import { QflError } from '../../../shared/errors.ts';
import { HeldClock } from '../tasks/fixture.ts';

if (!existsSync(workerProgram())) throw new Error('the worker program is not built: run npm run build first');

/** Says in which thread it ran; sleeps, dies, or hangs, as it is told. */
const PROGRAM = `
const { parentPort, threadId } = require('node:worker_threads');
parentPort.on('message', ({ job, name, input }) => {
  if (name === 'die') process.exit(3);
  if (name === 'throw') throw new Error('a fault nobody expected');
  if (name === 'hang') { parentPort.postMessage({ type: 'progress', job, progress: { done: 1, total: 2, unit: 'steps' } }); for (;;); }
  setTimeout(() => parentPort.postMessage({ type: 'done', job, output: { threadId, input } }), input?.ms ?? 0);
});`;
const Output = z.object({ threadId: z.int() });
const pools: WorkerPool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

const open = (rest: Partial<PoolOptions> = {}) => {
  const clock = new HeldClock();
  const alive = new Set<WorkerLike>();
  const sizes: number[] = [];
  const pool = createWorkerPool({
    bounds: { sizeMin: 2, sizeMax: 16, upAt: 0.8, downAt: 0.3, calmMs: 10_000 },
    waitingMax: 100,
    clock,
    tickMs: 0,
    spawn: () => {
      const worker = new Worker(PROGRAM, { eval: true });
      alive.add(worker);
      worker.on('exit', () => alive.delete(worker));
      return worker;
    },
    onSize: (size) => sizes.push(size),
    ...rest,
  });
  pools.push(pool);
  return { pool, clock, alive, sizes };
};

/** Threads of this process, as the kernel counts them. */
const kernelThreads = (): number => readdirSync('/proc/self/task').length;
const until = async (what: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 500 && !what(); turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(what()).toBe(true);
};

describe('the worker pool', () => {
  test('a step of load: more threads at once, fewer when it has been calm', async () => {
    const { pool, clock, alive, sizes } = open({ tickMs: 5 });
    expect(alive.size).toBe(2);
    const before = process.platform === 'linux' ? kernelThreads() : undefined;
    const jobs = Array.from({ length: 12 }, () => pool.run('sleep', { ms: 300 }));
    expect(alive.size).toBe(15);
    if (before !== undefined) await until(() => kernelThreads() >= before + 13);
    const threads = new Set((await Promise.all(jobs)).map((output) => Output.parse(output).threadId));
    expect(threads.size).toBe(12);
    expect(pool.stats).toMatchObject({ size: 15, busy: 0, waiting: 0, lost: 0 });
    // Nothing to do for a while, as the pool's own timer finds out.
    await until(() => {
      clock.timeMs += 5_000;
      return alive.size === 2;
    });
    expect(pool.stats.size).toBe(2);
    expect(Math.max(...sizes)).toBe(15);
  });

  test('never more than its bound, the rest waits; too many that wait are refused', async () => {
    const { pool, alive } = open({ waitingMax: 5 });
    const jobs = Array.from({ length: 21 }, () => pool.run('sleep', { ms: 50 }));
    await expect(pool.run('sleep', {})).rejects.toMatchObject({
      code: 'overloaded',
      next: expect.any(String),
    });
    expect([alive.size, pool.stats.waiting]).toEqual([16, 5]);
    expect(await Promise.all(jobs)).toHaveLength(21);
  });

  test.each(['die', 'throw'])(
    'a worker that ends in the middle (%s): its job fails by name, another takes its place',
    async (name) => {
      const { pool, alive } = open();
      const [lost, other] = await Promise.allSettled([pool.run(name, {}), pool.run('sleep', { ms: 20 })]);
      expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'cut' } });
      expect(other.status).toBe('fulfilled');
      await until(() => alive.size >= 2);
      expect(pool.stats.lost).toBe(1);
      expect(Output.parse(await pool.run('sleep', {})).threadId).toBeGreaterThan(0);
    },
  );

  test('workers that die one after another are replaced more and more slowly', async () => {
    let made = 0;
    const { pool, clock } = open({
      spawn: () => {
        made += 1;
        return new Worker('process.exit(1)', { eval: true });
      },
    });
    await until(() => pool.stats.size === 0);
    const before = made;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(made).toBe(before);
    clock.timeMs += 60_000;
    await expect(pool.run('sleep', {})).rejects.toMatchObject({ code: 'cut' });
    expect(made).toBeGreaterThan(before);
  });

  test('a cancelled job ends with its thread, also one that never looks up', async () => {
    const { pool, alive } = open();
    const abort = new AbortController();
    let heard = 0;
    const job = pool.run('hang', {}, { signal: abort.signal, onProgress: () => (heard += 1) });
    await until(() => heard === 1);
    const hanging = alive.values().next().value;
    abort.abort(new QflError('cancelled', { detail: 'enough' }));
    await expect(job).rejects.toMatchObject({ code: 'cancelled' });
    await until(() => !alive.has(hanging!));
    expect(pool.stats).toMatchObject({ busy: 0, lost: 0 });
    await expect(pool.run('hang', {}, { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
  });

  test('the real worker runs a quantum job and tells what is wrong with another', async () => {
    const { pool } = open({ spawn: spawnThread });
    const input = { job: { type: 'chsh', shotsPerSetting: 4_096 }, seed: 3, memoryBytes: 2 ** 30 };
    expect(await pool.run('quantum', input)).toMatchObject({ verdict: 'passed', seed: 3 });
    const bad = {
      ...input,
      job: { type: 'circuit', qasm: 'OPENQASM 3.0;\nqubit[2] q;\nnonsense q[0];', shots: 1 },
    };
    await expect(pool.run('quantum', bad)).rejects.toMatchObject({
      code: 'invalid_request',
      detail: expect.stringContaining('line 3'),
      next: expect.any(String),
    });
  });
});
