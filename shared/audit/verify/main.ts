#!/usr/bin/env node
/**
 * `qfl-verify FILE`: checks an audit export. A program of its own: it imports nothing of the agent or the coordinator, opens no connection and no
 * store, so that an auditor can read all of it.
 */
import { parseArgs } from 'node:util';
import { toQflError } from '../../errors.ts';
import { findingText, headText, logRow, nextText, verifyFile } from './command.ts';

const USAGE = `qfl-verify FILE [--policy FILE] [--trust KEY]… [--since CHECKPOINT] [--identity FILE] [--json]
exit code: 0 good, 2 tampered, 3 incomplete, 4 policy not met (or none given), 1 could not be checked
`;

const main = async (): Promise<number> => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      policy: { type: 'string' },
      trust: { type: 'string', multiple: true },
      since: { type: 'string' },
      identity: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [file] = positionals;
  if (values.help || file === undefined || positionals.length > 1) {
    process.stderr.write(USAGE);
    return values.help ? 0 : 1;
  }
  const report = await verifyFile(file, values);
  const lines = values.json
    ? [JSON.stringify(report, undefined, 2)]
    : [
        ...headText(report),
        ...report.logs.map((log) => `  ${logRow(log).join('  ')}`),
        ...report.findings.map(findingText),
        ...nextText(report),
      ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return report.exitCode;
};

try {
  process.exitCode = await main();
} catch (thrown) {
  const { message, next } = toQflError(thrown);
  process.stderr.write(
    `error: ${thrown instanceof TypeError ? thrown.message : message}\n${next === undefined ? '' : `next:  ${next}\n`}`,
  );
  process.exitCode = 1;
}
