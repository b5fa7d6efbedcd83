/**
 * `npm start`: from a fresh clone with Node alone to a running federation. Installs what the lock file names, builds, and hands over to
 * `qfl up` with the arguments given. No dependencies of its own, because none are installed yet.
 */
import { spawnSync, spawn } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const root = fileURLToPath(new URL('../../', import.meta.url));
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`error: Node ${process.versions.node} is too old; version 20.19 or newer is needed.`);
  process.exit(1);
}

/** Runs a step to its end; its output is shown only when it fails, unless it is long. */
const step = (text, command, args) => {
  console.error(text);
  const shell = process.platform === 'win32';
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    shell,
  });
  if (done.status === 0) return;
  console.error(`${done.stdout ?? ''}${done.stderr ?? ''}`);
  console.error(`error: "${command} ${args.join(' ')}" failed.`);
  process.exit(1);
};

const installed = join(root, 'node_modules', '.package-lock.json');
const lock = join(root, 'package-lock.json');
if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
  step('Installing (npm ci) …', 'npm', ['ci', '--no-audit', '--no-fund']);
}
step('Building …', process.execPath, [
  join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
  '-b',
  'shared',
  'agent',
  'coordinator',
]);

const main = join(root, 'dist', 'shared', 'cli', 'main.js');
const child = spawn(process.execPath, ['--enable-source-maps', main, 'up', ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});
// Ctrl-C reaches both; the federation needs the time to stop in order, so this process waits for it.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', (code, signal) => process.exit(code ?? (signal === null ? 0 : 1)));
