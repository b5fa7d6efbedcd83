/** `qfl audit report`: signed reports from the log. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { QflError } from '../errors.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { momentOf, monthOf } from './moment.ts';
import { printJson, run, say } from './output.ts';

interface ReportOptions extends TargetOptions {
  readonly incident?: boolean;
  readonly privacy?: boolean;
  readonly monthly?: string;
  readonly from: string;
  readonly to?: string;
  readonly aware?: string;
  readonly out: string;
}

const writeAll = async (folder: string, files: Readonly<Record<string, string>>): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [name, text] of Object.entries(files))
    await writeFile(join(folder, name), text, { mode: 0o600 });
};

const incident = async (options: ReportOptions): Promise<void> => {
  const { from, to, aware, out } = options;
  const body = {
    fromMs: momentOf(from),
    toMs: to === undefined ? Date.now() : momentOf(to),
    ...(aware === undefined ? {} : { awareMs: momentOf(aware) }),
  };
  const { report, note, noticeDraft } = await withCoordinator(options, (coordinator) =>
    coordinator.audit.incident({ body }),
  );
  const files = {
    'report.json': `${JSON.stringify(report)}\n`,
    'report.note': note,
    'notice.md': noticeDraft,
  };
  await writeAll(out, files);
  if (options.json === true)
    return printJson({ folder: out, files: Object.keys(files), notifyByMs: report.notifyByMs });
  say(`Written to ${out}: ${Object.keys(files).join(', ')}.`);
  if (report.notifyByMs !== null)
    say(`The 72 hours of GDPR Art. 33 end on ${new Date(report.notifyByMs).toISOString()}.`);
};

const compliance = async (options: ReportOptions): Promise<void> => {
  const { out, monthly, from, to } = options;
  const period =
    monthly === undefined
      ? { fromMs: momentOf(from), toMs: to === undefined ? Date.now() : momentOf(to) }
      : monthOf(monthly);
  const kind = monthly === undefined ? ('privacy' as const) : ('monthly' as const);
  const { report, note, text } = await withCoordinator(options, (coordinator) =>
    coordinator.audit.report({ body: { kind, ...period } }),
  );
  const files = { 'report.json': `${JSON.stringify(report)}\n`, 'report.note': note, 'report.md': text };
  await writeAll(out, files);
  if (options.json === true) printJson({ folder: out, files: Object.keys(files), entries: report.entries });
  else say(`Written to ${out}: ${Object.keys(files).join(', ')}; ${report.entries} entries in the period.`);
};

export const registerAuditReport = (audit: Command): void => {
  withTarget(
    audit
      .command('report')
      .description('a signed report from the log alone: an incident, privacy, or a month'),
    'coordinator',
  )
    .option('--incident', 'what happened, with a drafted GDPR Art. 33 notice; the kind when none is named')
    .option('--privacy', 'who computed what, and what is left of the budgets')
    .option('--monthly <YYYY-MM>', 'the month in numbers: use, security, accounts, budgets')
    .option('--from <TIME>', 'ISO 8601, or 24h, 30d before now', '72h')
    .option('--to <TIME>', 'ISO 8601; now when left out')
    .option('--aware <TIME>', 'of an incident: when you became aware; the 72 hours begin here')
    .requiredOption('--out <DIR>', 'folder for report.json, report.note and the words')
    .action((options: ReportOptions) =>
      run(async () => {
        const kinds = [options.incident, options.privacy, options.monthly].filter(
          (kind) => kind !== undefined,
        );
        if (kinds.length > 1)
          throw new QflError('invalid_request', {
            detail: 'one report at a time: --incident, --privacy or --monthly',
          });
        return options.privacy === true || options.monthly !== undefined
          ? compliance(options)
          : incident(options);
      }, options.json ?? false),
    );
};
