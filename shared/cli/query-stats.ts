/** `qfl query stats`: figures about the patients of all sites, with differential privacy. */
import type { Command } from 'commander';
import { z } from 'zod';
import { QflError } from '../errors.ts';
import { StatsPrice, StatsResult } from '../wire/stats.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { FIGURES, type Figure, type MeasureText, parseMeasure } from './measure-text.ts';
import { printJson, run, say } from './output.ts';
import { priceText, statsText } from './stats-text.ts';

interface StatsOptions extends TargetOptions {
  readonly count?: string;
  readonly where?: readonly string[];
  readonly cohort?: string;
  readonly sum?: readonly string[];
  readonly mean?: readonly string[];
  readonly quantiles?: readonly string[];
  readonly histogram?: readonly string[];
  readonly table?: readonly string[];
  readonly keys?: readonly string[];
  readonly delta?: string;
  readonly blocks?: string;
  readonly rows?: string;
  readonly epsilon?: string;
  readonly confidence: string;
  readonly sites?: readonly string[];
  readonly dryRun?: boolean;
  readonly masked?: boolean;
  readonly hideBelow?: string;
}

const DESCRIPTIONS: Readonly<Record<Figure, string>> = {
  sum: 'sum of a number, such as "value mg 0..500 step 5"',
  mean: 'mean of a number, such as "value % 3..15 step 0.1 take 1 latest of Observation?code=4548-4"',
  quantiles: 'quantiles of a number, such as "0.25,0.5,0.75 age 0..110"',
  histogram: 'counts by bins of one variable, such as "age 0..100 step 10"',
  table: 'counts by bins of several variables, such as "gender age 0,50,110"',
  keys: 'counts by the codes or statuses that occur, told above a threshold, such as "code take 4 of Condition"; charges a delta too',
};

/** Figures in the order of their kinds; with only a cohort, the number of patients. */
const measuresOf = (options: StatsOptions): MeasureText[] => {
  const given = FIGURES.flatMap((figure) =>
    (options[figure] ?? []).map((text) => parseMeasure(figure, text)),
  );
  const { rows, delta } = options;
  const withDelta =
    delta === undefined ? given : given.map((one) => (one['keys'] === 'unknown' ? { delta, ...one } : one));
  return rows === undefined ? withDelta : withDelta.map((one) => withRows(one, rows));
};

/** `--rows` names the rows of every figure that names none itself. */
const withRows = (measure: MeasureText, of: string): MeasureText => {
  const own = z.looseObject({}).safeParse(measure['rows'] ?? {}).data;
  return { ...measure, rows: { of, ...own } };
};

/** `2026-01..2026-03`, or one month. */
export const blocksOf = (text: string): { from: string; to: string } => {
  const [from = '', to = from] = text.split('..');
  return { from, to };
};

const bodyOf = (options: StatsOptions): Record<string, unknown> => {
  const { count, where = [], cohort, epsilon, sites, dryRun = false, confidence } = options;
  if ((count === undefined) === (cohort === undefined))
    throw new QflError('invalid_request', {
      detail: 'name the patients by --count or by --cohort, one of them',
      next: 'For example --count Condition --where code=44054006, or --cohort "Condition?code=44054006 and not Patient?age=ge80".',
    });
  const measures = measuresOf(options);
  return {
    ...(count === undefined ? { cohort } : { count, where }),
    // What is asked by --count is the count, and whatever else is named.
    ...(measures.length === 0
      ? {}
      : { measures: count === undefined ? measures : [{ measure: 'count' }, ...measures] }),
    ...(epsilon === undefined ? {} : { epsilon }),
    ...(sites === undefined ? {} : { sites }),
    ...(options.blocks === undefined ? {} : { blocks: blocksOf(options.blocks) }),
    confidence: Number(confidence),
    ...(options.masked === true ? { masked: true } : {}),
    dryRun,
  };
};

const ask = (options: StatsOptions): Promise<void> =>
  run(async () => {
    const body = bodyOf(options);
    const hideBelow = options.hideBelow === undefined ? undefined : Number(options.hideBelow);
    const result = await withClient(connect(options, 'agent', 'user'), (client) =>
      client.json('POST', '/v1/stats', z.union([StatsResult, StatsPrice]), { body }),
    );
    const asked = options.cohort ?? [options.count ?? '', ...(options.where ?? [])].join(' with ');
    if (options.json === true) printJson(result);
    else if ('dryRun' in result) say(priceText(result, asked));
    else say(statsText(result, { asked, confidence: Number(options.confidence), hideBelow }));
  }, options.json ?? false);

/** Every use of the option adds one. */
const collected = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

export const registerQueryStats = (query: Command): void => {
  const command = withTarget(
    query.command('stats').description('figures about the patients of every site, with differential privacy'),
    'agent',
  )
    .option('--count <TYPE>', 'counts patients with a FHIR resource of this type, such as Condition')
    .option(
      '--where <CONDITION...>',
      'with --count: code=SYSTEM|CODE, code=CODE, term=Asthma, "value=ge6.5 %", date=ge2020, age=ge65, gender=…, status=…; all must hold',
    )
    .option(
      '--cohort <TEXT>',
      'whose figures: such parts joined by and, or, not, as in "Condition?term=Asthma and not Patient?age=lt18"',
    );
  for (const figure of FIGURES) command.option(`--${figure} <TEXT>`, DESCRIPTIONS[figure], collected);
  command
    .option('--rows <TYPE?CONDITIONS>', 'rows that figures look at, where they name none by "of"')
    .option(
      '--epsilon <DECIMAL>',
      "charge per site for all figures together; the site's default (0.1) when left out",
    )
    .option('--confidence <SHARE>', 'of the intervals', '0.95')
    .option('--sites <SITE...>', 'ask these sites; all with records when left out')
    .option(
      '--delta <DECIMAL>',
      'of --keys: the odds of telling a key that a single patient has; 1e-9 when left out',
    )
    .option(
      '--blocks <FROM..TO>',
      'patients first admitted in these months, such as 2026-01..2026-03, at sites that keep data blocks',
    )
    .option(
      '--masked',
      'a sealed round: nobody sees what a single site says, only the sum; one count, histogram or table',
    )
    .option('--dry-run', 'say what it would cost, and ask nobody')
    .option('--hide-below <COUNT>', 'leave cells with a smaller noisy count out of the printed tables')
    .action((options: StatsOptions) => ask(options));
};
