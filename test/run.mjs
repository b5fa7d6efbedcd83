/**
 * `npm test`: installs and builds what is missing, runs every test, and prints `N passed, N failed` as its last line. Tests of
 * the parts run side by side; tests with real processes run after them, one file at a time, because they measure themselves
 * against deadlines.
 *
 *     node test/run.mjs [--check] [--nightly] [FILTER…]
 *
 * FILTERs are parts of test file paths. --check (or CI in the environment) also checks format, lint and types.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  build,
  install,
  programOf,
  requireNode,
  root,
  runProgram,
  StepFailed,
} from '../deploy/scripts/toolchain.mjs';

const PARALLEL_WORKERS = 2;
const SERIAL = ['process', 'cluster', 'e2e', 'nightly'];
const NOTHING = { passed: 0, failed: 0, skipped: [], failures: [] };

const parseArguments = (args) => {
  const unknown = args.find((arg) => arg.startsWith('--') && arg !== '--check' && arg !== '--nightly');
  if (unknown !== undefined)
    throw new StepFailed(
      `unknown option ${unknown}; there are --check and --nightly, and parts of file names`,
    );
  const inCi = !['', '0', 'false'].includes(process.env.CI ?? '') && process.env.QFL_CHECKED !== '1';
  return {
    check: args.includes('--check') || inCi,
    nightly: args.includes('--nightly'),
    filters: args.filter((arg) => !arg.startsWith('--')),
  };
};

const runChecks = () => {
  runProgram('prettier', 'prettier', ['--check', '.']);
  runProgram('oxlint', 'oxlint', ['--type-aware', '--deny-warnings']);
};

/** One vitest run; its tally. A run that dies without one counts as a failure. */
const runVitest = (name, { args, filters, nightly }) => {
  const folder = mkdtempSync(join(tmpdir(), 'qfl-test-'));
  const tallyFile = join(folder, 'tally.json');
  try {
    const { status, signal } = spawnSync(
      process.execPath,
      [
        programOf('vitest'),
        'run',
        '--config=test/vitest.config.ts',
        '--reporter=default',
        '--reporter=./test/reporter.mjs',
        '--passWithNoTests',
        ...args,
        ...filters,
      ],
      {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, QFL_TEST_TALLY: tallyFile, ...(nightly ? { QFL_NIGHTLY: '1' } : {}) },
      },
    );
    const tally = readTally(tallyFile);
    if (tally !== undefined && (status === 0 || tally.failed > 0)) return tally;
    const why = `the ${name} run ended with ${signal ?? `exit code ${status}`} and no failed test to show for it`;
    return { ...(tally ?? NOTHING), failed: 1, failures: [why] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const readTally = (file) => {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
};

const excluded = (globs) => globs.map((glob) => `--exclude=${glob}`);

const runTests = ({ nightly, filters }) => {
  const skippedFolders = nightly ? [] : ['test/nightly/**'];
  const parallel = runVitest('parallel', {
    args: [`--maxWorkers=${PARALLEL_WORKERS}`, ...excluded(SERIAL.map((folder) => `test/${folder}/**`))],
    filters,
    nightly,
  });
  const serial = runVitest('serial', {
    args: [
      '--no-file-parallelism',
      ...excluded([`test/!(${SERIAL.join('|')})/**`, 'test/*.test.ts', ...skippedFolders]),
    ],
    filters,
    nightly,
  });
  const total = {
    passed: parallel.passed + serial.passed,
    failed: parallel.failed + serial.failed,
    skipped: [...parallel.skipped, ...serial.skipped],
    failures: [...parallel.failures, ...serial.failures],
  };
  if (total.passed + total.failed + total.skipped.length > 0) return total;
  const what = filters.length === 0 ? 'there are no tests' : `no test file matches ${filters.join(' ')}`;
  return { ...total, failed: 1, failures: [what] };
};

const report = ({ passed, failed, skipped, failures }) => {
  console.log('');
  for (const { name, reason } of skipped) console.log(`skipped: ${name} (${reason})`);
  for (const failure of failures) console.log(`failed: ${failure}`);
  const counts = `${passed} passed, ${failed} failed`;
  console.log(skipped.length === 0 ? counts : `${counts}, ${skipped.length} skipped`);
};

const main = () => {
  requireNode();
  const settings = parseArguments(process.argv.slice(2));
  install();
  build();
  if (settings.check) runChecks();
  return runTests(settings);
};

let tally;
try {
  tally = main();
} catch (error) {
  // Whatever happens, the last line is the one that a program reads.
  const failure = error instanceof StepFailed ? `${error.message}; no test was run` : String(error.stack);
  tally = { ...NOTHING, failed: 1, failures: [failure] };
}
report(tally);
process.exitCode = tally.failed === 0 ? 0 : 1;
