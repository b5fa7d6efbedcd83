/** A federation of real processes in a temporary folder: a coordinator and agents on free ports, each with a home of its own. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import {
  build,
  type Environment,
  eventually,
  printedBy,
  type Program,
  qflJson,
  startProgram,
} from '../fixtures/processes.ts';

/** The most talkative, so that a search of the log finds what any level would show. */
const LOG_LEVEL = 'trace';
const Ready = z.looseObject({ url: z.string(), pid: z.number(), fingerprint: z.string() });
const Joined = z.looseObject({
  site: z.string(),
  status: z.enum(['pending', 'approved']),
  fingerprintPhrase: z.string(),
  coordinatorPhrase: z.string(),
});
const Control = z.object({ url: z.string(), key: z.string() });
const Minted = z.object({ key: z.string() });

/** What `/status` of an agent says, as far as tests look. */
export const AgentStatus = z.looseObject({
  site: z.string(),
  fingerprint: z.string(),
  link: z.string(),
  standing: z.string(),
  linkError: z.string().nullable(),
  sites: z
    .array(
      z.looseObject({
        site: z.string(),
        online: z.boolean(),
        models: z.array(z.string()),
        records: z.boolean(),
      }),
    )
    .nullable(),
  auditSize: z.number(),
});

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}
export interface Request {
  readonly key?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
}

/** One HTTP call; the body of the answer parsed where it is JSON. */
export const call = async (url: string, { key, body, headers, method }: Request = {}): Promise<Answer> => {
  const answer = await fetch(url, {
    method: method ?? (body === undefined ? 'GET' : 'POST'),
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.includes('json') === true;
  return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(text) : text };
};

/** A program with a home folder: started, killed and started again on the same port. */
export interface Seat {
  readonly home: string;
  readonly url: string;
  readonly fingerprint: string;
  readonly program: Program;
  /** Log of every program that ran here. */
  printed(): string;
  /** A call with the key that the running program left in its home folder. */
  asOperator(path: string, request?: Request): Promise<Answer>;
  /** Starts it again, on the port it had. */
  restart(): Promise<void>;
}

const openSeat = async (
  home: string,
  first: readonly string[],
  again: (port: string) => readonly string[],
  env?: Environment,
): Promise<Seat> => {
  const programs: Program[] = [];
  const start = async (args: readonly string[]): Promise<z.infer<typeof Ready>> => {
    const program = startProgram(args, env);
    programs.push(program);
    return printedBy(program, Ready, `${args.slice(0, 2).join(' ')} is ready`);
  };
  let ready = await start(first);
  return {
    home,
    get url() {
      return ready.url;
    },
    get fingerprint() {
      return ready.fingerprint;
    },
    get program() {
      return programs.at(-1)!;
    },
    printed: () => programs.map((program) => program.printed()).join('\n'),
    async asOperator(path, request = {}) {
      const { url, key } = Control.parse(JSON.parse(await readFile(join(home, 'control.json'), 'utf8')));
      return call(url + path, { key, ...request });
    },
    async restart() {
      ready = await start(again(new URL(ready.url).port));
    },
  };
};

export interface SiteOptions {
  readonly name: string;
  /** Its configuration file's text. */
  readonly config?: string;
  /** The address by which it reaches the coordinator, when not the coordinator's own. */
  readonly through?: (coordinatorUrl: string) => Promise<string>;
  readonly env?: Environment;
}

export interface Site extends Seat {
  readonly name: string;
  /** What the join printed. */
  readonly joined: z.infer<typeof Joined>;
  /** The one-time token it joined with. */
  readonly token: string;
  readonly configFile: string;
  status(): Promise<z.infer<typeof AgentStatus>>;
  /** Mints a key by the command. */
  key(role: string, department?: string, dataClass?: string, name?: string): Promise<string>;
}

export interface FederationOptions {
  readonly sites: readonly SiteOptions[];
  readonly coordinatorConfig?: string;
  readonly coordinatorArgs?: readonly string[];
  readonly coordinatorEnv?: Environment;
  readonly logLevel?: string;
  /** Folder for all homes; the system's temporary folder when left out. */
  readonly within?: string;
}

export interface Federation {
  readonly folder: string;
  readonly coordinator: Seat;
  readonly adminKey: string;
  readonly sites: readonly Site[];
  site(name: string): Site;
  /** Waits until every site is connected, and knows of every other what it knows of itself. */
  settled(): Promise<void>;
  /** Log of every program that ran. */
  printed(): string;
  close(): Promise<void>;
}

const service = (home: string, config: string, port: string, logLevel = LOG_LEVEL): string[] => [
  '--home',
  home,
  '--config',
  config,
  '--port',
  port,
  '--log-level',
  logLevel,
  '--json',
];

const openCoordinator = async (folder: string, options: FederationOptions) => {
  const { coordinatorConfig, coordinatorArgs = [], logLevel } = options;
  const home = join(folder, 'coordinator');
  const config = join(folder, 'coordinator.yaml');
  await writeFile(config, coordinatorConfig ?? '');
  await qflJson(z.looseObject({ setupCode: z.string() }), [
    'coordinator',
    'init',
    '--home',
    home,
    '--name',
    'test',
  ]);
  const start = (port: string) => [
    'coordinator',
    'start',
    ...service(home, config, port, logLevel),
    ...coordinatorArgs,
  ];
  const seat = await openSeat(home, start('0'), start, options.coordinatorEnv);
  const { key: adminKey } = await qflJson(Minted, [
    'key',
    'create',
    '--role',
    'admin',
    '--name',
    'test',
    '--home',
    home,
  ]);
  return { adminKey, seat };
};

const openSite = async (
  folder: string,
  coordinator: Seat,
  options: SiteOptions,
  logLevel?: string,
): Promise<Site> => {
  const { name, config = '', through, env } = options;
  const home = join(folder, name);
  const configFile = join(folder, `${name}.yaml`);
  await writeFile(configFile, config);
  const { token } = await qflJson(z.looseObject({ token: z.string() }), [
    'site',
    'invite',
    name,
    '--auto-approve',
    '--home',
    coordinator.home,
  ]);
  const url = through === undefined ? coordinator.url : await through(coordinator.url);
  const seat = await openSeat(
    home,
    ['agent', 'join', url, '--token', token, '--start', ...service(home, configFile, '0', logLevel)],
    (port) => ['agent', 'start', ...service(home, configFile, port, logLevel)],
    env,
  );
  const joined = await printedBy(seat.program, Joined, `${name} joined`);
  return Object.assign(seat, {
    name,
    joined,
    token,
    configFile,
    status: async () => AgentStatus.parse((await seat.asOperator('/status')).body),
    async key(role: string, department = 'icu', dataClass = 'confidential', user = `${role} ${department}`) {
      const { key } = await qflJson(Minted, [
        'agent',
        'key',
        'create',
        '--home',
        home,
        '--role',
        role,
        '--department',
        department,
        '--data-class',
        dataClass,
        '--name',
        user,
      ]);
      return key;
    },
  });
};

/** Each site sees every other online, with models; and with records where the other holds some. */
const waitUntilSettled = async (sites: readonly Site[]): Promise<void> => {
  for (const site of sites)
    await eventually(`${site.name} sees every site`, async () => {
      const { link, sites: seen } = await site.status();
      return (
        link === 'online' &&
        sites.every(({ name }) =>
          seen?.some((one) => one.site === name && one.online && one.models.length > 0),
        )
      );
    });
};

/** Starts a coordinator and joins all sites, side by side. */
export const startFederation = async (options: FederationOptions): Promise<Federation> => {
  build();
  const folder = await mkdtemp(join(options.within ?? tmpdir(), 'qfl-process-'));
  const { seat: coordinator, adminKey } = await openCoordinator(folder, options);
  const sites = await Promise.all(
    options.sites.map((site) => openSite(folder, coordinator, site, options.logLevel)),
  );
  const settled = () => waitUntilSettled(sites.filter(({ program }) => program.isRunning()));
  await settled();
  return {
    folder,
    coordinator,
    adminKey,
    sites,
    site: (name) => {
      const site = sites.find((one) => one.name === name);
      if (site === undefined) throw new Error(`there is no site ${name}`);
      return site;
    },
    settled,
    printed: () => [coordinator, ...sites].map((seat) => seat.printed()).join('\n'),
    async close() {
      await Promise.all(sites.map(({ program }) => program.kill()));
      await coordinator.program.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** The YAML of a back end. */
export const backendConfig = (name: string, url: string, slots = 8): string =>
  `llm:\n  - name: ${name}\n    url: ${url}\n    slots: ${slots}\n`;
