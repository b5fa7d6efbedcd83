/** `npm run golden -- FILE…`: builds, then checks the accountant against the reference files. */
import { resolve } from 'node:path';
import {
  build,
  install,
  requireNode,
  root,
  runScript,
  runStep,
  StepFailed,
} from '../../deploy/scripts/toolchain.mjs';

await runScript(() => {
  // npm runs scripts in the project's folder; names are meant from where the user stands.
  const from = process.env.INIT_CWD ?? process.cwd();
  const files = process.argv.slice(2).map((file) => resolve(from, file));
  if (files.length === 0) throw new StepFailed('npm run golden -- FILE…: name at least one reference file');
  requireNode();
  install();
  build();
  runStep('the check against reference files', process.execPath, [
    '--enable-source-maps',
    resolve(root, 'dist/test/bench/golden.js'),
    ...files,
  ]);
});
