/** The files an operator installs: they parse, keep their promises, and name commands and options that exist. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const UNITS = ['qfl-coordinator.service', 'qfl-agent.service'] as const;

const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;
const why = hasAnalyze ? '' : ' (skipped: there is no systemd-analyze here)';
/** `verify` wants the program of ExecStart to be there; on this machine it may stand elsewhere. */
const analyze = (unit: string, ...args: string[]): { status: number | null; output: string } => {
  const folder = mkdtempSync(join(tmpdir(), 'qfl-unit-'));
  try {
    const path = join(folder, unit);
    writeFileSync(path, read(`deploy/systemd/${unit}`).replaceAll('/usr/bin/node', process.execPath));
    const done = spawnSync('systemd-analyze', [...args, path], { encoding: 'utf8' });
    return { status: done.status, output: done.stdout + done.stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
};

describe.each(UNITS)('%s', (unit) => {
  const settings = read(`deploy/systemd/${unit}`)
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line));

  test('is hardened, and takes the master key as a credential', () => {
    for (const line of [
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'ProtectHome=yes',
      'PrivateTmp=yes',
      'CapabilityBoundingSet=',
      'MemoryDenyWriteExecute=no',
      'LimitCORE=0',
      'UMask=0077',
    ])
      expect(settings).toContain(line);
    const program = unit.slice('qfl-'.length, -'.service'.length);
    expect(settings).toContain(`LoadCredential=master.key:/etc/qfl/${program}-master.key`);
    expect(settings.some((line) => line.startsWith('Environment') && line.includes('KEY'))).toBe(false);
  });

  test.skipIf(!hasAnalyze)(`passes systemd-analyze verify${why}`, () => {
    expect(analyze(unit, 'verify', '--man=no')).toEqual({ status: 0, output: '' });
  });

  test.skipIf(!hasAnalyze)(`has an exposure of at most 2.0 by systemd-analyze security${why}`, () => {
    const { status, output } = analyze(unit, 'security', '--offline=true', '--threshold=20', '--no-pager');
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
  });
});

const Service = z.looseObject({
  command: z.array(z.string()),
  read_only: z.literal(true),
  user: z.literal('node'),
  cap_drop: z.tuple([z.literal('ALL')]),
  security_opt: z.array(z.string()),
  secrets: z.array(z.object({ source: z.string(), target: z.literal('master.key') })),
  volumes: z.array(z.string()),
});
const Compose = z.looseObject({
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.unknown()),
  secrets: z.record(z.string(), z.object({ file: z.string() })),
});

describe('the container files', () => {
  const compose = Compose.parse(parseYaml(read('deploy/compose/compose.yaml'), { merge: true }));
  test('the Compose file parses; every service is locked down and names volumes and secrets that exist', () => {
    expect(Object.keys(compose.services)).toEqual(['coordinator', 'agent']);
    for (const service of Object.values(compose.services)) {
      expect(service.security_opt).toContain('no-new-privileges:true');
      for (const { source } of service.secrets) expect(Object.keys(compose.secrets)).toContain(source);
      for (const volume of service.volumes)
        expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0]);
    }
  });

  test('what the Dockerfile copies is there and not ignored', () => {
    const copied = [...read('deploy/docker/Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(
      ([, files = '']) => files.split(' '),
    );
    expect(copied.length).toBeGreaterThan(5);
    const kept = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    for (const file of copied) {
      expect(existsSync(join(root, file))).toBe(true);
      expect(kept).toContain(file);
    }
  });

  test('the image runs as another user than root, from a digest if one is given', () => {
    const lines = read('deploy/docker/Dockerfile').split('\n');
    expect(lines).toContain('USER node');
    expect(
      lines.filter((line) => line.startsWith('FROM ')).every((line) => line.includes('${NODE_IMAGE}')),
    ).toBe(true);
    expect(lines.some((line) => line.startsWith('ARG NODE_IMAGE=node:24'))).toBe(true);
  });
});

/** Command lines of `qfl` in the operators' page and the files beside it, as words. */
const commandLines = (): string[][] => {
  const page = ['deploy/README.md', 'deploy/accounts.md', 'deploy/keys.md'].map(read).join('\n');
  const code = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block).join('\n');
  const inText = [...page.matchAll(/`(qfl [^`]+)`/g)].map(([, line = '']) => line);
  const lines = [...code.split('\n'), ...inText].map((line) => line.replace(/\s+#.*$/, ''));
  return lines.flatMap((line) => {
    const [, command] =
      /(?:^|\s)(?:qfl|as_service (?:coordinator|agent)|docker compose run --rm (?:coordinator|agent)) ((?:login|logout|backup|restore)(?: .*)?|(?:coordinator|agent|site|audit|config|account|key|keys|role|proposal|lockdown) [a-z].*)$/.exec(
        line,
      ) ?? [];
    return command === undefined ? [] : [command.split(' ')];
  });
};
const main = join(root, 'dist/shared/cli/main.js');
const helpOf = (words: readonly string[]): string =>
  execFileSync(process.execPath, [main, ...words, '--help'], { encoding: 'utf8' });

const isBuilt = existsSync(main);
const unbuilt = isBuilt ? '' : ' (skipped: the programs are not built here; npm run build)';
describe.skipIf(!isBuilt)(`the commands of the operators’ page${unbuilt}`, () => {
  const lines = commandLines();
  const wordsOf = (line: readonly string[]): string[] => {
    if (['login', 'logout', 'backup', 'restore'].includes(line[0] ?? '')) return line.slice(0, 1);
    const isDeep =
      (line[0] === 'agent' && ['key', 'ledger', 'budget'].includes(line[1] ?? '')) ||
      (line[0] === 'keys' && line[1] === 'recover');
    return line.slice(0, isDeep ? 3 : 2);
  };
  test('are found', () => {
    expect(new Set(lines.map((line) => wordsOf(line).join(' '))).size).toBeGreaterThan(9);
  });
  const commands = [...new Set(lines.map((line) => wordsOf(line).join(' ')))];
  test.each(commands)('qfl %s exists, with the options used', (command) => {
    const help = helpOf(command.split(' '));
    expect(help).toContain(`Usage: qfl ${command}`);
    const options = lines
      .filter((line) => wordsOf(line).join(' ') === command)
      .flatMap((line) => line.filter((word) => word.startsWith('--')));
    for (const option of options) expect(help).toContain(option);
  });
  test('the units and the Compose file start programs with options that exist', () => {
    const started = [
      ...UNITS.map((unit) => /main\.js (.*)$/m.exec(read(`deploy/systemd/${unit}`))?.[1]?.split(' ') ?? []),
      ...[...read('deploy/compose/compose.yaml').matchAll(/command: \[(.*)\]/g)].map(([, words = '']) =>
        words.split(', '),
      ),
    ];
    expect(started).toHaveLength(4);
    for (const words of started) {
      const help = helpOf(words.slice(0, 2));
      for (const option of words.filter((word) => word.startsWith('--'))) expect(help).toContain(option);
    }
  });
});
