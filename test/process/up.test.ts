/** `qfl up`: the whole federation by one command, its check, its second start, and every way in which it ends. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  eventually,
  isAlive,
  printedBy,
  type Program,
  qfl,
  qflJson,
  startProgram,
} from '../fixtures/processes.ts';
import { AgentStatus, call } from './federation.ts';

const Rows = z.array(
  z.looseObject({ what: z.string(), ok: z.boolean(), tookMs: z.number(), found: z.string() }),
);
const Up = z.looseObject({
  coordinator: z.object({ url: z.string(), home: z.string(), fingerprint: z.string() }),
  sites: z.array(
    z.looseObject({
      name: z.string(),
      home: z.string(),
      url: z.string(),
      apiKey: z.string(),
      isNew: z.boolean(),
    }),
  ),
});
const Control = z.looseObject({ pid: z.number() });
const SiteList = z.array(z.looseObject({ site: z.string(), fingerprint: z.string(), online: z.boolean() }));

let folder: string;
const started: Program[] = [];
const args = (): string[] => ['up', '--home', join(folder, 'demo'), '--patients', '60'];

const pidOf = async (home: string): Promise<number> =>
  Control.parse(JSON.parse(await readFile(join(home, 'control.json'), 'utf8'))).pid;
/** Starts it; resolves once it says that everything is up. */
const bringUp = async () => {
  const program = startProgram([...args(), '--json']);
  started.push(program);
  const up = await printedBy(program, Up, 'the federation is up');
  const pids = await Promise.all([up.coordinator, ...up.sites].map(({ home }) => pidOf(home)));
  return { program, up, pids };
};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-up-'));
});
afterAll(async () => {
  await Promise.all(started.filter((program) => program.isRunning()).map((program) => program.stop()));
  await rm(folder, { recursive: true, force: true });
});

test('--check brings it up, tries one of everything, and ends with 0 only because all of it worked', async () => {
  const { code, out, err } = await qfl([...args(), '--check', '--json']);
  const rows = Rows.parse(JSON.parse(out));
  expect(rows.filter(({ ok }) => !ok)).toEqual([]);
  expect(rows.map(({ what }) => what)).toEqual([
    'federation up',
    'chat, planned and sealed',
    'federated count',
    'question over records',
    'over budget is refused',
    'sealed round',
    'audit export and offline check',
  ]);
  expect({ code, err }).toMatchObject({ code: 0 });
});

describe('the next start', () => {
  let first: Awaited<ReturnType<typeof bringUp>>;

  test('goes on with the state: the same parties, keys of this run that work', async () => {
    first = await bringUp();
    const { up } = first;
    expect(up.sites.map(({ isNew }) => isNew)).toEqual([false, false, false]);
    const listed = await qflJson(SiteList, ['site', 'list', '--home', up.coordinator.home]);
    for (const { name, home, url, apiKey } of up.sites) {
      const status = await qflJson(AgentStatus, ['agent', 'status', '--home', home]);
      // What the coordinator wrote down when the site first joined.
      expect(listed.find(({ site }) => site === name)?.fingerprint).toBe(status.fingerprint);
      expect((await call(`${url}/v1/models`, { key: apiKey })).status).toBe(200);
    }
  });
  test('ends with Ctrl-C: exit code 0, and no process is left', async () => {
    const { program, pids } = first;
    expect(pids.every(isAlive)).toBe(true);
    expect((await program.stop('SIGINT')).code).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  });
  test('has the same coordinator, and keys of its own: those of the last run are over', async () => {
    const second = await bringUp();
    expect(second.up.coordinator.fingerprint).toBe(first.up.coordinator.fingerprint);
    const [site] = second.up.sites;
    expect((await call(`${site!.url}/v1/models`, { key: first.up.sites[0]!.apiKey })).status).toBe(401);
    // One part dies by itself: the rest is stopped, and the fault is named.
    process.kill(second.pids.at(-1)!, 'SIGKILL');
    const { code, out } = await second.program.gone;
    expect(code).toBe(1);
    expect(out).toContain(`${second.up.sites.at(-1)!.name} ended by itself`);
    expect(second.pids.filter(isAlive)).toEqual([]);
  });
  test('killed with -9, it leaves no part running', async () => {
    const third = await bringUp();
    await third.program.kill();
    await eventually('every part has ended', () => !third.pids.some(isAlive));
    expect(third.pids.filter(isAlive)).toEqual([]);
  });
});
