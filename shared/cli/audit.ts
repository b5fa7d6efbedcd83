/** `qfl audit …`: one file with the coordinator's and the sites' logs, and its offline check. */
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { type VerifyReport, verifyExport } from '../audit/verify.ts';
import { DAY_MS, HOUR_MS } from '../clock.ts';
import { QflError } from '../errors.ts';
import { registerAuditLog } from './audit-log.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
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

/** A moment as ISO 8601, or so many hours or days ago: `24h`, `30d`. */
const momentOf = (text: string): number => {
  const [, count, unit] = /^(\d+)(h|d)$/.exec(text) ?? [];
  if (count !== undefined) return Date.now() - Number(count) * (unit === 'h' ? HOUR_MS : DAY_MS);
  const timeMs = Date.parse(text);
  if (Number.isNaN(timeMs))
    throw new QflError('invalid_request', {
      detail: `"${text}" is no time`,
      next: 'Give it as 2026-11-20T08:00:00Z, or as 24h or 30d before now.',
    });
  return timeMs;
};

interface IncidentOptions extends TargetOptions {
  readonly from: string;
  readonly to?: string;
  readonly aware?: string;
  readonly out: string;
}

const registerIncident = (audit: Command): void => {
  withTarget(
    audit
      .command('report')
      .description('a signed report of what happened, and a drafted GDPR Art. 33 notice'),
    'coordinator',
  )
    .option('--incident', 'an incident report (the only kind so far)')
    .option('--from <TIME>', 'ISO 8601, or 24h, 30d before now', '72h')
    .option('--to <TIME>', 'ISO 8601; now when left out')
    .option('--aware <TIME>', 'when you became aware: the 72 hours begin here')
    .requiredOption('--out <DIR>', 'folder for report.json, report.note and notice.md')
    .action((options: IncidentOptions) =>
      run(async () => {
        const { from, to, aware, out } = options;
        const body = {
          fromMs: momentOf(from),
          toMs: to === undefined ? Date.now() : momentOf(to),
          ...(aware === undefined ? {} : { awareMs: momentOf(aware) }),
        };
        const { report, note, noticeDraft } = await withCoordinator(options, (coordinator) =>
          coordinator.audit.incident({ body }),
        );
        await mkdir(out, { recursive: true, mode: 0o700 });
        const files = {
          'report.json': `${JSON.stringify(report)}\n`,
          'report.note': note,
          'notice.md': noticeDraft,
        };
        for (const [name, text] of Object.entries(files))
          await writeFile(join(out, name), text, { mode: 0o600 });
        if (options.json === true)
          return printJson({ folder: out, files: Object.keys(files), notifyByMs: report.notifyByMs });
        say(`Written to ${out}: ${Object.keys(files).join(', ')}.`);
        if (report.notifyByMs !== null)
          say(`The 72 hours of GDPR Art. 33 end on ${new Date(report.notifyByMs).toISOString()}.`);
      }, options.json ?? false),
    );
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
  registerIncident(audit);
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
