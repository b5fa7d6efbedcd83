/** Brings a whole federation up on this machine: a coordinator and some hospitals, each a process with a folder of its own. */
import { access, mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { createHttpClient } from '../../http/client.ts';
import { readControlFile } from '../../http/control.ts';
import { QflError } from '../../errors.ts';
import { qfl, type Service, startService } from './children.ts';

export const SITE_NAMES = [
  'north-hospital',
  'lakeside-clinic',
  'hill-university',
  'harbour-general',
  'forest-childrens',
  'valley-heart',
  'island-infirmary',
  'old-town-hospital',
] as const;
export const COORDINATOR_PORT = 8080;
export const AGENT_PORT = 7070;
const KEY_NAME = 'qfl up';
const READY_TIMEOUT_MS = 45_000;

const ReadyMessage = z.object({ url: z.string(), fingerprint: z.string(), pid: z.number() });

export interface UpSite {
  readonly name: string;
  readonly home: string;
  readonly url: string;
  /** Minted for this run. */
  readonly apiKey: string;
  readonly isNew: boolean;
}

export interface UpFederation {
  readonly coordinator: { readonly url: string; readonly home: string; readonly fingerprint: string };
  readonly sites: readonly UpSite[];
  readonly services: readonly Service[];
  /** Stops agents first, then the coordinator. */
  stop(): Promise<void>;
}

export interface UpOptions {
  readonly home: string;
  readonly sites: number;
  readonly patients: string;
  readonly tell: (text: string) => void;
}

const exists = async (path: string): Promise<boolean> => {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
};

/** The port if it is free, else 0: any free one. */
const freePort = (port: number): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(port)));
  });

const adminClient = async (home: string) => {
  const control = await readControlFile(home);
  if (control === undefined) throw new QflError('not_connected', { detail: `nothing runs from ${home}` });
  return createHttpClient({
    baseUrl: control.url,
    apiKey: control.key,
    env: process.env,
    timeoutMs: READY_TIMEOUT_MS,
  });
};

const startCoordinator = async ({ home, tell }: UpOptions): Promise<Service> => {
  const folder = join(home, 'coordinator');
  if (!(await exists(join(folder, 'data.key')))) {
    tell('Making the coordinator: keys, logs.');
    await qfl(['coordinator', 'init', '--home', folder, '--name', 'demo', '--json']);
  }
  const port = String(await freePort(COORDINATOR_PORT));
  return startService(
    'coordinator',
    ['coordinator', 'start', '--home', folder, '--port', port, '--json'],
    join(home, 'coordinator.log'),
  );
};

const Minted = z.object({ key: z.string() });
const KeyList = z.object({
  keys: z.array(z.looseObject({ id: z.string(), name: z.string(), revoked: z.boolean() })),
});

/** A key for this run; those of earlier runs end. */
const mintKey = async (home: string): Promise<string> => {
  const client = await adminClient(home);
  try {
    const { keys } = await client.json('GET', '/v1/admin/keys', KeyList);
    for (const { id, name, revoked } of keys)
      if (name === KEY_NAME && !revoked) await client.json('DELETE', `/v1/admin/keys/${id}`, z.unknown());
    const { key } = await client.json('POST', '/v1/admin/keys', Minted, {
      body: { name: KEY_NAME, role: 'doctor', department: 'icu', dataClass: 'confidential' },
    });
    return key;
  } finally {
    await client.close();
  }
};

const waitUntilReady = async (home: string): Promise<void> => {
  const client = await adminClient(home);
  const endMs = performance.now() + READY_TIMEOUT_MS;
  try {
    for (;;) {
      try {
        await client.json('GET', '/ready', z.unknown());
        return;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  } finally {
    await client.close();
  }
};

const joinAgent = async (
  name: string,
  port: string,
  coordinatorUrl: string,
  options: UpOptions,
): Promise<Service> => {
  const folder = join(options.home, name);
  const generated = join(folder, 'generated');
  const invitation = z
    .object({ token: z.string() })
    .parse(
      JSON.parse(
        await qfl([
          'site',
          'invite',
          name,
          '--auto-approve',
          '--home',
          join(options.home, 'coordinator'),
          '--json',
        ]),
      ),
    );
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await qfl(['agent', 'sample', generated, '--site', name, '--patients', options.patients, '--json']);
  const service = await startService(
    name,
    [
      'agent',
      'join',
      coordinatorUrl,
      '--token',
      invitation.token,
      '--start',
      '--home',
      folder,
      '--port',
      port,
      '--json',
    ],
    join(options.home, `${name}.log`),
  );
  await qfl(['agent', 'import', join(generated, 'fhir'), '--home', folder, '--json']);
  await qfl(['agent', 'documents', join(generated, 'documents'), '--home', folder, '--json']);
  return service;
};

const startAgent = async (
  name: string,
  port: string,
  coordinatorUrl: string,
  { home }: UpOptions,
): Promise<Service> =>
  startService(
    name,
    [
      'agent',
      'start',
      '--home',
      join(home, name),
      '--port',
      port,
      '--coordinator-url',
      coordinatorUrl,
      '--json',
    ],
    join(home, `${name}.log`),
  );

const Seen = z.looseObject({
  sites: z
    .array(z.looseObject({ site: z.string(), records: z.boolean(), models: z.array(z.string()) }))
    .nullable(),
});

/** Every site knows of every other that it serves and holds records, so that the first question finds them all. */
const waitUntilSeen = async (sites: readonly UpSite[]): Promise<void> => {
  const endMs = performance.now() + READY_TIMEOUT_MS;
  for (const { home } of sites) {
    const client = await adminClient(home);
    try {
      for (;;) {
        const { sites: seen } = await client.json('GET', '/status', Seen);
        const complete = sites.every(({ name }) =>
          seen?.some((one) => one.site === name && one.records && one.models.length > 0),
        );
        if (complete) break;
        if (performance.now() > endMs)
          throw new QflError('timeout', { detail: 'the sites do not see one another' });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    } finally {
      await client.close();
    }
  }
};

/** Starts or continues the federation of a folder. @throws QflError when a part does not start; what did start is stopped */
export const bringUp = async (options: UpOptions): Promise<UpFederation> => {
  const { home, tell } = options;
  await mkdir(home, { recursive: true, mode: 0o700 });
  const coordinator = await startCoordinator(options);
  const { url, fingerprint } = ReadyMessage.parse(coordinator.ready);
  const services: Service[] = [coordinator];
  const stop = async (): Promise<void> => {
    await Promise.all(services.filter((service) => service !== coordinator).map((service) => service.stop()));
    await coordinator.stop();
  };
  const bringSite = async (name: string, at: number): Promise<UpSite> => {
    const folder = join(home, name);
    const isNew = !(await exists(join(folder, 'ledger')));
    tell(isNew ? `${name}: generating records, making keys, joining.` : `${name}: starting with its state.`);
    const port = String(await freePort(AGENT_PORT + at));
    const service = isNew
      ? await joinAgent(name, port, url, options)
      : await startAgent(name, port, url, options);
    services.push(service);
    await waitUntilReady(folder);
    return {
      name,
      home: folder,
      url: ReadyMessage.parse(service.ready).url,
      apiKey: await mintKey(folder),
      isNew,
    };
  };
  try {
    const sites = await Promise.all(SITE_NAMES.slice(0, options.sites).map(bringSite));
    await waitUntilSeen(sites);
    return { coordinator: { url, home: join(home, 'coordinator'), fingerprint }, sites, services, stop };
  } catch (error) {
    await stop();
    throw error;
  }
};
