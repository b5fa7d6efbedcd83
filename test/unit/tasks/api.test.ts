/** Tasks over HTTP, as a program sees them. */
import { createActorPseudonyms } from '../../../coordinator/access/pseudonyms.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { registerTaskRoutes } from '../../../coordinator/api/tasks.ts';
import { systemClock } from '../../../shared/clock.ts';
import { createHealthMonitor, type HealthMonitor } from '../../../shared/health/monitor.ts';
import { createApiKeys, keyAuthenticator } from '../../../shared/http/api-keys.ts';
import { createHttpApp, type HttpApp } from '../../../shared/http/app.ts';
import { DepartmentId } from '../../../shared/ids.ts';
import { silentLogger } from '../../../shared/log.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { TaskNews, TaskPage, type TaskShown, TasksMade } from '../../../shared/wire/task.ts';
import { TEST_RULES } from '../http/fixture.ts';
import { type Bench, createHeldExecutor, openBench, settled } from './fixture.ts';

let bench: Bench;
let app: HttpApp;
let url: string;
let [admin, researcher, nurse] = ['', '', ''];
let health: HealthMonitor;
let loopDelayMs = 1;
let looksMs = 0;
const held = createHeldExecutor('quantum');
const spec = { kind: 'quantum', job: { type: 'chsh', seed: 1 } };

beforeAll(async () => {
  bench = await openBench({ executors: [held.executor], parallelMax: 4 });
  const apiKeys = createApiKeys({
    store: createMemoryStore(),
    prefix: 'k/',
    clock: systemClock,
    random: secureRandomBytes,
  });
  const mint = async (role: string): Promise<string> =>
    (await apiKeys.mint({ name: role, role, department: DepartmentId.parse('it'), dataClass: 'internal' }))
      .key;
  [admin, researcher, nurse] = [await mint('admin'), await mint('researcher'), await mint('nurse')];
  app = await createHttpApp({
    logger: silentLogger,
    clock: systemClock,
    title: 'test',
    version: '0',
    bodyLimitBytes: 1024 * 1024,
    rateLimit: { requestsMax: 10_000, windowMs: 60_000, keysMax: 100 },
    access: { authenticator: keyAuthenticator(apiKeys), rules: () => TEST_RULES },
  });
  health = createHealthMonitor({
    metrics: () => [{ name: 'loop', value: loopDelayMs, better: 'lower', good: 20, bad: 500, weight: 1 }],
    // Every look is a new one.
    clock: { nowMs: () => Date.now(), monotonicMs: () => (looksMs += 10_000) },
    intervalMs: 0,
  });
  app.fastify.get('/health', { config: { access: 'public' } }, () => ({ status: 'ok' }));
  app.fastify.get('/ready', { config: { access: 'public' } }, () => ({ status: 'ready' }));
  registerTaskRoutes(app, {
    tasks: bench.tasks,
    audit: { record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: '' }) },
    actorOf: createActorPseudonyms(new Uint8Array(32)).actorOf,
    health,
  });
  ({ url } = await app.listen({ host: '127.0.0.1', port: 0 }));
});
afterAll(async () => {
  await app.close(0);
  await bench.close();
});

const call = async (path: string, key: string, body?: unknown, headers: Record<string, string> = {}) => {
  const answer = await fetch(url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, body: await answer.json().catch(() => undefined) };
};
const make = async (key = admin): Promise<TaskShown> =>
  TasksMade.parse((await call('/v1/tasks', key, { spec })).body).tasks[0]!;

interface Event {
  readonly id: string;
  readonly event: string;
  readonly news: TaskNews;
}

/** Reads a stream until `enough`. */
const eventsOf = async (
  id: string,
  enough: (seen: readonly Event[]) => boolean,
  lastEventId?: string,
): Promise<Event[]> => {
  const abort = new AbortController();
  const answer = await fetch(`${url}/v1/tasks/${id}/watch`, {
    signal: abort.signal,
    headers: {
      authorization: `Bearer ${admin}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
  });
  let text = '';
  const seen = (): Event[] =>
    text
      .split('\n\n')
      .slice(0, -1)
      .flatMap((block) => {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        const data = field('data');
        return data === undefined
          ? []
          : [{ id: field('id') ?? '', event: field('event') ?? '', news: TaskNews.parse(JSON.parse(data)) }];
      });
  try {
    for await (const chunk of answer.body!) {
      text += Buffer.from(chunk).toString('utf8');
      if (enough(seen())) break;
    }
  } finally {
    abort.abort();
  }
  return seen();
};

describe('the tasks API', () => {
  test('makes, shows, lists and cancels', async () => {
    const made = await call('/v1/tasks', researcher, {
      tasks: [
        { ref: 'a', spec },
        { spec, dependsOn: ['a'] },
      ],
    });
    expect(made.status).toBe(201);
    const [first, second] = TasksMade.parse(made.body).tasks;
    expect(second).toMatchObject({ state: 'waiting', dependsOn: [first!.id], createdBy: 'researcher' });
    const list = TaskPage.parse((await call('/v1/tasks?limit=1', researcher)).body);
    expect([list.tasks[0]!.id, list.next]).toEqual([second!.id, second!.id]);
    expect((await call(`/v1/tasks/${first!.id}`, nurse)).status).toBe(404);
    const cancelled = await call(`/v1/tasks/${first!.id}/cancel`, researcher, '{}');
    expect(cancelled.body).toMatchObject({ state: 'cancelled' });
    expect((await call(`/v1/tasks/${second!.id}`, researcher)).body).toMatchObject({ state: 'failed' });
  });

  test('a repeated request with its key makes nothing twice', async () => {
    const headers = { 'idempotency-key': 'one' };
    const first = await call('/v1/tasks', admin, { spec }, headers);
    const second = await call('/v1/tasks', admin, { spec }, headers);
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(TasksMade.parse(second.body).tasks[0]!.id).toBe(TasksMade.parse(first.body).tasks[0]!.id);
    expect((await call('/v1/tasks', admin, { spec, priority: 1 }, headers)).status).toBe(409);
    expect((await call('/v1/tasks', admin, { spec }, { 'idempotency-key': 'a b' })).status).toBe(400);
  });

  test.each([
    [
      'NaN where a number belongs',
      '{"spec":{"kind":"quantum","job":{"type":"qaoa","qubo":{"bits":1,"linear":[NaN],"quadratic":[]}}}}',
      400,
    ],
    [
      'infinity by a large exponent',
      '{"spec":{"kind":"quantum","job":{"type":"qaoa","qubo":{"bits":1,"linear":[1e999],"quadratic":[]}}}}',
      400,
    ],
    [
      'a circle',
      {
        tasks: [
          { ref: 'a', spec, dependsOn: ['b'] },
          { ref: 'b', spec, dependsOn: ['a'] },
        ],
      },
      400,
    ],
    ['a priority that is none', { spec, priority: 10 }, 400],
    ['an unknown field', { spec, colour: 'blue' }, 400],
    ['more tasks than a request may have', { tasks: Array.from({ length: 101 }, () => ({ spec })) }, 400],
    [
      'a body above the limit',
      { spec: { kind: 'quantum', job: { type: 'circuit', qasm: 'x'.repeat(1_100_000) } } },
      413,
    ],
    ['chat, which sites run', { spec: { kind: 'chat' } }, 400],
  ])('refuses %s', async (_what, body, status) => {
    const answer = await call('/v1/tasks', admin, body);
    expect([answer.status, answer.body]).toEqual([
      status,
      expect.objectContaining({ code: expect.any(String) }),
    ]);
  });

  test('a watcher hears every change in order, and goes on where it was cut off', async () => {
    const task = await make();
    await settled();
    const run = held.of(task.id);
    const watching = eventsOf(task.id, (seen) => seen.some(({ news }) => news.task.state === 'done'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const done of [1, 2, 3]) run.work.progress({ done, total: 3, unit: 'steps' });
    run.end.resolve(held.done);
    const seen = await watching;
    expect(
      seen.map(({ event, news }) => `${event} ${news.task.state} ${news.task.progress?.done ?? '-'}`),
    ).toEqual([
      'state running -',
      'progress running 1',
      'progress running 2',
      'progress running 3',
      'state done -',
    ]);
    const again = await eventsOf(
      task.id,
      (heard) => heard.some(({ news }) => news.task.state === 'done'),
      seen[2]!.id,
    );
    expect(again).toEqual(seen.slice(3));
    // Of another life of the program, or never given: the present state.
    const fresh = await eventsOf(task.id, (heard) => heard.length > 0, 'ffffffff-3');
    expect(fresh.map(({ news }) => news.task.state)).toEqual(['done']);
  });

  test('results are there when the task is done, not before', async () => {
    const task = await make();
    expect((await call(`/v1/tasks/${task.id}/result`, admin)).status).toBe(503);
    await settled();
    held.of(task.id).end.resolve(held.done);
    await settled();
    expect((await call(`/v1/tasks/${task.id}/result`, admin)).body).toEqual({ answer: 42 });
  });

  test('the whole state is for administrators', async () => {
    expect((await call('/v1/tasks/export', researcher)).status).toBe(403);
    const { body } = await call('/v1/tasks/export', admin);
    expect((await call('/v1/tasks/import?dryRun=true', admin, body)).status).toBe(200);
    const page = z.looseObject({ createdMs: z.number() }).parse(body);
    const changed = await call('/v1/tasks/import', admin, { ...page, createdMs: page.createdMs + 1 });
    expect([changed.status, changed.body]).toEqual([403, expect.objectContaining({ code: 'bad_signature' })]);
  });

  test('alive is not ready: an event loop that is stuck makes it unready, not dead', async () => {
    expect((await call('/ready', admin)).status).toBe(200);
    loopDelayMs = 900;
    expect((await call('/v1/health', admin)).body).toMatchObject({ verdict: 'unhealthy' });
    const unready = await call('/ready', admin);
    expect([unready.status, unready.body]).toEqual([503, expect.objectContaining({ code: 'not_ready' })]);
    expect((await call('/health', admin)).status).toBe(200);
    loopDelayMs = 1;
    expect((await call('/ready', admin)).status).toBe(200);
  });
});
