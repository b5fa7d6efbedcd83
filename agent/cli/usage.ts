/** `qfl agent usage`: what each department used, for chargeback. */
import type { Command } from 'commander';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { momentOf, monthOf } from '../../shared/cli/moment.ts';
import { printJson, run, say, table } from '../../shared/cli/output.ts';
import { AgentUsageReport } from '../../shared/wire/reports.ts';
import { agentUsageCsv } from '../usage.ts';

interface UsageOptions extends TargetOptions {
  readonly from?: string;
  readonly to?: string;
  readonly month?: string;
  readonly csv?: boolean;
}

const periodOf = ({ from, to, month }: UsageOptions): Record<string, string> => {
  if (month !== undefined) {
    const { fromMs, toMs } = monthOf(month);
    return { fromMs: String(fromMs), toMs: String(toMs) };
  }
  return {
    ...(from === undefined ? {} : { fromMs: String(momentOf(from)) }),
    ...(to === undefined ? {} : { toMs: String(momentOf(to)) }),
  };
};

export const registerUsage = (agent: Command): void => {
  withTarget(
    agent
      .command('usage')
      .description("who used this site's agent and budgets how much, department by department"),
    'agent',
  )
    .option('--from <TIME>', 'ISO 8601, or 24h, 30d before now; the beginning when left out')
    .option('--to <TIME>', 'ISO 8601; now when left out')
    .option('--month <YYYY-MM>', 'a month instead')
    .option('--csv', 'print CSV')
    .action((options: UsageOptions) =>
      run(async () => {
        const query = new URLSearchParams(periodOf(options)).toString();
        const report = await withClient(connect(options, 'agent'), (client) =>
          client.json('GET', `/v1/usage?${query}`, AgentUsageReport),
        );
        if (options.json === true) return printJson(report);
        if (options.csv === true) return void process.stdout.write(agentUsageCsv(report));
        const number = (value: number | null): string => (value === null ? '–' : String(value));
        say(
          table(
            ['site', 'department', 'chats', 'statistics', 'charged', 'refunded', 'cost (2^-40 nat)'],
            report.departments.map((row) => [
              row.site,
              row.department ?? '(key is gone)',
              number(row.chatsAsked),
              number(row.statisticsAsked),
              String(row.queriesCharged),
              String(row.queriesRefunded),
              row.costUnits,
            ]),
          ),
        );
      }, options.json ?? false),
    );
};
