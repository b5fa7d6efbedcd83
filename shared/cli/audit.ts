/** `qfl audit …`: one file with the coordinator's and the sites' logs, its offline check, and reports from the log. */
import { stat } from 'node:fs/promises';
import cliProgress from 'cli-progress';
import type { Command } from 'commander';
import { findingText, headText, LOG_HEAD, logRow, nextText, verifyFile } from '../audit/verify/command.ts';
import type { VerifyReport } from '../audit/verify/verify.ts';
import { registerAuditExport } from './audit-export.ts';
import { registerAuditLog } from './audit-log.ts';
import { registerAuditReport } from './audit-report.ts';
import { note, printJson, run, say, table } from './output.ts';

/** From here on a bar is shown. */
const LARGE_BYTES = 64 * 1024 * 1024;

const reportText = (report: VerifyReport): string =>
  [
    ...headText(report),
    '',
    table(LOG_HEAD, report.logs.map(logRow)),
    ...report.findings.map(findingText),
  ].join('\n');

interface VerifyOptions {
  readonly policy?: string;
  readonly trust?: string[];
  readonly since?: string;
  readonly identity?: string;
  readonly json?: boolean;
}

/** How much of the file is read; nothing for small files and for programs. */
const progressOf = async (file: string, { json }: VerifyOptions) => {
  const size = await stat(file).then(
    ({ size: bytes }) => bytes,
    () => 0,
  );
  if (json === true || size < LARGE_BYTES || !process.stderr.isTTY) return undefined;
  const bar = new cliProgress.SingleBar(
    { format: 'verifying |{bar}| {percentage} %', stream: process.stderr, hideCursor: true },
    cliProgress.Presets.shades_classic,
  );
  bar.start(size, 0);
  return bar;
};

const verify = async (file: string, options: VerifyOptions): Promise<void> => {
  const bar = await progressOf(file, options);
  try {
    const report = await verifyFile(file, {
      ...options,
      ...(bar === undefined ? {} : { progress: (bytes: number) => bar.update(bytes) }),
    });
    bar?.stop();
    if (options.json === true) printJson(report);
    else {
      say(reportText(report));
      for (const line of nextText(report)) note(line);
    }
    process.exitCode = report.exitCode;
  } finally {
    bar?.stop();
  }
};

export const registerAudit = (program: Command): void => {
  const audit = program.command('audit').description('the logs that prove what happened');
  registerAuditLog(audit);
  registerAuditExport(audit);
  registerAuditReport(audit);
  audit
    .command('verify <FILE>')
    .description(
      'check an export, without network and without trust in who made it (exit 0 good, 2 tampered, 3 incomplete, 4 policy not met or none given)',
    )
    .option('--policy <FILE>', 'whose signatures count; from a hospital: "qfl audit policy"')
    .option(
      '--trust <KEY...>',
      'instead of a policy: verifier keys that you got another way; no cosignatures are asked for',
    )
    .option('--since <CHECKPOINT>', 'a checkpoint that you hold from an earlier export')
    .option('--identity <FILE>', 'your age identity, where the export is encrypted')
    .option('--json', 'print JSON')
    .action((file: string, options: VerifyOptions) =>
      run(() => verify(file, options), options.json ?? false),
    );
};
