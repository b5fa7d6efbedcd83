/** `qfl up`: a whole federation on this machine, ready to query; what `npm start` runs. */
import type { Command } from 'commander';
import { resolve } from 'node:path';
import { z } from 'zod';
import { createHttpClient } from '../http/client.ts';
import { readControlFile } from '../http/control.ts';
import { QflError } from '../errors.ts';
import { EXIT_FAILED, note, printJson, run, say, table } from './output.ts';
import { checkFederation, type CheckRow } from './up/check.ts';
import { bringUp, SITE_NAMES, type UpFederation } from './up/federation.ts';

interface UpCommandOptions {
  readonly home: string;
  readonly sites: string;
  readonly patients: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

const STATUS_MS = 3_000;
/** How this command is called by whoever has only the repository. */
const CALL = 'npx qfl';

const places = ({ coordinator, sites }: UpFederation): string =>
  table(
    ['what', 'address', 'folder', 'API key (this run; only its hash is kept)'],
    [
      ['coordinator', coordinator.url, coordinator.home, '–'],
      ...sites.map(({ name, url, home, apiKey }) => [name, url, home, apiKey]),
    ],
  );

const tryThese = ({ coordinator, sites: [site] }: UpFederation): string =>
  site === undefined
    ? ''
    : [
        'Three commands to try (in another terminal):',
        `  ${CALL} query chat "When should lactate be measured in suspected sepsis?" --url ${site.url} --key ${site.apiKey}`,
        `  ${CALL} query stats --count Condition --where code=44054006 --url ${site.url} --key ${site.apiKey}`,
        `  ${CALL} audit policy --out policy.txt --home ${site.home} && ${CALL} audit export --out audit.tar --home ${coordinator.home} && ${CALL} audit verify audit.tar --policy policy.txt`,
        '',
        `Any OpenAI client works too: base URL ${site.url}/v1, the site's key. API documents: ${site.url}/docs and ${coordinator.url}/docs`,
      ].join('\n');

const Status = z.looseObject({
  sites: z.array(z.looseObject({ site: z.string(), online: z.boolean() })),
  auditSize: z.number(),
  directorySize: z.number(),
});

/** One line, rewritten in place on a terminal. */
const watchStatus = (federation: UpFederation): (() => void) => {
  let client: ReturnType<typeof createHttpClient> | undefined;
  const show = async (): Promise<void> => {
    const control = await readControlFile(federation.coordinator.home);
    if (control === undefined) return;
    client ??= createHttpClient({
      baseUrl: control.url,
      apiKey: control.key,
      env: process.env,
      timeoutMs: STATUS_MS,
    });
    const status = await client.json('GET', '/status', Status);
    const online = status.sites.filter((one) => one.online).length;
    process.stderr.write(
      `\r\u001b[2K${new Date().toISOString().slice(11, 19)}  ${online}/${status.sites.length} sites online · ${status.auditSize} log entries · ${status.directorySize} directory records · Ctrl-C stops everything`,
    );
  };
  if (!process.stderr.isTTY) return () => undefined;
  const timer = setInterval(() => void show().catch(() => undefined), STATUS_MS);
  return () => {
    clearInterval(timer);
    process.stderr.write('\n');
    void client?.close();
  };
};

const signalled = (): Promise<void> =>
  new Promise((resolveSignal) => {
    process.once('SIGINT', () => resolveSignal());
    process.once('SIGTERM', () => resolveSignal());
  });

/** A part that ends by itself is a fault: the rest is stopped and the fault is named. */
const anyGone = async ({ services }: UpFederation): Promise<string> =>
  Promise.race(services.map(({ name, gone }) => gone.then(() => name)));

const serve = async (federation: UpFederation): Promise<void> => {
  const stopStatus = watchStatus(federation);
  const ended = await Promise.race([signalled().then(() => null), anyGone(federation)]);
  stopStatus();
  note('Stopping agents, then the coordinator.');
  await federation.stop();
  if (ended !== null)
    throw new QflError('internal', {
      detail: `${ended} ended by itself`,
      next: 'See its .log file in the home folder.',
    });
  note('Stopped. The next start goes on with this state.');
};

const checkText = (rows: readonly CheckRow[]): string =>
  table(
    ['check', 'result', 'ms', 'what happened'],
    rows.map(({ what, ok, tookMs, found }) => [what, ok ? 'ok' : 'FAILED', String(tookMs), found]),
  );

const check = async (federation: UpFederation, upMs: number, json: boolean): Promise<void> => {
  const up: CheckRow = {
    what: 'federation up',
    ok: true,
    tookMs: upMs,
    found: `coordinator and ${federation.sites.length} agents, ${federation.services.length} processes`,
  };
  const rows = [up, ...(await checkFederation(federation))];
  await federation.stop();
  if (json) printJson(rows);
  else say(checkText(rows));
  if (rows.some(({ ok }) => !ok)) process.exitCode = EXIT_FAILED;
};

const up = async (options: UpCommandOptions): Promise<void> => {
  const sites = Number(options.sites);
  if (!Number.isInteger(sites) || sites < 1 || sites > SITE_NAMES.length)
    throw new QflError('invalid_request', { detail: `--sites takes 1 to ${SITE_NAMES.length}` });
  const startedMs = performance.now();
  const federation = await bringUp({
    home: resolve(options.home),
    sites,
    patients: options.patients,
    tell: note,
  });
  const upMs = Math.round(performance.now() - startedMs);
  if (options.check === true) return check(federation, upMs, options.json ?? false);
  if (options.json === true)
    printJson({ coordinator: federation.coordinator, sites: federation.sites, upMs });
  else
    say(
      `\nThe federation is up after ${(upMs / 1_000).toFixed(1)} s. Records are generated; no real person is in them.\n\n${places(federation)}\n\n${tryThese(federation)}\n`,
    );
  await serve(federation);
};

export const registerUp = (program: Command): void => {
  program
    .command('up')
    .description('a whole federation on this machine: a coordinator and hospitals with generated records')
    .option('--home <DIR>', 'where its state is kept', '.qfl')
    .option('--sites <COUNT>', 'hospitals', '3')
    .option('--patients <COUNT>', 'generated patients of each new hospital', '400')
    .option('--check', 'try one of everything, print what happened, stop; exit 0 only if all worked')
    .option('--json', 'print JSON')
    .action((options: UpCommandOptions) => run(() => up(options), options.json ?? false));
};
