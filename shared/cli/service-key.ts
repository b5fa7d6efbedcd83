/** `qfl key …`: keys of programs at a coordinator; `qfl role list`: who may do what. */
import type { Command } from 'commander';
import type { z } from 'zod';
import { DAY_MS } from '../clock.ts';
import type { ServiceKeyShown } from '../wire/accounts.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { printJson, run, say, table } from './output.ts';

interface CreateOptions extends TargetOptions {
  readonly role: string;
  readonly name: string;
  readonly scope?: readonly string[];
  readonly days?: string;
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

const stateOf = ({ revoked, expiresMs }: z.infer<typeof ServiceKeyShown>, nowMs: number): string => {
  if (revoked) return 'revoked';
  if (expiresMs === null) return 'active';
  return expiresMs <= nowMs ? 'expired' : `until ${new Date(expiresMs).toISOString().slice(0, 10)}`;
};

export const registerServiceKey = (program: Command): void => {
  const key = program.command('key').description('keys of programs at the coordinator');
  withTarget(key.command('create').description('make a key, shown once'), 'coordinator')
    .requiredOption('--role <ROLE>', 'see "qfl role list"')
    .requiredOption('--name <NAME>', 'what the key is for')
    .option('--scope <OPERATION>', 'limit it to this operation; may be given several times', collect)
    .option('--days <N>', 'how long it works; for ever when left out')
    .action((options: CreateOptions) =>
      run(async () => {
        const { role, name, scope, days } = options;
        const made = await withCoordinator(options, ({ keys }) =>
          keys.create({
            body: {
              role,
              name,
              ...(scope === undefined ? {} : { scopes: [...scope] }),
              ...(days === undefined ? {} : { expiresMs: Date.now() + Number(days) * DAY_MS }),
            },
          }),
        );
        if (options.json === true) return printJson(made);
        say(`Key for ${made.record.name}, role ${made.record.role}, shown once:\n\n  ${made.key}\n`);
      }, options.json ?? false),
    );
  withTarget(key.command('list').description('keys and their states'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const { keys } = await withCoordinator(options, (coordinator) => coordinator.keys.list());
        if (options.json === true) return printJson(keys);
        if (keys.length === 0) return say('No keys. Make one with "qfl key create".');
        say(
          table(
            ['name', 'role', 'state', 'scopes', 'id'],
            keys.map((one) => [
              one.name,
              one.role,
              stateOf(one, Date.now()),
              one.scopes?.join(', ') ?? 'all of its role',
              one.id,
            ]),
          ),
        );
      }, options.json ?? false),
  );
  withTarget(key.command('revoke <ID>').description('refuse a key from now on'), 'coordinator').action(
    (id: string, options: TargetOptions) =>
      run(async () => {
        const shown = await withCoordinator(options, ({ keys }) => keys.revoke({ params: { id } }));
        if (options.json === true) return printJson(shown);
        say(`The key ${shown.id} (${shown.name}) is revoked.`);
      }, options.json ?? false),
  );
  const role = program.command('role').description('roles and what they may');
  withTarget(
    role.command('list').description('who may do what, up to which class of data'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const shown = await withCoordinator(options, ({ roles }) => roles.list());
      if (options.json === true) return printJson(shown);
      const operations = [...new Set(shown.table.map(({ operation }) => operation))];
      const cell = (operation: string, name: string): string =>
        shown.table.find((one) => one.operation === operation && one.role === name)?.highestDataClass ?? '–';
      const roles = shown.roles.map((one) => one.role);
      say(
        table(
          ['operation', ...roles],
          operations.map((operation) => [operation, ...roles.map((name) => cell(operation, name))]),
        ),
      );
    }, options.json ?? false),
  );
};
