/** `qfl query ask`: a question over the records of every site, answered from noisy counts. */
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { type AskAnswered, type AskPlanned, AskResult } from '../wire/ask.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { inPercent, printJson, run, say, table } from './output.ts';
import { blocksOf } from './query-stats.ts';
import { comparisonsText } from '../wire/keys.ts';

interface AskOptions extends TargetOptions {
  readonly method: string;
  readonly epsilon?: string;
  readonly k?: string;
  readonly confidence: string;
  readonly site?: readonly string[];
  readonly blocks?: string;
  readonly rewrite?: boolean;
  readonly dryRun?: boolean;
  readonly terms?: boolean;
}

const Terms = z.looseObject({
  list: z.looseObject({ version: z.string(), hash: z.string() }),
  terms: z.array(
    z.looseObject({
      id: z.string(),
      group: z.string(),
      name: z.string(),
      synonyms: z.array(z.string()),
    }),
  ),
});

const LEDGERS = ['user_day', 'department_day', 'asking_site_day', 'site_lifetime'] as const;
type Ledgers = AskPlanned['ledgers'];

const remaining = (ledgers: Ledgers): string[] =>
  LEDGERS.map((name) => ledgers.find(({ ledger }) => ledger === name)?.remainingEpsilon.toFixed(3) ?? '–');
const LEDGER_HEADS = ['left: user', 'department', 'asking site', 'lifetime'];

const itemRows = ({ items }: AskAnswered): string[][] =>
  items.map(({ name, count, interval }) => [name, count, `${interval.low} … ${interval.high}`]);

const siteRows = ({ sites, privacy }: AskAnswered): string[][] =>
  sites.map((one) =>
    one.status === 'answered'
      ? [one.site, 'answered', String(privacy.epsilonPerSite), ...remaining(one.ledgers)]
      : [one.site, `refused: ${one.code}`, '0', '–', '–', '–', '–'],
  );

const listHead = ({ visibility, confidence }: AskAnswered): string[] => [
  'term',
  `noisy count of ${visibility.unit}`,
  `${inPercent(confidence)} % interval`,
];

const answerText = (result: AskAnswered): string =>
  [
    result.answer,
    ...(result.rewritten ? ['', `From the noisy counts alone: ${result.facts}`] : []),
    ...(result.items.length > 0 ? ['', table(listHead(result), itemRows(result))] : []),
    '',
    result.explanation,
    '',
    table(['site', 'status', 'ε charged', ...LEDGER_HEADS], siteRows(result)),
    ...comparisonsText(result.comparisons),
    ...(result.complete ? [] : ['', 'Not every site asked has answered; the numbers cover those that did.']),
    '',
    `Fetch it again with "GET /v1/ask/${result.queryId}".`,
  ].join('\n');

const planText = (plan: AskPlanned): string =>
  [
    plan.understood === null
      ? 'A free question: models would be asked, shard by shard.'
      : `Understood: ${plan.understood.what}, of ${plan.understood.who}.`,
    `Would ask: ${plan.sites.length === 0 ? 'no site can be reached now' : plan.sites.join(', ')}.`,
    ...comparisonsText(plan.comparisons),
    `${plan.fits ? 'It fits' : 'It does not fit'} what is left here. Nothing was asked and nothing was charged.`,
    '',
    plan.explanation,
    '',
    table(LEDGER_HEADS, [remaining(plan.ledgers)]),
  ].join('\n');

const bodyOf = (question: string, options: AskOptions) => ({
  question,
  method: options.method,
  confidence: Number(options.confidence),
  dryRun: options.dryRun === true,
  ...(options.epsilon === undefined ? {} : { epsilon: options.epsilon }),
  ...(options.k === undefined ? {} : { k: Number(options.k) }),
  ...(options.site === undefined ? {} : { sites: options.site }),
  ...(options.blocks === undefined ? {} : { blocks: blocksOf(options.blocks) }),
  ...(options.rewrite === undefined ? {} : { rewrite: options.rewrite }),
});

const printTerms = async (options: AskOptions): Promise<void> => {
  const found = await withClient(connect(options, 'agent', 'user'), (client) =>
    client.json('GET', '/v1/ask/terms', Terms),
  );
  if (options.json === true) return printJson(found);
  say(
    table(
      ['kind', 'term', 'also'],
      found.terms.map(({ group, name, synonyms }) => [group, name, synonyms.join(', ')]),
    ),
  );
};

const ask = async (question: string | undefined, options: AskOptions): Promise<void> => {
  if (options.terms === true) return printTerms(options);
  if (question === undefined)
    throw new QflError('invalid_request', {
      detail: 'no question was given',
      next: 'qfl query ask "which medications do patients with diabetes take?"',
    });
  const result = await withClient(connect(options, 'agent', 'user'), (client) =>
    client.json('POST', '/v1/ask', AskResult, { body: bodyOf(question, options) }),
  );
  if (options.json === true) printJson(result);
  else say(result.kind === 'plan' ? planText(result) : answerText(result));
};

export const registerQueryAsk = (query: Command): void => {
  withTarget(
    query
      .command('ask [QUESTION]')
      .description('ask about groups of patients over the records of every site, with differential privacy'),
    'agent',
  )
    .addOption(
      new Option(
        '--method <METHOD>',
        'concepts: no model; shards: models read; auto: what the question needs',
      )
        .choices(['concepts', 'shards', 'auto'])
        .default('auto'),
    )
    .option('--epsilon <DECIMAL>', "charge per site; the site's default (0.1) when left out")
    .option('--k <COUNT>', 'terms a patient counts for at most, 1 to 16; more terms, more noise')
    .option('--confidence <SHARE>', 'of the intervals', '0.95')
    .option('--site <NAME...>', 'only these sites')
    .option(
      '--blocks <FROM..TO>',
      'patients first admitted in these months, such as 2026-01..2026-03, at sites that keep data blocks',
    )
    .option('--rewrite', "let this site's model word the answer from the noisy counts")
    .option('--no-rewrite', 'never let a model word the answer')
    .option('--dry-run', 'say what would be asked and charged, and stop there')
    .option('--terms', 'print the list of terms')
    .action((question: string | undefined, options: AskOptions) =>
      run(() => ask(question, options), options.json ?? false),
    );
};
