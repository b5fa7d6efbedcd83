/** The README's tour, command by command, against a federation that `qfl up` brought up. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ENVIRONMENT, OTHER_ENVIRONMENT } from '../../shared/config/environment.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = join(root, 'dist', 'shared', 'cli', 'main.js');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** Words of a shell line; the tour uses double quotes and nothing else. */
const words = (line: string): string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');
const [, tour = ''] = /```sh tour\n([\s\S]*?)```/.exec(readme) ?? [];
const commands = tour.split('\n').filter((line) => line.startsWith('npx qfl '));

const Up = z.object({ sites: z.array(z.object({ url: z.string(), apiKey: z.string() })).min(1) });
let folder: string;
let federation: ChildProcess;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qfl-readme-'));
  federation = spawn(process.execPath, [main, 'up', '--patients', '60', '--json'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let text = '';
  for await (const piece of federation.stdout ?? []) {
    text += String(piece);
    if (text.trimEnd().endsWith('\n}')) break;
  }
  const [site] = Up.parse(JSON.parse(text)).sites;
  env = { ...process.env, QFL_URL: site?.url, QFL_API_KEY: site?.apiKey };
});

afterAll(async () => {
  federation.kill('SIGINT');
  await once(federation, 'exit');
  rmSync(folder, { recursive: true, force: true });
});

describe('the README', () => {
  test('has a tour', () => {
    expect(commands.length).toBeGreaterThanOrEqual(6);
  });

  test.each(commands)('%s', (line) => {
    const done = spawnSync(process.execPath, [main, ...words(line).slice(2)], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    expect(done.stderr).not.toContain('error:');
    expect(done.status).toBe(0);
    expect(done.stdout.length).toBeGreaterThan(0);
  });

  test('names only scripts that there are', () => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));
    const named = [...readme.matchAll(/npm run ([a-z:]+)/g)].map((match) => match[1] ?? '');
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  test('names every variable that the programs read', () => {
    const names = [...ENVIRONMENT.map(({ name }) => name), ...Object.keys(OTHER_ENVIRONMENT)];
    expect(names.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
    const rows = Object.entries(OTHER_ENVIRONMENT).map(([name, what]) => `| \`${name}\` | ${what} |`);
    expect(rows.filter((row) => !readme.includes(row))).toEqual([]);
  });

  test('names every dependency, each with its reason', () => {
    const { dependencies } = z
      .object({ dependencies: z.record(z.string(), z.string()) })
      .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));
    const [, table = ''] = /## Dependencies([\s\S]*?)## /.exec(readme) ?? [];
    expect(Object.keys(dependencies).filter((name) => !table.includes(`\`${name}\``))).toEqual([]);
  });
});
