/**
 * `npm start`: from a fresh clone with Node alone to a running federation. Installs what the lock file names, builds, and hands over to
 * `qfl up` with the arguments given.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { build, install, requireNode, root, runScript } from './toolchain.mjs';

const up = () =>
  new Promise((resolve) => {
    const main = join(root, 'dist', 'shared', 'cli', 'main.js');
    const child = spawn(process.execPath, ['--enable-source-maps', main, 'up', ...process.argv.slice(2)], {
      cwd: root,
      stdio: 'inherit',
    });
    // Ctrl-C reaches both; the federation needs the time to stop in order, so this process waits for it.
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.on('exit', (code) => resolve(code ?? 1));
  });

await runScript(() => {
  requireNode();
  install();
  console.error('Building …');
  // The tests are not part of what runs.
  build('shared', 'agent', 'coordinator');
  return up();
});
