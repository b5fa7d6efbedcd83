/** `qfl audit export|policy`: evidence for an auditor, and the keys to check it with. */
import { readFile, writeFile } from 'node:fs/promises';
import cliProgress from 'cli-progress';
import { type Command, Option } from 'commander';
import type { z } from 'zod';
import { fromUtf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { writeWholeFile } from '../whole-file.ts';
import { ExportFilter, ExportLine } from '../wire/audit-export.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { momentOf } from './moment.ts';
import { note, printJson, run, say } from './output.ts';

interface ExportOptions extends TargetOptions {
  readonly out: string;
  readonly ground: string;
  readonly from?: string;
  readonly to?: string;
  readonly filter?: string[];
  readonly for?: string;
  readonly since?: string;
  readonly person?: string;
}

/** `NAME=VALUE` each. @throws QflError `invalid_request` */
export const filterOf = (given: readonly string[] = []): z.infer<typeof ExportFilter> => {
  const filter = ExportFilter.safeParse(
    Object.fromEntries(
      given.map((one) => {
        const [name = '', ...value] = one.split('=');
        return [name, value.join('=')];
      }),
    ),
  );
  if (filter.success) return filter.data;
  throw new QflError('invalid_request', {
    detail: `no such filter: ${given.join(' ')}`,
    next: `Write NAME=VALUE, once for each of: ${Object.keys(ExportFilter.shape).join(', ')}. An action may end in ".*".`,
  });
};

const NEWLINE = 10;
const HEAD_LINE_BYTES_MAX = 1_024;

/** The archive behind the lines of progress. @throws QflError `protocol` when there are none */
export async function* archiveOf(
  source: AsyncIterable<Uint8Array>,
  tell: (done: number, total: number) => void,
): AsyncGenerator<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  let isArchive = false;
  for await (const piece of source) {
    if (isArchive) {
      yield piece;
      continue;
    }
    head = Buffer.concat([head, piece]);
    for (let end = head.indexOf(NEWLINE); end >= 0 && !isArchive; end = head.indexOf(NEWLINE)) {
      const line = ExportLine.parse(JSON.parse(fromUtf8(head.subarray(0, end))));
      head = head.subarray(end + 1);
      if (line.kind === 'archive') isArchive = true;
      // While nothing is known yet, the line only says that somebody is there.
      else if (line.total > 0) tell(line.done, line.total);
    }
    if (isArchive && head.byteLength > 0) yield head;
    if (!isArchive && head.byteLength > HEAD_LINE_BYTES_MAX)
      throw new QflError('protocol', { detail: 'the export does not begin with its progress' });
  }
  if (!isArchive) throw new QflError('cut', { detail: 'the export ended before its archive began' });
}

interface Teller {
  readonly tell: (done: number, total: number) => void;
  readonly stop: () => void;
}
/** A bar for people, a line of JSON for programs, both on the error stream. */
const tellerOf = (isJson: boolean): Teller => {
  if (isJson)
    return {
      tell: (done, total) => note(JSON.stringify({ kind: 'progress', done, total, unit: 'entries' })),
      stop: () => undefined,
    };
  const bar = new cliProgress.SingleBar(
    { format: 'entries {value}/{total} |{bar}| {percentage} %', stream: process.stderr, hideCursor: true },
    cliProgress.Presets.shades_classic,
  );
  let started = false;
  return {
    tell(done, total) {
      if (!started) bar.start(total, done);
      started = true;
      bar.setTotal(total);
      bar.update(done);
    },
    stop: () => (started ? bar.stop() : undefined),
  };
};

const exportAll = async (options: ExportOptions): Promise<void> => {
  const { out, ground, from, to, since } = options;
  const body = {
    ground,
    ...(from === undefined ? {} : { fromMs: momentOf(from) }),
    ...(to === undefined ? {} : { toMs: momentOf(to) }),
    ...(options.filter === undefined ? {} : { filter: filterOf(options.filter) }),
    ...(options.for === undefined ? {} : { recipient: options.for }),
    ...(since === undefined ? {} : { since: await readFile(since, 'utf8') }),
    progress: true,
  };
  const teller = tellerOf(options.json === true);
  try {
    await withCoordinator(options, (coordinator) =>
      writeWholeFile(out, archiveOf(coordinator.audit.export({ body }), teller.tell)),
    );
  } finally {
    teller.stop();
  }
  if (options.json === true) return printJson({ file: out });
  const identity = options.for === undefined ? '' : ' --identity KEY-FILE';
  say(
    `Written to ${out}. Check it anywhere, offline, with:  qfl audit verify ${out}${identity} --policy policy.txt\nA hospital writes policy.txt:  qfl audit policy --home AGENT-HOME --out policy.txt`,
  );
};

const exportPerson = async (options: ExportOptions, person: string): Promise<void> => {
  const { report, note: signed } = await withCoordinator(options, (coordinator) =>
    coordinator.audit.person({ body: { account: person, ground: options.ground } }),
  );
  await writeFile(options.out, `${JSON.stringify(report, undefined, 2)}\n`, { mode: 0o600 });
  await writeFile(`${options.out}.note`, signed, { mode: 0o600 });
  if (options.json === true)
    return printJson({ file: options.out, note: `${options.out}.note`, entries: report.entries.length });
  say(
    `Written to ${options.out}: ${report.entries.length} entries about this person (GDPR Art. 15), signed in ${options.out}.note.`,
  );
};

export const registerAuditExport = (audit: Command): void => {
  withTarget(
    audit
      .command('export')
      .description("the coordinator's and all reachable sites' logs, with what auditors read, as one file"),
    'coordinator',
  )
    .requiredOption('--out <FILE>', 'file to write')
    .option('--ground <TEXT>', 'why, kept in the file', 'audit')
    .option('--from <TIME>', 'only entries from this moment on: ISO 8601, or 24h, 30d before now')
    .option('--to <TIME>', 'only entries before this moment')
    .option(
      '--filter <NAME=VALUE...>',
      `only such entries: ${Object.keys(ExportFilter.shape).join(', ')}; the others stay by hash`,
    )
    .option('--for <AGE-RECIPIENT>', "encrypt to the auditor's age key (age1…)")
    .option(
      '--since <CHECKPOINT>',
      'a checkpoint that the auditor holds already: proves that the log only grew since',
    )
    // Alone: a person's file is for that person, in clear and whole, and what an option left out would not be noticed.
    .addOption(
      new Option(
        '--person <ACCOUNT>',
        "one person's entries and details instead (GDPR Art. 15), as JSON in clear: all of them, so with --out and --ground only",
      ).conflicts(['for', 'from', 'to', 'filter', 'since']),
    )
    .action((options: ExportOptions) =>
      run(
        () => (options.person === undefined ? exportAll(options) : exportPerson(options, options.person)),
        options.json ?? false,
      ),
    );
  withTarget(
    audit
      .command('policy')
      .description(
        "whose signatures count, from a hospital's own agent: what an export is verified with (C2SP tlog-policy)",
      ),
    'agent',
  )
    .option('--out <FILE>', 'file to write; the screen when left out')
    .action((options: TargetOptions & { out?: string }) =>
      run(async () => {
        const pieces: Uint8Array[] = [];
        await withClient(connect(options, 'agent'), async (client) => {
          for await (const piece of client.bytes('GET', '/v1/log/policy')) pieces.push(piece);
        });
        const text = fromUtf8(Buffer.concat(pieces));
        if (options.out !== undefined) await writeFile(options.out, text);
        if (options.json === true)
          return printJson(options.out === undefined ? { policy: text } : { file: options.out });
        say(
          options.out === undefined
            ? text.trimEnd()
            : `Written to ${options.out}. Hand it to the auditor yourself, not through the operator of the federation.`,
        );
      }, options.json ?? false),
    );
};
