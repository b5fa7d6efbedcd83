/** `qfl account …`: people at a coordinator, and the own account. */
import type { Command } from 'commander';
import { allAccounts, type CoordinatorClient } from '../client/client.ts';
import { QflError } from '../errors.ts';
import type { AccountShown } from '../wire/accounts.ts';
import { DataClass } from '../wire/envelope.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { ago, note, printJson, run, say, table } from './output.ts';
import { readNewSecret, readSecret } from './secret-input.ts';

/** Accounts are named by people and known by ids. @throws QflError `not_found` */
const paramsOf = async (coordinator: CoordinatorClient, name: string): Promise<{ readonly id: string }> => {
  if (/^[0-9a-f]{16}$/.test(name)) return { id: name };
  for await (const { id, username } of allAccounts(coordinator))
    if (username === name.toLowerCase()) return { id };
  throw new QflError('not_found', {
    detail: `there is no account "${name}"`,
    next: 'See "qfl account list".',
  });
};

const stateOf = ({ status, locked }: AccountShown): string => (locked ? 'locked' : status);

const accountRow = (account: AccountShown, nowMs: number): string[] => [
  account.username,
  account.role,
  account.department,
  account.dataClass,
  stateOf(account),
  account.provider ?? (account.secondFactor ? 'password, second factor' : 'password'),
  account.lastSignInMs === null ? 'never' : `${ago(nowMs - account.lastSignInMs)} ago`,
  account.id,
];

const sayAccount = (account: AccountShown, what: string): void =>
  say(`${account.username} (${account.id}) ${what}: role ${account.role}, ${stateOf(account)}.`);

const registerSetUp = (account: Command): void => {
  withTarget(
    account.command('setup').description('make the first administrator with the setup code'),
    'coordinator',
  )
    .option(
      '--code <CODE>',
      'from "qfl coordinator init" or "qfl coordinator setup-code"; asked for when left out',
    )
    .requiredOption('--username <NAME>', 'name of the account')
    .action((options: TargetOptions & { code?: string; username: string }) =>
      run(async () => {
        const { username } = options;
        const code = options.code ?? (await readSecret('Setup code'));
        const password = await readNewSecret('New password');
        const body = { code, username, password };
        const made = await withCoordinator(options, ({ auth }) => auth.setup({ body }), 'nobody');
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

const classOf = (text: string): DataClass => {
  const parsed = DataClass.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: `"${text}" is no class of data`,
    next: `Choose one of ${DataClass.options.join(', ')}.`,
  });
};

const registerCreate = (account: Command): void => {
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
          ...(dataClass === undefined ? {} : { dataClass: classOf(dataClass) }),
        };
        const made = await withCoordinator(options, ({ accounts }) => accounts.create({ body }));
        if (options.json === true) return printJson(made);
        sayAccount(made.account, 'is there');
        if (made.oneTimePassword !== null)
          say(
            `One-time password:  ${made.oneTimePassword}   (shown once; they set their own at the first sign-in)`,
          );
      }, options.json ?? false),
    );
};

const registerList = (account: Command): void => {
  withTarget(account.command('list').description('accounts, their roles and states'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const accounts = await withCoordinator(options, async (coordinator) => {
          const all: AccountShown[] = [];
          for await (const one of allAccounts(coordinator)) all.push(one);
          return all;
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
};

type Params = { readonly params: { readonly id: string } };
type Accounts = CoordinatorClient['accounts'];

const registerChanges = (account: Command): void => {
  const change = (
    verb: string,
    description: string,
    what: string,
    send: (accounts: Accounts, params: Params, options: { readonly role?: string }) => Promise<AccountShown>,
  ): Command =>
    withTarget(account.command(`${verb} <NAME>`).description(description), 'coordinator').action(
      (name: string, options: TargetOptions & { role?: string }) =>
        run(async () => {
          const shown = await withCoordinator(options, async (coordinator) =>
            send(coordinator.accounts, { params: await paramsOf(coordinator, name) }, options),
          );
          if (options.json === true) return printJson(shown);
          sayAccount(shown, what);
        }, options.json ?? false),
    );
  change('role', 'give an account another role', 'has another role now', (accounts, params, { role }) =>
    accounts.change({ ...params, body: { role } }),
  ).requiredOption('--role <ROLE>', 'see "qfl role list"');
  change('disable', 'close an account; its sessions end at once', 'is closed', (accounts, params) =>
    accounts.change({ ...params, body: { status: 'disabled' } }),
  );
  change('enable', 'open it again', 'is open again', (accounts, params) =>
    accounts.change({ ...params, body: { status: 'active' } }),
  );
  change('unlock', 'end a lockout after failed sign-ins', 'is unlocked', (accounts, params) =>
    accounts.unlock(params),
  );
  withTarget(
    account.command('reset <NAME>').description('a new one-time password; second factor and sessions end'),
    'coordinator',
  ).action((name: string, options: TargetOptions) =>
    run(async () => {
      const made = await withCoordinator(options, async (coordinator) =>
        coordinator.accounts.reset({ params: await paramsOf(coordinator, name) }),
      );
      if (options.json === true) return printJson(made);
      say(`One-time password:  ${made.oneTimePassword}   (shown once)`);
    }, options.json ?? false),
  );
};

const setUpTotp = async ({ auth }: CoordinatorClient, json: boolean): Promise<void> => {
  const begun = await auth.beginTotp();
  note(`Add this to your authenticator app:\n\n  ${begun.uri}\n\nor type the secret ${begun.secret}`);
  const code = await readSecret('Code that it shows');
  const { recoveryCodes } = await auth.confirmTotp({ body: { code } });
  if (json) return printJson({ secondFactor: true, recoveryCodes });
  say('The second factor is set up. Recovery codes, each good once, shown now and never again:\n');
  say(recoveryCodes.map((one) => `  ${one}`).join('\n'));
};

const removeTotp = async ({ auth }: CoordinatorClient, json: boolean): Promise<void> => {
  await auth.removeTotp({ body: { code: await readSecret('Code') } });
  if (json) return printJson({ secondFactor: false });
  say('The second factor is removed.');
};

const registerOwn = (account: Command): void => {
  withTarget(
    account.command('password').description('set another password of your own'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const current = await readSecret('Current password');
      const next = await readNewSecret('New password');
      await withCoordinator(options, ({ auth }) => auth.password({ body: { current, next } }), 'person');
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
      run(() => {
        const act = options.remove === true ? removeTotp : setUpTotp;
        return withCoordinator(options, (coordinator) => act(coordinator, options.json ?? false), 'person');
      }, options.json ?? false),
    );
};

const registerSessions = (account: Command): void => {
  withTarget(account.command('sessions').description('everybody who is signed in'), 'coordinator').action(
    (options: TargetOptions) =>
      run(async () => {
        const { sessions } = await withCoordinator(options, (coordinator) => coordinator.sessions.list());
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
  withTarget(
    account.command('revoke-all').description('revoke every token: everybody signs in again'),
    'coordinator',
  ).action((options: TargetOptions) =>
    run(async () => {
      const ended = await withCoordinator(options, (coordinator) => coordinator.sessions.endAll());
      if (options.json === true) return printJson(ended);
      say(`${ended.sessions} sign-ins are over; tokens of before are refused.`);
    }, options.json ?? false),
  );
  withTarget(
    account.command('end-session <ID>').description('end one sign-in at once'),
    'coordinator',
  ).action((session: string, options: TargetOptions) =>
    run(async () => {
      const ended = await withCoordinator(options, ({ sessions }) => sessions.end({ params: { session } }));
      if (options.json === true) return printJson(ended);
      say('The session is over.');
    }, options.json ?? false),
  );
};

export const registerAccount = (program: Command): void => {
  const account = program.command('account').description('people at the coordinator');
  registerSetUp(account);
  registerCreate(account);
  registerList(account);
  registerChanges(account);
  registerOwn(account);
  registerSessions(account);
};
