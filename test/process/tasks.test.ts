/** Tasks over deaths of their program: none is lost, none runs twice that must not; and the command as a person uses it. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { FederationInfo } from '../../shared/wire/federation-info.ts';
import { TaskShown } from '../../shared/wire/task.ts';
import { call } from './federation.ts';
import {
  eventually,
  printedBy,
  type Program,
  qfl,
  qflError,
  qflJson,
  startProgram,
} from '../fixtures/processes.ts';

const CHILD = fileURLToPath(new URL('../../dist/test/process/tasks-child.js', import.meta.url));
const nightly = process.env['QFL_NIGHTLY'] === '1';
/** Each life makes tasks until it is killed; the nightly run goes on for twenty times as long. */
const KILLS = nightly ? 300 : 10;

let folder = '';
beforeAll(async () => {
  if (!existsSync(CHILD)) throw new Error('the child program is not built: run npm run build first');
  folder = await mkdtemp(join(tmpdir(), 'qfl-tasks-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs a child, kills it with -9 some time after its first line unless it is left to end. @returns its whole lines */
const life = (home: string, mode: 'make' | 'drain', killAfterMs?: number): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, home, mode], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (killAfterMs !== undefined) timer ??= setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const lines = output.split('\n').slice(0, -1);
      if (killAfterMs === undefined ? code === 0 : signal === 'SIGKILL') resolve(lines);
      else reject(new Error(`the child ended with ${code ?? signal}: ${output.slice(-200)}`));
    });
  });

const runsIn = (home: string): ReadonlyMap<string, number> => {
  const runs = new Map<string, number>();
  for (const line of readFileSync(join(home, 'runs'), 'utf8').split('\n')) {
    const [, id] = line.split(' ');
    if (id !== undefined) runs.set(id, (runs.get(id) ?? 0) + 1);
  }
  return runs;
};

describe('kill -9', () => {
  test(
    `${KILLS} times: every task that was acknowledged is there at the end, and none ran twice that must not`,
    async () => {
      const home = await mkdtemp(join(folder, 'kill-'));
      const made = new Set<string>();
      for (let kill = 0; kill < KILLS; kill += 1)
        for (const line of await life(home, 'make', (kill * 37) % 120)) made.add(line.split(' ')[1]!);
      const ends = new Map<string, readonly string[]>();
      for (const line of await life(home, 'drain')) {
        const [, id = '', ...rest] = line.split(' ');
        ends.set(id, rest);
      }
      const runs = runsIn(home);
      let unknown = 0;
      expect(made.size).toBeGreaterThan(KILLS);
      for (const id of made) expect(ends.has(id)).toBe(true);
      for (const [id, [kind, state, reason]] of ends) {
        const times = runs.get(id) ?? 0;
        if (kind === 'quantum') {
          expect([id, state]).toEqual([id, 'done']);
          expect(times).toBeGreaterThanOrEqual(1);
        } else {
          expect([id, times]).toEqual([id, Math.min(times, 1)]);
          expect(`${state} ${reason}`).toBe(state === 'done' ? 'done -' : 'failed outcome_unknown');
          if (state === 'done') expect(times).toBe(1);
          else unknown += 1;
        }
      }
      // The kills did hit work: otherwise this shows nothing.
      expect(unknown).toBeGreaterThan(0);
      expect([...runs.values()].some((times) => times > 1)).toBe(true);
    },
    nightly ? 1_800_000 : 120_000,
  );
});

const Ready = z.looseObject({ url: z.string() });
const BELL =
  'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n';
/** Long enough to be caught in the middle, on any machine. */
const LONG = `qubit[20] q;\n${'h q[0];\ncx q[0], q[19];\n'.repeat(4_000)}`;

describe('qfl task', () => {
  let program: Program;
  let home: string;
  let port: string;
  const start = async (): Promise<void> => {
    program = startProgram(['coordinator', 'start', '--home', home, '--port', port, '--json']);
    const { url } = await printedBy(program, Ready, 'the coordinator is ready');
    ({ port } = new URL(url));
  };
  const at = (...args: readonly string[]): string[] => ['task', ...args, '--home', home];
  const Made = z.object({ tasks: z.array(TaskShown) });
  const Control = z.object({ url: z.string(), key: z.string() });
  /** Asked over HTTP: a command for every look would take the test's time. */
  const ask = async (path: string, body?: unknown): Promise<unknown> => {
    const { url, key } = Control.parse(JSON.parse(readFileSync(join(home, 'control.json'), 'utf8')));
    return (await call(url + path, { key, ...(body === undefined ? {} : { body }) })).body;
  };
  const show = async (id: string): Promise<TaskShown> => TaskShown.parse(await ask(`/v1/tasks/${id}`));
  const make = async (spec: object, dependsOn: readonly string[] = []): Promise<string> =>
    Made.parse(await ask('/v1/tasks', { spec, dependsOn })).tasks[0]!.id;
  const long = { kind: 'quantum', job: { type: 'circuit', qasm: LONG } };

  beforeAll(async () => {
    home = join(folder, 'coordinator');
    port = '0';
    await qflJson(z.looseObject({}), ['coordinator', 'init', '--home', home]);
    await writeFile(join(folder, 'bell.qasm'), BELL);
    await start();
  });
  afterAll(() => program.stop());

  test('runs a circuit, follows it, and gives its counts', async () => {
    const args = at(
      'create',
      '--qasm',
      join(folder, 'bell.qasm'),
      '--shots',
      '100',
      '--seed',
      '7',
      '--watch',
    );
    const { code, out, err } = await qfl(args);
    expect([code, err]).toEqual([0, expect.stringContaining('done')]);
    const id = /task ([0-9a-f]{32}): done/.exec(out)?.[1] ?? '';
    const listed = await qflJson(z.array(TaskShown), at('list', '--kind', 'quantum', '--state', 'done'));
    expect(listed.map((task) => task.id)).toContain(id);
    const Result = z.looseObject({
      counts: z.array(z.object({ bits: z.enum(['00', '11']), count: z.int() })),
    });
    const { counts } = await qflJson(Result, at('result', id));
    expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(100);
  });

  test('exports the audit log as a task, and the file verifies', async () => {
    const id = await make({ kind: 'export', ground: 'yearly review' });
    await eventually('the export is done', async () => (await show(id)).state === 'done');
    const file = join(folder, 'audit.tar');
    expect((await qfl(at('result', id, '--out', file))).code).toBe(0);
    // By the keys inside the file alone it agrees with itself, and no more is claimed; with keys got another way it is good.
    expect((await qfl(['audit', 'verify', file])).code).toBe(4);
    const keys = FederationInfo.parse(await ask('/v1/federation'));
    const trusted = [...keys.keysVerifierKeys, ...keys.auditVerifierKeys];
    expect(await qfl(['audit', 'verify', file, '--trust', ...trusted])).toMatchObject({ code: 0 });
  });

  test('cancels work that runs, and what waited for it fails by name', async () => {
    const id = await make(long);
    const next = await make({ kind: 'quantum', job: { type: 'chsh' } }, [id]);
    await eventually('it runs', async () => (await show(id)).state === 'running');
    expect((await qflJson(TaskShown, at('cancel', id))).state).toBe('cancelled');
    expect(await show(next)).toMatchObject({ state: 'failed', failure: { reason: 'dependency_failed' } });
    expect((await qflError(at('cancel', id))).code).toBe('conflict');
  });

  test('goes on after kill -9, and the watcher with it', async () => {
    const id = await make(long);
    await eventually('it runs', async () => (await show(id)).state === 'running');
    const watcher = startProgram(at('watch', id));
    await eventually('the watcher is there', () => watcher.printed().includes('running'));
    await program.kill();
    await start();
    const again = await eventually('it runs again', async () => {
      const task = await show(id);
      return task.attempts === 2 && task;
    });
    expect(again).toMatchObject({ state: 'running', failure: null });
    await ask(`/v1/tasks/${id}/cancel`, {});
    // Its connection and its key were those of the first life.
    const { code, out, err } = await watcher.gone;
    expect([code, out]).toEqual([1, expect.stringContaining(`task ${id}: cancelled`)]);
    expect(err).toContain('trying again');
  });

  test('saves the state and reads it back; a changed file is refused', async () => {
    const file = join(folder, 'tasks.state');
    expect((await qfl(at('export', '--out', file))).code).toBe(0);
    const Sum = z.object({ added: z.int(), unchanged: z.int(), applied: z.boolean() });
    expect(await qflJson(Sum, at('import', file))).toMatchObject({ added: 0, applied: true });
    const text = readFileSync(file, 'utf8');
    await writeFile(file, text.replace('\\"priority\\":4', '\\"priority\\":5'));
    expect((await qflError(at('import', file))).code).toBe('bad_signature');
    await writeFile(file, text.slice(0, -40));
    expect((await qflError(at('import', file))).next).toContain('kept again');
  });

  test.each([
    [['create'], 'one of --qasm'],
    [['create', '--chsh', '--priority', 'x'], '--priority x is not a number'],
    [['show', '0'.repeat(32)], 'there is no task'],
  ])('qfl task %j says what is wrong', async (args, detail) => {
    const error = await qflError(at(...args));
    expect([error.detail, error.next]).toEqual([expect.stringContaining(detail), expect.any(String)]);
  });
});
