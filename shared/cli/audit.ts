/** `qfl audit …`: one file with the coordinator's and the sites' logs, and its offline check. */
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { type VerifyReport, verifyExport } from '../audit/verify.ts';
import { registerAuditLog } from './audit-log.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { printJson, run, say, table } from './output.ts';

const reportText = ({ outcome, findings, logs, manifest, manifestKey, notices }: VerifyReport): string =>
  [
    `Result: ${outcome}${manifestKey === 'embedded' ? ' (checked with the keys the file itself carries; give --trust to check who signed)' : ''}`,
    ...(manifest === undefined
      ? []
      : [
          `Federation ${manifest.organisation}, exported ${new Date(manifest.createdMs).toISOString()}, ground: ${manifest.ground}`,
        ]),
    '',
    table(
      ['log', 'entries', 'key'],
      logs.map((log) => [log.name, String(log.size), log.key ?? '–']),
    ),
    ...findings.map(
      ({ message, file, log, index }) =>
        `FOUND: ${[file ?? log, index === undefined ? undefined : `entry ${index}`].filter((part) => part !== undefined).join(', ')}: ${message}`,
    ),
    ...notices.map((text) => `note: ${text}`),
  ].join('\n');

/** Whole or not at all. */
const save = async (bytes: AsyncIterable<Uint8Array>, file: string): Promise<void> => {
  const partial = `${file}.partial`;
  try {
    await pipeline(bytes, createWriteStream(partial, { mode: 0o600 }));
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
};

export const registerAudit = (program: Command): void => {
  const audit = program.command('audit').description('the logs that prove what happened');
  registerAuditLog(audit);
  withTarget(
    audit.command('export').description("the coordinator's and all reachable sites' logs as one file"),
    'coordinator',
  )
    .requiredOption('--out <FILE>', 'file to write')
    .option('--ground <TEXT>', 'why, kept in the file', 'audit')
    .action((options: TargetOptions & { out: string; ground: string }) =>
      run(async () => {
        await withClient(connect(options, 'coordinator'), (client) =>
          save(client.bytes('POST', '/v1/audit/export', { body: { ground: options.ground } }), options.out),
        );
        if (options.json === true) printJson({ file: options.out });
        else
          say(
            `Written to ${options.out}. Check it anywhere, offline, with:  qfl audit verify ${options.out}`,
          );
      }, options.json ?? false),
    );
  audit
    .command('verify <FILE>')
    .description(
      'check an export, without network and without trust in who made it (exit 0 good, 2 tampered, 3 incomplete, 4 policy not met)',
    )
    .option('--trust <KEY...>', 'verifier keys that you got another way')
    .option('--json', 'print JSON')
    .action((file: string, options: { trust?: string[]; json?: boolean }) =>
      run(async () => {
        const report = await verifyExport(
          file,
          options.trust === undefined ? {} : { trustedKeys: options.trust },
        );
        if (options.json === true) printJson(report);
        else say(reportText(report));
        process.exitCode = report.exitCode;
      }, options.json ?? false),
    );
};
