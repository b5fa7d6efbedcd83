/** `qfl account …`: people at a coordinator, and the own account. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { HttpClient } from '../http/client.ts';
import {
  AccountMade,
  AccountPage,
  AccountShown,
  SessionPage,
  TotpBegun,
  TotpConfirmed,
} from '../wire/accounts.ts';
import { type Caller, connectTo, type TargetOptions, withTarget } from './connect.ts';
import { ago, note, printJson, run, say, table } from './output.ts';
import { readNewSecret, readSecret } from './secret-input.ts';

const Done = z.object({ ok: z.literal(true) });

const using = async <T>(
  options: TargetOptions,
  caller: Caller,
  use: (client: HttpClient) => Promise<T>,
): Promise<T> => {
  const { client } = await connectTo(options, 'coordinator', caller);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
};

/** Accounts are named by people and known by ids. */
const idOf = async (client: HttpClient, name: string): Promise<string> => {
  if (/^[0-9a-f]{16}$/.test(name)) return name;
  let after: string | null = null;
  do {
    const query: string = after === null ? '' : `&after=${encodeURIComponent(after)}`;
    const page: z.infer<typeof AccountPage> = await client.json(
      'GET',
      `/v1/accounts?limit=500${query}`,
      AccountPage,
    );
    const found = page.accounts.find(({ username }) => username === name.toLowerCase());
    if (found !== undefined) return found.id;
    after = page.next;
  } while (after !== null);
  return name;
};

const stateOf = ({ status, locked }: z.infer<typeof AccountShown>): string => (locked ? 'locked' : status);

const accountRow = (account: z.infer<typeof AccountShown>, nowMs: number): string[] => [
  account.username,
  account.role,
  account.department,
  account.dataClass,
  stateOf(account),
  account.provider ?? (account.secondFactor ? 'password, second factor' : 'password'),
  account.lastSignInMs === null ? 'never' : `${ago(nowMs - account.lastSignInMs)} ago`,
  account.id,
];

const say1 = (account: z.infer<typeof AccountShown>, what: string): void =>
  say(`${account.username} (${account.id}) ${what}: role ${account.role}, ${stateOf(account)}.`);

const registerSetUp = (account: Command): void => {
  withTarget(
    account.command('setup').description('make the first administrator with the setup code'),
    'coordinator',
  )
    .requiredOption('--code <CODE>', 'from "qfl coordinator init" or "qfl coordinator setup-code"')
    .requiredOption('--username <NAME>', 'name of the account')
    .action((options: TargetOptions & { code: string; username: string }) =>
      run(async () => {
        const { code, username } = options;
        const password = await readNewSecret('New password');
        const made = await using(options, 'nobody', (client) =>
          client.json('POST', '/v1/auth/setup', AccountShown, { body: { code, username, password } }),
        );
        if (options.json === true) return printJson(made);
        say(`The administrator ${made.username} is there. Next:  qfl login --username ${made.username}`);
      }, options.json ?? false),
    );
};

interface CreateOptions extends TargetOptions {
  readonly role: string;
  readonly department?: string;
  readonly dataClass?: string;
}

const registerAdministration = (account: Command): void => {
  withTarget(
    account.command('create <NAME>').description('make an account; its one-time password is shown once'),
    'coordinator',
  )
    .requiredOption('--role <ROLE>', 'see "qfl role list"')
    .option('--department <NAME>', 'department')
    .option('--data-class <CLASS>', 'public, internal, confidential or restricted; else what the role may')
    .action((username: string, options: CreateOptions) =>
      run(async () => {
        const { role, department, dataClass } = options;
        const body = {
          username,
          role,
          ...(department === undefined ? {} : { department }),
          ...(dataClass === undefined ? {} : { dataClass }),
        };
        const made = await using(options, 'anyone', (client) =>
          client.json('POST', '/v1/accounts', AccountMade, { body }),
        );
        if (options.json === true) return printJson(made);
        say1(made.account, 'is there');
        if (made.oneTimePassword !== null)
          say(
            `One-time password:  ${made.oneTimePassword}   (shown once; they set their own at the first sign-in)`,
          );
      }, options.json ?? false),
    );
  withTarget(account.command('list').description('accounts, their roles and states'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const accounts = await using(options, 'anyone', async (client) => {
          const all: z.infer<typeof AccountShown>[] = [];
          let after = '';
          for (;;) {
            const page = await client.json('GET', `/v1/accounts?limit=500${after}`, AccountPage);
            all.push(...page.accounts);
            if (page.next === null) return all;
            after = `&after=${encodeURIComponent(page.next)}`;
          }
        });
        if (options.json === true) return printJson(accounts);
        if (accounts.length === 0)
          return say(
            'No accounts yet. The setup code of "qfl coordinator init" makes the first: "qfl account setup".',
          );
        const head = [
          'name',
          'role',
          'department',
          'data up to',
          'state',
          'signs in with',
          'last sign-in',
          'id',
        ];
        say(
          table(
            head,
            accounts.map((one) => accountRow(one, Date.now())),
          ),
        );
      }, options.json ?? false),
  );
  const change = (
    verb: string,
    description: string,
    what: string,
    send: (
      client: HttpClient,
      id: string,
      options: Record<string, unknown>,
    ) => Promise<z.infer<typeof AccountShown>>,
  ): Command =>
    withTarget(account.command(`${verb} <NAME>`).description(description), 'coordinator').action(
      (name: string, options: TargetOptions & Record<string, unknown>) =>
        run(async () => {
          const shown = await using(options, 'anyone', async (client) =>
            send(client, await idOf(client, name), options),
          );
          if (options.json === true) return printJson(shown);
          say1(shown, what);
        }, options.json ?? false),
    );
  const patch = (client: HttpClient, id: string, body: object) =>
    client.json('PATCH', `/v1/accounts/${id}`, AccountShown, { body });
  change('role', 'give an account another role', 'has another role now', (client, id, { role }) =>
    patch(client, id, { role }),
  ).requiredOption('--role <ROLE>', 'see "qfl role list"');
  change('disable', 'close an account; its sessions end at once', 'is disabled', (client, id) =>
    patch(client, id, { status: 'disabled' }),
  );
  change('enable', 'open it again', 'is active again', (client, id) =>
    patch(client, id, { status: 'active' }),
  );
  change('unlock', 'end a lockout after failed sign-ins', 'is unlocked', (client, id) =>
    client.json('POST', `/v1/accounts/${id}/unlock`, AccountShown),
  );
  withTarget(
    account.command('reset <NAME>').description('a new one-time password; second factor and sessions end'),
    'coordinator',
  ).action((name: string, options: TargetOptions) =>
    run(async () => {
      const Made = z.object({ oneTimePassword: z.string() });
      const made = await using(options, 'anyone', async (client) =>
        client.json('POST', `/v1/accounts/${await idOf(client, name)}/reset`, Made),
      );
      if (options.json === true) return printJson(made);
      say(`One-time password:  ${made.oneTimePassword}   (shown once)`);
    }, options.json ?? false),
  );
};

const registerOwn = (account: Command): void => {
  withTarget(
    account.command('password').description('set another password of your own'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const current = await readSecret('Current password');
      const next = await readNewSecret('New password');
      await using(options, 'person', (client) =>
        client.json('POST', '/v1/auth/password', Done, { body: { current, next } }),
      );
      if (options.json === true) return printJson({ changed: true });
      say('The password is changed.');
    }, options.json ?? false),
  );
  withTarget(
    account.command('totp').description('set up a second factor with an authenticator app'),
    'coordinator',
  )
    .option('--remove', 'remove it instead, with a code of it')
    .action((options: TargetOptions & { remove?: boolean }) =>
      run(async () => {
        await using(options, 'person', async (client) => {
          if (options.remove === true) {
            const code = await readSecret('Code');
            await client.json('POST', '/v1/auth/totp/remove', Done, { body: { code } });
            return options.json === true
              ? printJson({ secondFactor: false })
              : say('The second factor is removed.');
          }
          const begun = await client.json('POST', '/v1/auth/totp', TotpBegun);
          note(`Add this to your authenticator app:\n\n  ${begun.uri}\n\nor type the secret ${begun.secret}`);
          const code = await readSecret('Code that it shows');
          const { recoveryCodes } = await client.json('POST', '/v1/auth/totp/confirm', TotpConfirmed, {
            body: { code },
          });
          if (options.json === true) return printJson({ secondFactor: true, recoveryCodes });
          say(`The second factor is set up. Recovery codes, each good once, shown now and never again:\n`);
          say(recoveryCodes.map((one) => `  ${one}`).join('\n'));
          return undefined;
        });
      }, options.json ?? false),
    );
  withTarget(account.command('sessions').description('everybody who is signed in'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const { sessions } = await using(options, 'anyone', (client) =>
          client.json('GET', '/v1/sessions', SessionPage),
        );
        if (options.json === true) return printJson(sessions);
        if (sessions.length === 0) return say('Nobody is signed in.');
        const nowMs = Date.now();
        say(
          table(
            ['name', 'by', 'since', 'last used', 'ends', 'session'],
            sessions.map((one) => [
              one.username,
              one.method,
              `${ago(nowMs - one.createdMs)} ago`,
              `${ago(nowMs - one.usedMs)} ago`,
              `in ${ago(one.expiresMs - nowMs)}`,
              one.id,
            ]),
          ),
        );
      }, options.json ?? false),
  );
};

export const registerAccount = (program: Command): void => {
  const account = program.command('account').description('people at the coordinator');
  registerSetUp(account);
  registerAdministration(account);
  registerOwn(account);
};
