/** `qfl agent ledger verify|show|restore|state|retire-block|compact`: on the folder of an agent that is stopped. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { printJson, run, say } from '../../shared/cli/output.ts';
import { toHex } from '../../shared/bytes.ts';
import { DAY_MS, systemClock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { checkCountersigned, CountersignedHead } from '../../shared/wire/ledger-head.ts';
import { deltaOfText, deltaOfUnits, deltaUnitsUp } from '../../shared/privacy/delta.ts';
import { MICRO_PER_EPSILON } from '../../shared/privacy/epsilon.ts';
import { toNumber } from '../../shared/privacy/rational.ts';
import { Block } from '../budget/blocks.ts';
import type { VerifyProgress, VerifyReport } from '../budget/verify.ts';
import { HISTORY_PAGE_MAX } from '../budget/history.ts';
import { openLedger } from '../budget/ledger.ts';
import { compactLedger } from '../budget/compact.ts';
import { restoreLedger } from '../budget/restore.ts';
import { verifyLedger } from '../budget/verify.ts';
import { type HomeIdentities, identitiesOfHome } from '../federation/identities.ts';
import { type HomeOption, withHome } from './home.ts';
import { type DecisionOptions, decisionOf, logged, placeOf } from './ledger-home.ts';

/** A question can be repeated for a few minutes; whole days leave room for clocks. */
const KEEP_DAYS_MIN = 2;

const json = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? String(one) : one)));

const reportLines = (report: VerifyReport): string[] => [
  report.sound ? 'The privacy ledger is sound.' : 'The privacy ledger is NOT sound:',
  ...report.faults.map((fault) => `  ${fault}`),
  `  records        ${report.records.toLocaleString('en')} (${report.bytes.toLocaleString('en')} bytes)`,
  `  last           ${report.head === null ? 'none' : `${report.head.counter} ${report.head.hash}`}`,
  `  epoch          ${report.epoch}`,
  `  lifetime spent ${report.lifetimeUnits} units`,
  `  countersigned  ${report.countersigned === null ? 'never' : `record ${report.countersigned.counter} of epoch ${report.countersigned.epoch}`}`,
  ...report.checkpoints.map(
    ({ name, counter, agrees }) =>
      `  checkpoint     ${name} of record ${counter}${agrees ? '' : ', not of this journal'}`,
  ),
  ...(report.archive === null ? [] : [`  archive        ${report.archive.name}: ${report.archive.state}`]),
];

/** A line that is written over, on a terminal only. */
const progressOn = (stream: NodeJS.WriteStream, options: HomeOption) => {
  if (options.json === true || !stream.isTTY) return undefined;
  return ({ bytesDone, bytesTotal, records }: VerifyProgress): void => {
    const percent = bytesTotal === 0 ? 100 : Math.floor((100 * bytesDone) / bytesTotal);
    stream.write(
      `\r${percent} % · ${records.toLocaleString('en')} records${bytesDone === bytesTotal ? '\n' : ''}`,
    );
  };
};

const verify = (options: HomeOption): Promise<void> =>
  withHome(options, async (home) => {
    const report = await verifyLedger(await placeOf(home), progressOn(process.stderr, options));
    if (options.json === true) printJson(report);
    else say(reportLines(report).join('\n'));
    if (!report.sound) process.exitCode = 1;
  });

interface FromFiles {
  readonly receipts: unknown[];
  readonly heads: CountersignedHead[];
}

/** JSON objects one a line, or one JSON array: receipts, and countersigned heads among them. */
const readFiles = async (files: readonly string[]): Promise<FromFiles> => {
  const found: FromFiles = { receipts: [], heads: [] };
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw new QflError('invalid_request', { detail: `${file} cannot be read`, cause });
    });
    for (const value of parseLines(file, text)) {
      const head = CountersignedHead.safeParse(value);
      if (head.success) found.heads.push(head.data);
      else found.receipts.push(value);
    }
  }
  return found;
};

const parseLines = (file: string, text: string): unknown[] => {
  try {
    if (text.trimStart().startsWith('[')) return JSON.parse(text) as unknown[];
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line): unknown => JSON.parse(line));
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: `${file} does not hold JSON`,
      next: 'Give a file with one receipt a line, as the asking sites exported it.',
      cause,
    });
  }
};

/** Signed by this site and by its coordinator. @throws QflError `bad_signature` */
const checked = (keys: HomeIdentities, head: CountersignedHead): CountersignedHead => {
  checkCountersigned(keys, head);
  return head;
};

const restore = (options: DecisionOptions & { readonly from?: string[] }): Promise<void> =>
  withHome(options, async (home) => {
    const { receipts, heads } = await readFiles(options.from ?? []);
    const keys = await identitiesOfHome(home);
    const report = await logged(home, 'ledger.restored', decisionOf(options), async () =>
      restoreLedger({
        ...(await placeOf(home)),
        identities: keys.site,
        receipts,
        countersigned: heads.map((head) => checked(keys, head)),
        decision: decisionOf(options),
      }),
    );
    if (options.json === true) return printJson(json(report));
    const { given, known, charged } = report.receipts;
    say(
      [
        `Restored: epoch ${report.epoch}, ${report.records.toLocaleString('en')} records of the backup${report.bytesAside > 0 ? `, ${report.bytesAside} bytes behind them put aside` : ''}.`,
        `Receipts: ${given} given, ${known} known already, ${charged} charged now.`,
        report.countersigned === null
          ? 'No countersigned head was known.'
          : `Newest countersigned head: record ${report.countersigned.counter} of epoch ${report.countersigned.epoch}${report.countersigned.held ? '' : ', which the backup had not reached'}.`,
        `Lifetime spent: ${report.spentBeforeUnits} units before, ${report.spentAfterUnits} now.`,
        '',
        'What was charged beyond that cannot be known from here. Until an administrator states it, the lifetime budget counts as used up:',
        '  qfl agent ledger state --epsilon AMOUNT --by NAME --reason TEXT',
        "Today's budgets count as used up until the day ends in UTC.",
      ].join('\n'),
    );
  });

/** @throws QflError `invalid_request` */
const deltaUnitsOf = (text: string | undefined): bigint | undefined => {
  if (text === undefined) return undefined;
  if (text === '0') return 0n;
  const delta = deltaOfText(text);
  if (delta === undefined)
    throw new QflError('invalid_request', {
      detail: 'the delta must be 0 or a number between 0 and 1, such as 1e-9',
    });
  return deltaUnitsUp(toNumber(delta));
};

const state = (
  options: DecisionOptions & { readonly epsilon: string; readonly delta?: string },
): Promise<void> =>
  withHome(options, async (home) => {
    const epsilon = Number(options.epsilon);
    if (!(Number.isFinite(epsilon) && epsilon >= 0))
      throw new QflError('invalid_request', { detail: 'the epsilon must be a number, 0 or more' });
    const micro = BigInt(Math.ceil(epsilon * MICRO_PER_EPSILON));
    const ledger = await openLedger({ ...(await placeOf(home)), store: home.store });
    try {
      const full = BigInt(ledger.limits().siteLifetime.microEpsilon);
      // As a share of the budget, rounded up: how "spent" is shown everywhere.
      const units = (ledger.status().lifetimeBudgetUnits * micro + full - 1n) / full;
      const before = ledger.status().lifetimeDeltaUnits;
      const detail = { ...decisionOf(options), units: String(units), delta: options.delta ?? 'all' };
      await logged(home, 'ledger.stated', detail, () =>
        ledger.stateUnknownCharges(units, decisionOf(options), deltaUnitsOf(options.delta)),
      );
      const delta = deltaOfUnits(ledger.status().lifetimeDeltaUnits - before);
      if (options.json === true) printJson({ units: String(units), delta });
      else
        say(
          `Stated: ${units} units more were charged${delta === 0 ? '' : `, and a delta of ${delta.toExponential(3)}`}. The lifetime ledger serves again.`,
        );
    } finally {
      await ledger.close();
    }
  });

const show = (options: HomeOption & { readonly limit: string }): Promise<void> =>
  withHome(options, async (home) => {
    const limit = Number(options.limit);
    if (!(Number.isInteger(limit) && limit >= 1 && limit <= HISTORY_PAGE_MAX))
      throw new QflError('invalid_request', {
        detail: `--limit is a whole number from 1 to ${HISTORY_PAGE_MAX}`,
      });
    const ledger = await openLedger({ ...(await placeOf(home)), store: home.store });
    try {
      const status = ledger.status();
      const entries = await ledger.history({ limit });
      if (options.json === true)
        return printJson(
          json({ ...status, head: { ...status.head, hash: toHex(status.head.hash) }, entries }),
        );
      say(
        [
          `epoch ${status.epoch}, record ${status.head.counter}, day ${status.day}`,
          `lifetime spent ${status.lifetimeUnits} of ${status.lifetimeBudgetUnits} units`,
          ...(status.lifetimeDeltaUnits === 0n
            ? []
            : [
                `lifetime delta spent above thresholds ${deltaOfUnits(status.lifetimeDeltaUnits).toExponential(3)}`,
              ]),
          ...entries.map(
            ({ counter, record }) =>
              `  ${String(counter).padStart(9)}  ${new Date(record.atMs).toISOString()}  ${record.type}`,
          ),
        ].join('\n'),
      );
    } finally {
      await ledger.close();
    }
  });

const retireBlock = (month: string, options: DecisionOptions): Promise<void> =>
  withHome(options, async (home) => {
    const block = Block.safeParse(month);
    if (!block.success)
      throw new QflError('invalid_request', {
        detail: `"${month}" is not an admission month`,
        next: 'Name it as year and month, such as 2024-03.',
      });
    const ledger = await openLedger({ ...(await placeOf(home)), store: home.store });
    try {
      await logged(home, 'ledger.block_retired', { ...decisionOf(options), retired: block.data }, () =>
        ledger.retireBlock(block.data, decisionOf(options)),
      );
      if (options.json === true) printJson({ retired: block.data });
      else say(`The data block ${block.data} is retired: its patients are never read again.`);
    } finally {
      await ledger.close();
    }
  });

const compact = (options: HomeOption & { readonly keepDays: string }): Promise<void> =>
  withHome(options, async (home) => {
    const keepDays = Number(options.keepDays);
    if (!(Number.isInteger(keepDays) && keepDays >= KEEP_DAYS_MIN))
      throw new QflError('invalid_request', {
        detail: `--keep-days is a whole number from ${KEEP_DAYS_MIN} on`,
      });
    const report = await logged(home, 'ledger.compacted', { keepDays }, async () =>
      compactLedger(await placeOf(home), systemClock.nowMs() - keepDays * DAY_MS),
    );
    if (options.json === true) return printJson(report);
    say(
      report.compacted
        ? `${report.recordsOut.toLocaleString('en')} records went to ${report.archive ?? ''}; ${report.recordsKept.toLocaleString('en')} stay. The journal has ${report.bytesAfter.toLocaleString('en')} bytes, before ${report.bytesBefore.toLocaleString('en')}. The spend is the same. Move the archive to your backup.`
        : `Nothing to take out: no record is older than ${keepDays} days.`,
    );
  });

const withHomeOption = (command: Command): Command =>
  command.option('--home <DIR>', 'data folder of the agent').option('--json', 'print JSON');
const withDecision = (command: Command): Command =>
  withHomeOption(command)
    .requiredOption('--by <NAME>', 'who decides')
    .requiredOption('--reason <TEXT>', 'why; kept in the ledger and in the audit log');

export const registerLedger = (agent: Command): void => {
  const ledger = agent.command('ledger').description('the privacy ledger of an agent that is stopped');
  withHomeOption(
    ledger.command('verify').description('read every record; exit 1 when it is not sound'),
  ).action((options: HomeOption) => run(() => verify(options), options.json ?? false));
  withHomeOption(ledger.command('show').description('what is spent, and the newest records'))
    .option('--limit <COUNT>', 'records', '20')
    .action((options: HomeOption & { limit: string }) => run(() => show(options), options.json ?? false));
  withDecision(
    ledger
      .command('restore')
      .description('after a backup was put back: raise the spend to all that is known, begin a new epoch'),
  )
    .option(
      '--from <FILE...>',
      'receipts of this site that others hold, and countersigned heads: JSON, one a line',
    )
    .action((options: DecisionOptions & { from?: string[] }) =>
      run(() => restore(options), options.json ?? false),
    );
  withDecision(
    ledger.command('state').description('after a restore: say what else was charged, which nobody can show'),
  )
    .requiredOption('--epsilon <AMOUNT>', 'as a share of the lifetime budget; 0 when it was nothing')
    .option(
      '--delta <AMOUNT>',
      'charged above thresholds besides, such as 1e-9; all that is reserved for them when left out',
    )
    .action((options: DecisionOptions & { epsilon: string; delta?: string }) =>
      run(() => state(options), options.json ?? false),
    );
  withDecision(
    ledger
      .command('retire-block <MONTH>')
      .description('never read the patients of this admission month again, such as 2024-03'),
  ).action((month: string, options: DecisionOptions) =>
    run(() => retireBlock(month, options), options.json ?? false),
  );
  withHomeOption(
    ledger.command('compact').description('move old records to an archive; the spend stays as it is'),
  )
    .option('--keep-days <DAYS>', 'records of so many days stay', '30')
    .action((options: HomeOption & { keepDays: string }) =>
      run(() => compact(options), options.json ?? false),
    );
};
