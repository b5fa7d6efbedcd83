/** `qfl privacy …`: what is spent, what remains, and what that means. */
import type { Command } from 'commander';
import { z } from 'zod';
import { PrivacyExplanation } from '../wire/privacy.ts';
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

const LEDGER_WORDS: Readonly<Record<string, string>> = {
  site_lifetime: 'everybody together, for ever: the patient’s guarantee',
  asking_site_day: 'this asking site, per UTC day',
  department_day: 'this department, per UTC day',
  user_day: 'this user, per UTC day',
};

/** In words what the figures of `/privacy/explain` promise and what they do not. */
export const explanationText = ({ site, department, epsilon, ledgers }: PrivacyExplanation): string => {
  const rows = ledgers.map((one) => [
    one.ledger,
    String(one.budgetEpsilon),
    String(one.delta),
    one.order === null ? one.rule : `${one.rule}, order ${one.order}`,
    String(one.queriesInAll),
    String(one.queriesLeft),
    String(one.queriesByAddition),
    LEDGER_WORDS[one.ledger] ?? '',
  ]);
  const daily = ledgers.find(({ ledger }) => ledger === 'user_day');
  const lifetime = ledgers.find(({ ledger }) => ledger === 'site_lifetime');
  const binding = ledgers.reduce((least, one) => (one.queriesLeft < least.queriesLeft ? one : least));
  const overDays = (daily?.overDays ?? []).map(({ days, epsilonAnyMechanism, epsilonGaussian }) => {
    const gaussian =
      epsilonGaussian === null ? '' : ` (${epsilonGaussian.toFixed(0)} if all noise is Gaussian)`;
    return `  after ${days} days: ε ${epsilonAnyMechanism.toFixed(0)}${gaussian}`;
  });
  return [
    `A count with ε ${epsilon} at ${site}, department ${department} (discrete Laplace noise, scale ${Number((1 / epsilon).toPrecision(6))}):`,
    '',
    table(['ledger', 'budget ε', 'δ', 'rule', 'fit in all', 'fit now', 'by addition', 'who shares it'], rows),
    '',
    `The next ${binding.queriesLeft} such counts are accepted; then ${binding.ledger} refuses, before any data is read.`,
    '',
    'What a day that renews does not promise. A user who takes the whole daily budget every day learns at most:',
    ...overDays,
    'Nothing learnt expires at midnight. Only site_lifetime bounds it:',
    `  for ever, by all users and departments together: ε ${lifetime?.budgetEpsilon ?? '–'} at δ ${lifetime?.delta ?? '–'}; it never renews.`,
  ].join('\n');
};

export const registerPrivacy = (program: Command): void => {
  const privacy = program.command('privacy').description("a site's privacy ledger");
  withTarget(
    privacy.command('budgets').description('spent and remaining of every ledger, as this key meets them'),
    'agent',
  ).action((options: TargetOptions) =>
    run(async () => {
      const budgets = await withClient(connect(options, 'agent', 'user'), (client) =>
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
  withTarget(
    privacy
      .command('explain')
      .description('what a query of a given ε costs, how many fit, and what a daily budget does not promise'),
    'agent',
  )
    .option('--epsilon <DECIMAL>', "of the query; the site's default when left out")
    .action((options: TargetOptions & { epsilon?: string }) =>
      run(async () => {
        const query = options.epsilon === undefined ? '' : `?epsilon=${encodeURIComponent(options.epsilon)}`;
        const explanation = await withClient(connect(options, 'agent', 'user'), (client) =>
          client.json('GET', `/privacy/explain${query}`, PrivacyExplanation),
        );
        if (options.json === true) return printJson(explanation);
        say(explanationText(explanation));
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
