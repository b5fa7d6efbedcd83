/**
 * A vitest reporter that writes the tally of a run as JSON to the file named in QFL_TEST_TALLY: passed, failed, and every skipped
 * test with its reason. A module that does not load and an error outside any test count as failures.
 */
import { writeFileSync } from 'node:fs';

const reasonOf = (testCase) => {
  const { note } = testCase.result();
  if (note !== undefined && note !== '') return note;
  for (let suite = testCase.parent; suite !== undefined; suite = suite.parent)
    if (suite.errors().length > 0) return 'its suite or file could not be set up';
  return testCase.options.mode === 'todo' ? 'to be written' : 'the name or its suite says why';
};

export default class TallyReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const tally = { passed: 0, failed: unhandledErrors.length, skipped: [], failures: [] };
    for (const error of unhandledErrors) tally.failures.push(`outside any test: ${error.message}`);
    for (const module of modules) this.#count(module, tally);
    writeFileSync(process.env.QFL_TEST_TALLY, JSON.stringify(tally));
  }

  #count(module, tally) {
    const file = module.relativeModuleId;
    // A failing hook of a suite, or a module that does not load, leaves tests without a result.
    const broken = [module, ...module.children.allSuites()].flatMap((one) => one.errors());
    for (const error of broken) tally.failures.push(`${file}: ${error.message}`);
    tally.failed += broken.length;
    for (const testCase of module.children.allTests()) {
      const { state } = testCase.result();
      const name = `${file} > ${testCase.fullName}`;
      if (state === 'passed') tally.passed += 1;
      else if (state === 'skipped') tally.skipped.push({ name, reason: reasonOf(testCase) });
      else {
        tally.failed += 1;
        tally.failures.push(name);
      }
    }
  }
}
