/** `qfl audit list|show|hold|erase|prune`: the audit log of the program that `--home` or `--url` names, a coordinator or an agent. */
import type { Command } from 'commander';
import type { z } from 'zod';
import type { AuditEntry } from '../audit/entry.ts';
import { Hold } from '../audit/retention.ts';
import {
  AuditEntryShown,
  AuditPageShown,
  Erased,
  HoldReleased,
  HoldsShown,
  PruneShown,
} from '../wire/audit.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { momentOf } from './moment.ts';
import { note, printJson, run, say, table } from './output.ts';

interface ListOptions extends TargetOptions {
  readonly action?: string;
  readonly outcome?: string;
  readonly actor?: string;
  readonly role?: string;
  readonly object?: string;
  readonly since?: string;
  readonly until?: string;
  readonly from?: string;
  readonly limit: string;
  readonly oldest?: boolean;
}

const queryOf = (options: ListOptions): string => {
  const { action, outcome, actor, role, object, since, until, from, limit, oldest } = options;
  const given = {
    action,
    outcome,
    actor,
    role,
    object,
    from,
    limit,
    order: oldest === true ? 'oldest' : 'newest',
    sinceMs: since === undefined ? undefined : String(momentOf(since)),
    untilMs: until === undefined ? undefined : String(momentOf(until)),
  };
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) if (value !== undefined) query.set(name, value);
  return query.toString();
};

const row = ({ counter, timeMs, action, outcome, role, objects, requestId }: AuditEntry): string[] => [
  String(counter),
  new Date(timeMs).toISOString(),
  action,
  outcome,
  role ?? '–',
  [
    ...objects.map(({ kind, id }) => `${kind}=${id}`),
    ...(requestId === null ? [] : [`request=${requestId}`]),
  ].join(' '),
];

const list = async (options: ListOptions): Promise<void> => {
  const page = await withClient(connect(options, 'coordinator'), (client) =>
    client.json('GET', `/security/audit?${queryOf(options)}`, AuditPageShown),
  );
  if (options.json === true) return printJson(page);
  say(table(['entry', 'time (UTC)', 'action', 'outcome', 'role', 'objects'], page.entries.map(row)));
  note(`${page.entries.length} of ${page.size} entries`);
  if (page.next !== null) note(`more: the same command with --from ${page.next}`);
};

const show = async (index: string, options: TargetOptions): Promise<void> => {
  const shown = await withClient(connect(options, 'coordinator'), (client) =>
    client.json('GET', `/security/audit/${encodeURIComponent(index)}`, AuditEntryShown),
  );
  if (options.json === true) return printJson(shown);
  say(table(['entry', 'time (UTC)', 'action', 'outcome', 'role', 'objects'], [row(shown.entry)]));
  say(`\nleaf:    ${shown.leaf}`);
  say(`detail:  ${shown.detail ?? (shown.entry.detail === null ? 'none' : 'erased')}`);
  say(
    `proof:   ${shown.proof.path.length} hashes to the tree of ${shown.proof.size} entries\n\n${shown.proof.checkpoint}`,
  );
};

const holdText = ({ id, placedMs, subject, fromIndex, ground }: z.infer<typeof Hold>): string[] => [
  id,
  new Date(placedMs).toISOString(),
  subject === null ? 'everything' : 'one person',
  String(fromIndex),
  ground,
];

const registerHolds = (audit: Command): void => {
  const holds = audit.command('hold').description('what must not be erased or pruned');
  withTarget(holds.command('add').description('place a legal hold'), 'coordinator')
    .requiredOption('--ground <TEXT>', 'why: a case number, a letter of a court')
    .option('--person <ID>', 'only the detail of this person; without it, everything')
    .option('--from <ENTRY>', 'entries from this one on', '0')
    .action((options: TargetOptions & { ground: string; person?: string; from: string }) =>
      run(async () => {
        const { ground, person, from } = options;
        const body = { ground, person, fromIndex: Number(from) };
        const hold = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('POST', '/security/audit/holds', Hold, { body }),
        );
        if (options.json === true) printJson(hold);
        else say(`Held. Release it with:  qfl audit hold release ${hold.id}`);
      }, options.json ?? false),
    );
  withTarget(holds.command('list').description('holds in force'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const found = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('GET', '/security/audit/holds', HoldsShown),
        );
        if (options.json === true) printJson(found);
        else say(table(['hold', 'since', 'of', 'from entry', 'ground'], found.holds.map(holdText)));
      }, options.json ?? false),
  );
  withTarget(holds.command('release <HOLD>').description('end a hold'), 'coordinator').action(
    (id: string, options: TargetOptions) =>
      run(async () => {
        const released = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('DELETE', `/security/audit/holds/${encodeURIComponent(id)}`, HoldReleased),
        );
        if (options.json === true) printJson(released);
        else say(`Released ${released.released}.`);
      }, options.json ?? false),
  );
};

export const registerAuditLog = (audit: Command): void => {
  withTarget(audit.command('list').description('entries of the log, newest first'), 'coordinator')
    .option('--action <ACTION>', 'only this action, such as stats.served')
    .option('--outcome <OUTCOME>', 'begun, ok, refused, failed or unknown')
    .option('--actor <PSEUDONYM>', 'only this asker')
    .option('--role <ROLE>', 'only this role')
    .option('--object <ID>', 'only entries that name this site, key, task …')
    .option('--since <TIME>', 'from this moment on: ISO 8601, or 24h, 30d before now')
    .option('--until <TIME>', 'before this moment')
    .option('--from <ENTRY>', 'where to go on')
    .option('--limit <COUNT>', 'entries of a page, up to 1000', '50')
    .option('--oldest', 'oldest first')
    .action((options: ListOptions) => run(() => list(options), options.json ?? false));
  withTarget(
    audit.command('show <ENTRY>').description('one entry, its detail, and the proof that it is in the log'),
    'coordinator',
  ).action((index: string, options: TargetOptions) => run(() => show(index, options), options.json ?? false));
  registerHolds(audit);
  withTarget(
    audit.command('erase').description("destroy a person's detail beside the log: key, salts and bytes"),
    'coordinator',
  )
    .requiredOption('--person <ID>', 'as the entries were logged for')
    .action((options: TargetOptions & { person: string }) =>
      run(async () => {
        const erased = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('POST', '/security/audit/erase', Erased, { body: { person: options.person } }),
        );
        if (options.json === true) printJson(erased);
        else say(`The detail of ${erased.entries} entries is gone; entry ${erased.index} says so.`);
      }, options.json ?? false),
    );
  withTarget(
    audit.command('prune').description('what is older than its time of retention, and not held, goes'),
    'coordinator',
  )
    .option('--yes', 'do it; without this it is only said what would go')
    .action((options: TargetOptions & { yes?: boolean }) =>
      run(async () => {
        const body = { dryRun: options.yes !== true };
        const report = await withClient(connect(options, 'coordinator'), (client) =>
          client.json('POST', '/security/audit/prune', PruneShown, { body }),
        );
        if (options.json === true) return printJson(report);
        const verb = report.dryRun ? 'would go' : 'went';
        say(
          `${report.entriesPruned} entries ${verb} (below ${report.minimumIndex}); personal detail below entry ${report.detailBelow} ${verb}.`,
        );
        if (report.heldBy.length > 0) say(`Held back by: ${report.heldBy.join(', ')}`);
        if (report.dryRun) note('nothing was changed; add --yes to do it');
      }, options.json ?? false),
    );
};
