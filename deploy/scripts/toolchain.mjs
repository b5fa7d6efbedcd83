/**
 * What every script needs before the project's own code can run: packages that match the lock file, and a build. Plain JavaScript
 * on Node alone, because it runs before anything is installed.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
const NODE_MIN = [20, 19];

/** A step that failed, already explained on the terminal. */
export class StepFailed extends Error {}

/** Runs a program with its output on ours. @throws StepFailed */
export const runStep = (what, command, args, env = process.env) => {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, env, stdio: 'inherit' });
  if (status === 0) return;
  const why = error?.message ?? (signal === null ? `exit code ${status}` : `signal ${signal}`);
  throw new StepFailed(`${what} failed (${why})`);
};

export const requireNode = () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1]))
    throw new StepFailed(`Node ${NODE_MIN.join('.')} or newer is needed; this is ${process.versions.node}`);
};

const readLock = (path) => {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/**
 * Does `node_modules` hold what the lock file says? Versions are compared, not dates: a checkout changes every date, and
 * an installation that is right must not be torn down under programs that use it.
 */
export const isInstalled = () => {
  const wanted = readLock('package-lock.json') ?? {};
  const found = readLock('node_modules/.package-lock.json');
  if (found === undefined) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true;
    // Optional packages of other platforms are rightly absent.
    return path in found ? found[path].version === version : optional === true;
  });
};

/** @throws StepFailed */
export const install = () => {
  if (isInstalled()) return;
  console.log('node_modules does not match package-lock.json: running npm ci');
  const npm = process.env.npm_execpath;
  if (npm === undefined) runStep('npm ci', process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ci']);
  else runStep('npm ci', process.execPath, [npm, 'ci']);
};

/** The script of a package's program, run with the Node that runs us. */
export const programOf = (name, program = name) => {
  const manifestPath = createRequire(join(root, 'package.json')).resolve(`${name}/package.json`);
  const { bin } = JSON.parse(readFileSync(manifestPath, 'utf8'));
  return join(dirname(manifestPath), typeof bin === 'string' ? bin : bin[program]);
};

/** @throws StepFailed */
export const runProgram = (what, name, args, { program = name, env = process.env } = {}) =>
  runStep(what, process.execPath, [programOf(name, program), ...args], env);

/** @throws StepFailed */
export const build = (...projects) =>
  runProgram('the build (tsc -b)', 'typescript', ['-b', ...projects], { program: 'tsc' });

/** Runs `main`, turning a failed step into one line and exit code 1. */
export const runScript = async (main) => {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
};
