/** How results of statistics and their prices are printed for people. */
import type { MeasureResult, StatsPrice, StatsResult, StatsSiteResult } from '../wire/stats.ts';
import { inPercent, table } from './output.ts';
import { comparisonsText } from '../wire/keys.ts';

const LEDGERS = ['user_day', 'department_day', 'asking_site_day', 'site_lifetime'] as const;
const LEFT = ['left: user', 'department', 'asking site', 'lifetime'];
const NOTHING = '–';

interface Figure {
  readonly value: string | null;
  readonly interval: { readonly low: string; readonly high: string } | null;
}

const value = ({ value: shown }: Figure): string => shown ?? 'not known';
const interval = ({ interval: shown }: Figure): string =>
  shown === null ? NOTHING : `${shown.low} … ${shown.high}`;

/** How a mechanism is named: its kind and the width of its noise. */
export const mechanismText = (mechanism: MeasureResult['mechanisms'][number]): string => {
  const ratio = ([numerator, denominator]: readonly [string, string]): number =>
    Number(numerator) / Number(denominator);
  const short = (number: number): string => String(Number(number.toPrecision(4)));
  switch (mechanism.kind) {
    case 'discrete_laplace':
      return `discrete Laplace, scale ${short(ratio(mechanism.scale))}`;
    case 'discrete_gaussian':
      return `discrete Gaussian, sigma ${short(Math.sqrt(ratio(mechanism.sigmaSquared)))}`;
    case 'thresholded_histogram':
      return `${mechanismText(mechanism.noise)}, told from a noisy count of ${mechanism.threshold} on`;
    case 'distributed_gaussian':
      return `discrete Gaussian in ${mechanism.shares} shares, sigma ${short(Math.sqrt(mechanism.shares * ratio(mechanism.sigmaSquared)))} in all`;
    case 'exponential':
      return `exponential mechanism, ε ${short(ratio(mechanism.epsilon))}, ${mechanism.candidates} candidates`;
    case 'permute_and_flip':
      break;
  }
  return `permute and flip, ε ${short(ratio(mechanism.epsilon))}, ${mechanism.candidates} candidates`;
};

const noiseLine = ({ mechanisms }: MeasureResult, where = 'at each site'): string =>
  `noise ${where}: ${[...new Set(mechanisms.map(mechanismText))].join('; ')}`;

type Table = Extract<MeasureResult, { measure: 'table' }>;

/** Only noisy counts decide what is hidden: what is not shown says nothing more about the records. */
const tableText = ({ dimensions, cells }: Table, hideBelow: number | undefined): string => {
  const shown = cells.filter(
    (cell) => hideBelow === undefined || (cell.value !== null && Number(cell.value) >= hideBelow),
  );
  const hidden = cells.length - shown.length;
  return [
    `patients by ${dimensions.map(({ name }) => name).join(', ')}`,
    table(
      [...dimensions.map(({ name }) => name), 'noisy count', 'interval'],
      shown.map((cell) => [...cell.bins, value(cell), interval(cell)]),
    ),
    ...(hidden === 0 ? [] : [`${hidden} cells with a noisy count below ${hideBelow} are not shown.`]),
  ].join('\n');
};

type KeyedTable = Extract<MeasureResult, { measure: 'keyed_table' }>;

const hiddenLine = ({ hidden }: KeyedTable): string => {
  const rules = new Set(
    hidden.map(
      ({ threshold, delta }) =>
        `below a noisy count of ${threshold} (odds of telling one that a single patient has: ${Number(delta.toPrecision(3))})`,
    ),
  );
  return `Hidden at each site, and not said how many: keys ${[...rules].join('; ')}.`;
};

/** The sums are over the sites that tell a key; the intervals leave room for those that hide it. */
const keyedText = (result: KeyedTable, hideBelow: number | undefined): string => {
  const { dimensions, cells, hidden } = result;
  const shown = cells.filter(
    (cell) => hideBelow === undefined || (cell.value !== null && Number(cell.value) >= hideBelow),
  );
  return [
    `patients by ${dimensions.join(', ')}, as far as it is told`,
    ...(shown.length === 0
      ? ['  no key reaches the threshold']
      : [
          table(
            [...dimensions, 'noisy count', 'interval', 'told by'],
            shown.map((cell) => [
              ...cell.bins,
              value(cell),
              interval(cell),
              `${cell.toldBy} of ${hidden.length} sites`,
            ]),
          ),
        ]),
    hiddenLine(result),
  ].join('\n');
};

const percent = (quantile: string): string => `${inPercent(Number(quantile))} %`;

const titles: Readonly<Record<MeasureResult['measure'], string>> = {
  count: 'count',
  sum: 'sum',
  mean: 'mean',
  quantiles: 'quantiles',
  table: 'table',
  keyed_table: 'table',
};

const withInterval = (figure: Figure, confidence: number): string =>
  figure.interval === null
    ? value(figure)
    : `${value(figure)}  (${inPercent(confidence)} % interval: ${interval(figure)})`;

const measureText = (result: MeasureResult, confidence: number, hideBelow: number | undefined): string => {
  switch (result.measure) {
    case 'count':
      return `number of ${result.of}: ${withInterval(result, confidence)}`;
    case 'sum':
      return `sum: ${withInterval(result, confidence)} ${result.unit}`;
    case 'mean':
      return [
        result.value === null
          ? 'mean: not known; the noise leaves open whether there is any row at all'
          : `mean: ${withInterval(result, confidence)} ${result.unit}`,
        `  over ${withInterval(result.count, confidence)} rows`,
      ].join('\n');
    case 'quantiles':
      return [
        `quantiles, ${result.unit}`,
        table(
          ['quantile', 'value', 'interval', 'rank within'],
          result.points.map((point) => [
            percent(point.quantile),
            value(point),
            interval(point),
            point.rankWithin === null ? NOTHING : `${point.rankWithin} rows of the best`,
          ]),
        ),
      ].join('\n');
    case 'keyed_table':
      return keyedText(result, hideBelow);
    case 'table':
      break;
  }
  return tableText(result, hideBelow);
};

const remaining = (site: StatsSiteResult): string[] =>
  site.status === 'answered'
    ? LEDGERS.map(
        (ledger) =>
          site.answer.ledgers.find((shown) => shown.ledger === ledger)?.remainingEpsilon.toFixed(3) ??
          NOTHING,
      )
    : LEDGERS.map(() => NOTHING);

/** What could not be answered, and why. */
const refusals = (result: StatsResult): string[] =>
  result.complete
    ? comparisonsText(result.comparisons)
    : [
        ...comparisonsText(result.comparisons),
        '',
        'Not every site asked has answered; the figures cover those that did.',
        ...result.sites.flatMap((one) =>
          one.status === 'refused' ? [`  ${one.site}: ${one.detail ?? one.code}`] : [],
        ),
      ];

const siteFigure = (site: StatsSiteResult): readonly [string, string] => {
  if (site.status === 'refused') return ['refused', site.code];
  const [first] = site.measures;
  return first?.measure === 'count' || first?.measure === 'sum' || first?.measure === 'mean'
    ? [value(first), interval(first)]
    : ['answered', NOTHING];
};

/** Of a sealed round nobody has figures of single sites. */
const maskedLine = ({ round, sites, survivors }: NonNullable<StatsResult['masked']>): string =>
  [
    `Summed in sealed round ${round} over ${survivors.join(', ')}: nobody has seen what one of them said.`,
    ...(survivors.length === sites.length
      ? []
      : [`Not in it: ${sites.filter((site) => !survivors.includes(site)).join(', ')}.`]),
  ].join('\n');

const sitesTable = (result: StatsResult, head: string): string =>
  result.masked !== undefined
    ? maskedLine(result.masked)
    : table(
        ['site', head, 'interval', 'ε charged', ...LEFT],
        result.sites.map((one) => [
          one.site,
          ...siteFigure(one),
          one.status === 'answered' ? String(result.epsilonPerSite) : '0',
          ...remaining(one),
        ]),
      );

/** A site that keeps data blocks reads some admission months and not the others. */
const blockLines = (result: StatsResult): string[] => {
  const lines = result.sites.flatMap((one) =>
    one.status === 'answered' && one.answer.blocks !== undefined
      ? [`  ${one.site}: patients first admitted from ${one.answer.blocks.from} to ${one.answer.blocks.to}`]
      : [],
  );
  return lines.length === 0 ? [] : ['', 'Read by admission month:', ...lines];
};

export interface TextOptions {
  readonly asked: string;
  readonly confidence: number;
  readonly hideBelow?: number | undefined;
}

export const statsText = (result: StatsResult, { asked, confidence, hideBelow }: TextOptions): string => {
  const [first, ...others] = result.measures;
  if (first?.measure === 'count' && first.of === 'patients' && others.length === 0) {
    const shown =
      first.interval === null
        ? ''
        : `  (${inPercent(confidence)} % interval from the noise alone: ${interval(first)})`;
    return [
      `${asked}: ${value(first)} patients${shown}`,
      '',
      sitesTable(result, 'noisy count'),
      ...blockLines(result),
      ...refusals(result),
    ].join('\n');
  }
  return [
    asked,
    ...result.measures.flatMap((measure) => [
      '',
      measureText(measure, confidence, hideBelow),
      noiseLine(measure, result.masked === undefined ? undefined : 'in all'),
    ]),
    '',
    'Intervals are from the noise alone.',
    '',
    sitesTable(result, first === undefined ? 'answer' : titles[first.measure]),
    ...blockLines(result),
    ...refusals(result),
  ].join('\n');
};

const renewal = (renewsAtMs: number | null): string =>
  renewsAtMs === null ? 'never' : new Date(renewsAtMs).toISOString().slice(0, 16).replace('T', ' ');

/** What thresholds may fail with, where this site keeps a share of delta for them. */
const deltaLines = ({ ledgers }: StatsPrice): string[] => {
  const rows = ledgers.flatMap(({ ledger, deltaBudget, deltaSpent = 0, deltaCost = 0, deltaAfter = 0 }) =>
    deltaBudget === undefined
      ? []
      : [
          [
            ledger,
            deltaCost.toExponential(3),
            (deltaBudget - deltaSpent).toExponential(3),
            deltaAfter.toExponential(3),
          ],
        ],
  );
  return rows.length === 0
    ? []
    : [table(['ledger of this site', 'costs δ', 'left now', 'left after'], rows), ''];
};

export const priceText = (price: StatsPrice, asked: string): string =>
  [
    `${asked}: not asked, only priced; nothing was spent.`,
    '',
    table(
      ['figure', 'ε', 'cells', 'noise', `± per cell (${inPercent(price.confidence)} %)`],
      price.measures.flatMap(({ measure, epsilon, releases }) =>
        releases.map(({ cells, mechanism, halfWidth, delta }, at) => [
          at === 0 ? measure : '',
          at === 0 ? String(Number(epsilon.toPrecision(6))) : '',
          delta === undefined ? String(cells) : `at most ${cells}`,
          mechanismText(mechanism),
          halfWidth ?? NOTHING,
        ]),
      ),
    ),
    '',
    table(
      ['ledger of this site', 'costs', 'left now', 'left after', 'renews (UTC)'],
      price.ledgers.map((ledger) => [
        ledger.ledger,
        ledger.costEpsilon.toFixed(6),
        ledger.remainingEpsilon.toFixed(3),
        ledger.afterEpsilon.toFixed(3),
        renewal(ledger.renewsAtMs),
      ]),
    ),
    '',
    ...deltaLines(price),
    ...(price.blocks === null
      ? []
      : [`Charges the data blocks ${price.blocks.from} to ${price.blocks.to} of this site.`, '']),
    price.fits
      ? 'This site would answer.'
      : 'This site would refuse: a ledger has less left than the question costs, or the question is about a retired data block.',
    `Would be asked: ${price.sites.length === 0 ? 'nobody' : price.sites.join(', ')}. Every site charges ε ${price.epsilonPerSite} to its own ledgers, by its own rules; other sites are not asked beforehand.`,
    ...comparisonsText(price.comparisons),
    ...(price.absent.length === 0 ? [] : [`Not reachable now: ${price.absent.join(', ')}.`]),
  ].join('\n');
