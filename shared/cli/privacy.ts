/** `qfl privacy …`: what is spent, what remains, and what that means. */
import type { Command } from 'commander';
import { z } from 'zod';
import { LedgerShown } from '../wire/stats.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { printJson, run, say, table } from './output.ts';

const Budgets = z.object({
  site: z.string(),
  department: z.string(),
  ledgers: z.array(LedgerShown),
  meaning: z.string(),
});
const History = z.object({
  entries: z.array(
    z.object({
      counter: z.int(),
      hash: z.string(),
      record: z.looseObject({
        type: z.string(),
        atMs: z.number().optional(),
        sender: z.string().optional(),
        department: z.string().optional(),
        queryId: z.string().optional(),
        reserved: z.int().optional(),
      }),
    }),
  ),
});

/** What a record is about, in a few words. */
const aboutOf = ({
  sender,
  department,
  queryId,
  reserved,
}: z.infer<typeof History>['entries'][number]['record']): string => {
  if (queryId !== undefined) return `query ${queryId} of ${sender ?? '?'}, department ${department ?? '?'}`;
  return reserved === undefined ? '' : `record ${reserved}`;
};

export const registerPrivacy = (program: Command): void => {
  const privacy = program.command('privacy').description("a site's privacy ledger");
  withTarget(
    privacy.command('budgets').description('spent and remaining of every ledger, as this key meets them'),
    'agent',
  ).action((options: TargetOptions) =>
    run(async () => {
      const budgets = await withClient(connect(options, 'agent', true), (client) =>
        client.json('GET', '/privacy/budgets', Budgets),
      );
      if (options.json === true) return printJson(budgets);
      const rows = budgets.ledgers.map((one) => [
        one.ledger,
        String(one.budgetEpsilon),
        one.spentEpsilon.toFixed(3),
        one.remainingEpsilon.toFixed(3),
        one.renewsAtMs === null ? 'never' : new Date(one.renewsAtMs).toISOString(),
      ]);
      say(`Site ${budgets.site}, department ${budgets.department} (ε shares of each budget):\n`);
      say(table(['ledger', 'budget ε', 'spent', 'left', 'renews'], rows));
      say(`\n${budgets.meaning}`);
    }, options.json ?? false),
  );
  withTarget(privacy.command('history').description('records of the ledger, newest first'), 'agent')
    .option('--limit <COUNT>', 'records', '20')
    .action((options: TargetOptions & { limit: string }) =>
      run(async () => {
        const { entries } = await withClient(connect(options, 'agent'), (client) =>
          client.json('GET', `/privacy/history?limit=${encodeURIComponent(options.limit)}`, History),
        );
        if (options.json === true) return printJson(entries);
        const rows = entries.map(({ counter, record, hash }) => [
          String(counter),
          record.type,
          record.atMs === undefined ? '–' : new Date(record.atMs).toISOString(),
          aboutOf(record),
          hash.slice(0, 16),
        ]);
        say(table(['record', 'kind', 'when', 'about', 'hash'], rows));
      }, options.json ?? false),
    );
};
