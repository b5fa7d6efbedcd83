/**
 * A task runner on a real disk, killed whenever its parent likes. It makes tasks as fast as it can and tells of each on its standard output;
 * every run is noted in a file that outlives it. With `drain` it makes none, waits until all have ended, and tells how.
 */
import { createActorPseudonyms } from '../../coordinator/access/pseudonyms.ts';
import { appendFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { executorsOf, type TaskExecutor } from '../../coordinator/tasks/executor.ts';
import { TASK_LIMITS } from '../../coordinator/tasks/limits.ts';
import { createTaskMeters } from '../../coordinator/tasks/meters.ts';
import { openTasks } from '../../coordinator/tasks/tasks.ts';
import { systemClock } from '../../shared/clock.ts';
import type { TaskId } from '../../shared/ids.ts';
import { silentLogger } from '../../shared/log.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import { TaskRequest, type TaskKind } from '../../shared/wire/task.ts';

const [folder, mode] = process.argv.slice(2);
if (folder === undefined || mode === undefined) throw new Error('usage: tasks-child FOLDER make|drain');

const isFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN';
/** Synchronous: what was acknowledged is in the pipe before anything else happens. A full pipe is waited for. */
const tell = (line: string): void => {
  const bytes = Buffer.from(`${line}\n`);
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }
};
const none = () => null;
const caller = { role: 'operator', owner: 'operator' };

const executorOf = (kind: TaskKind): TaskExecutor => ({
  kind,
  prepare: (spec) => spec,
  async run({ id, signal }) {
    // The work itself: what must not happen twice.
    appendFileSync(join(folder, 'runs'), `${kind} ${id}\n`);
    await delay(Math.random() * 8, undefined, { signal });
    return { form: 'json', value: { id }, cached: false };
  },
});

const store = encryptedStore(await openLevelStore(join(folder, 'store')), new Uint8Array(32).fill(1));
const tasks = await openTasks({
  store,
  folder: join(folder, 'results'),
  federation: 'test',
  stateKey: new Uint8Array(32).fill(2),
  executors: () => executorsOf(executorOf('ask'), executorOf('quantum')),
  audit: { record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: '' }) },
  actorOf: createActorPseudonyms(new Uint8Array(32)).actorOf,
  clock: systemClock,
  random: secureRandomBytes,
  logger: silentLogger,
  meters: createTaskMeters(new Registry(), systemClock, {
    running: () => 0,
    queued: () => 0,
    memoryUtilisation: none,
    cacheHitRatio: none,
    healthScore: none,
  }),
  settings: () => ({ parallelMax: 8, timeoutMs: 60_000 }),
  // Every end is asked for at the end: none may be forgotten for being old, as many kills as there are.
  limits: { ...TASK_LIMITS, keptMax: 1_000_000 },
});

const requestOf = (kind: 'ask' | 'quantum', rest: object = {}): TaskRequest =>
  TaskRequest.parse({ spec: kind === 'ask' ? { kind } : { kind, job: { type: 'chsh' } }, ...rest });

/** Three at a time: one of each sort, and one that waits for a computation. */
const makeSome = async (): Promise<void> => {
  const { tasks: made } = await tasks.create(
    {
      tasks: [
        requestOf('ask'),
        requestOf('quantum', { ref: 'q' }),
        requestOf('quantum', { dependsOn: ['q'] }),
      ],
    },
    caller,
  );
  for (const { id } of made) tell(`made ${id}`);
};

const tellEnds = (): void => {
  for (let after: TaskId | null | undefined; after !== null;) {
    const page = tasks.list({ limit: 200, ...(after === undefined ? {} : { after }) }, caller);
    for (const { id, kind, state, failure } of page.tasks)
      tell(`task ${id} ${kind} ${state} ${failure?.reason ?? '-'}`);
    after = page.next;
  }
};

if (mode === 'make') for (;;) await makeSome();
while (tasks.readings().queued + tasks.readings().running > 0) await delay(20);
tellEnds();
await tasks.close();
await store.close();
