/**
 * `npm run bench -- NAME [ARGUMENTS] [--json]`: builds, then runs the benchmark NAME. Without a name, lists what there is. Each is a
 * file of this folder that exports `run({ json, args })`, and `usage` when it takes arguments.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, install, requireNode, root, runScript, StepFailed } from '../../deploy/scripts/toolchain.mjs';

const RUNS = /^export (?:async )?(?:const|function) run\b/m;

const names = () =>
  readdirSync(join(root, 'test/bench'))
    .filter((file) => file.endsWith('.ts') && RUNS.test(readFileSync(join(root, 'test/bench', file), 'utf8')))
    .map((file) => file.slice(0, -'.ts'.length))
    .toSorted();

await runScript(async () => {
  const args = process.argv.slice(2);
  const json = args.includes('--json');
  const [name, ...rest] = args.filter((arg) => arg !== '--json');
  const list = `npm run bench -- NAME [--json], where NAME is one of: ${names().join(', ')}`;
  if (name === undefined) {
    console.log(list);
    return 0;
  }
  if (!names().includes(name)) throw new StepFailed(`there is no benchmark "${name}"\n${list}`);
  requireNode();
  install();
  build();
  const { run, usage } = await import(pathToFileURL(join(root, 'dist/test/bench', `${name}.js`)).href);
  if (rest.length > 0 && usage === undefined)
    throw new StepFailed(`the benchmark "${name}" takes no arguments but --json`);
  try {
    await run({ json, args: rest });
  } catch (error) {
    if (usage === undefined || error?.code === undefined) throw error;
    throw new StepFailed(`${error.message}\nusage: npm run bench -- ${name} ${usage} [--json]`);
  }
  return 0;
});
