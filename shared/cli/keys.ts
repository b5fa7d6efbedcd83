/** `qfl keys …`: a program's own keys, everybody's in the directory, and what people do about them. */
import { type Command, Option } from 'commander';
import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import { QflError } from '../errors.ts';
import {
  comparisonText,
  MasterRotated,
  OwnKeysShown,
  RecoveryState,
  SiteKeysPage,
  type SiteKeysShown,
} from '../wire/keys.ts';
import {
  AGENT_HOME,
  connect,
  COORDINATOR_HOME,
  type TargetOptions,
  withClient,
  withTarget,
} from './connect.ts';
import { registerGenerate } from './keys-generate.ts';
import { rotateMasterHere } from './keys-master.ts';
import { printJson, run, say, table } from './output.ts';

type Program = 'agent' | 'coordinator';
export interface KeyTarget extends TargetOptions {
  readonly coordinator?: boolean;
}

const programOf = ({ coordinator }: KeyTarget): Program => (coordinator === true ? 'coordinator' : 'agent');
/** A command of either program; `--coordinator` when it is not an agent. */
export const withProgram = (command: Command): Command =>
  withTarget(command, 'agent').option('--coordinator', 'the program is a coordinator');

const ask = <Schema extends z.ZodType>(
  options: KeyTarget,
  schema: Schema,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<z.output<Schema>> =>
  withClient(connect(options, programOf(options)), (client) =>
    client.json(method, path, schema, body === undefined ? {} : { body }),
  );

const day = (ms: number | null): string =>
  ms === null ? '–' : new Date(ms).toISOString().slice(0, 16) + 'Z';
const DAY_MS = 86_400_000;
const ageDays = (sinceMs: number | null): string =>
  sinceMs === null ? '–' : `${Math.max(0, (Date.now() - sinceMs) / DAY_MS).toFixed(1)} days`;

const STANDING: Readonly<Record<OwnKeysShown['standing'], string>> = {
  in_force: 'in force',
  not_in_directory: 'not in the directory yet',
  waiting: 'waiting: recovered keys that do not count yet',
  revoked: 'REVOKED',
  foreign: 'NOT THE ONES IN THE DIRECTORY: call the operator and the other hospitals',
};

export const ownText = (keys: OwnKeysShown): string =>
  [
    `${keys.program} ${keys.name}: keys ${STANDING[keys.standing]}`,
    `fingerprint  ${keys.phrase}   (${keys.fingerprint})`,
    `identity     since ${day(keys.identitySinceMs)}, ${ageDays(keys.identitySinceMs)} old; ${keys.pastIdentities.length} before it`,
    ...keys.epochs.map(
      ({ epoch, fromMs, toMs, held }) =>
        `KEM epoch ${epoch}  ${day(fromMs)} to ${day(toMs)}, ${ageDays(fromMs)} old${held ? '' : ', secret half NOT HERE'}`,
    ),
    `next epoch   ${day(keys.nextEpochMs)}, by itself`,
    ...keys.prekeys.map(
      ({ id, toMs, held }) => `prekey       ${id} until ${day(toMs)}${held ? '' : ', secret half NOT HERE'}`,
    ),
    ...(keys.recovering === null
      ? []
      : [
          `RECOVERY     ${keys.recovering.phrase} takes this name on ${day(keys.recovering.fromMs)}.`,
          '             Unless you asked for that: "qfl keys recover undo" here, now.',
        ]),
  ].join('\n');

const stateOf = (site: SiteKeysShown): string => {
  if (site.revoked) return 'revoked';
  if (site.suspended !== null) return `suspended: ${site.suspended}`;
  if (site.recovering !== null)
    return `RECOVERY: ${site.recovering.phrase} from ${day(site.recovering.fromMs)}`;
  return site.confirmed ? 'in force' : 'not confirmed yet';
};

const sitesText = (sites: readonly SiteKeysShown[]): string =>
  table(
    ['name', 'fingerprint', 'compared', 'identity since', 'epoch', 'until', 'state'],
    sites.map((site) => [
      site.site,
      site.phrase,
      comparisonText(site.comparison),
      day(site.identitySinceMs),
      site.epoch === null ? '–' : String(site.epoch),
      day(site.epochToMs),
      stateOf(site),
    ]),
  );

const recoveryText = (state: RecoveryState): string =>
  state.published
    ? `Approved by ${state.approvedBy.join(' and ')}. ${state.phrase} takes the name ${state.site} on ${day(state.fromMs)}, unless the old keys speak before.`
    : `Approved by ${state.approvedBy.join(' and ')}; ${state.needed - state.approvedBy.length} more is needed, of another hospital, within the hour of the request.`;

interface RotateOptions extends KeyTarget {
  readonly identity?: boolean;
  readonly emergency?: boolean;
  readonly master?: boolean;
  readonly newMaster?: string;
}

const rotateMaster = async (options: RotateOptions): Promise<void> => {
  const home =
    options.home ?? process.env['QFL_HOME'] ?? (options.coordinator === true ? COORDINATOR_HOME : AGENT_HOME);
  const file = options.newMaster ?? null;
  const rotated =
    (await rotateMasterHere(home, file)) ??
    (await ask(options, MasterRotated, 'POST', '/v1/directory/keys/master', { file }));
  if (options.json === true) return printJson(rotated);
  say(
    rotated.source === 'file'
      ? `${home}/master.key is new, and nothing opens under the old one any more. Back it up away from this machine.`
      : 'The next start needs the new master key: put it where the old one comes from before you restart.',
  );
};

const rotate = async (options: RotateOptions): Promise<void> => {
  if (options.master === true) return rotateMaster(options);
  const what = options.emergency === true ? 'emergency' : options.identity === true ? 'identity' : 'kem';
  const keys = await ask(options, OwnKeysShown, 'POST', '/v1/directory/keys/rotate', { what });
  if (options.json === true) return printJson(keys);
  say(ownText(keys));
  if (what !== 'kem')
    say(
      '\nThe fingerprint is new: read it to the other hospitals. Until then they show it as "not compared".',
    );
};

const registerRecovery = (keys: Command): void => {
  const recover = keys.command('recover').description('new keys for a hospital that lost its own');
  withTarget(
    recover
      .command('approve <FILE>')
      .description("another hospital's request, after it has read its phrase to you by telephone"),
    'agent',
  )
    .requiredOption('--phrase <PHRASE>', 'as the hospital read it to you')
    .action((file: string, options: TargetOptions & { phrase: string }) =>
      run(async () => {
        const request = await readFile(file, 'utf8').catch((cause: unknown) => {
          throw new QflError('invalid_request', { detail: `${file} cannot be read`, cause });
        });
        const state = await ask(options, RecoveryState, 'POST', '/v1/directory/recoveries/approve', {
          request: request.trim(),
          phrase: options.phrase,
        });
        return options.json === true ? printJson(state) : say(recoveryText(state));
      }, options.json ?? false),
    );
  withTarget(
    recover.command('undo').description('the keys here are not lost: end a recovery of this name that waits'),
    'agent',
  ).action((options: TargetOptions) =>
    run(async () => {
      const shown = await ask(options, OwnKeysShown, 'POST', '/v1/directory/recoveries/undo');
      if (options.json === true) return printJson(shown);
      say('The keys here have spoken in the directory.');
      say(ownText(shown));
    }, options.json ?? false),
  );
};

export const registerKeys = (program: Command): void => {
  const keys = program.command('keys').description('keys of a program, and of everybody in the directory');
  registerGenerate(keys);
  withProgram(keys.command('show').description("this program's keys: fingerprint, epochs, ages")).action(
    (options: KeyTarget) =>
      run(async () => {
        const shown = await ask(options, OwnKeysShown, 'GET', '/v1/directory/keys');
        return options.json === true ? printJson(shown) : say(ownText(shown));
      }, options.json ?? false),
  );
  withProgram(
    keys.command('list').description("everybody's keys, and whose fingerprint has been compared here"),
  ).action((options: KeyTarget) =>
    run(async () => {
      const { sites } = await ask(options, SiteKeysPage, 'GET', '/v1/directory/sites');
      return options.json === true ? printJson(sites) : say(sitesText(sites));
    }, options.json ?? false),
  );
  withTarget(
    keys
      .command('compare <SITE> <PHRASE>')
      .description('keep that this is the fingerprint the hospital read to you by telephone'),
    'agent',
  ).action((site: string, phrase: string, options: TargetOptions) =>
    run(async () => {
      const path = `/v1/directory/sites/${encodeURIComponent(site)}/compare`;
      const { sites } = await ask(options, SiteKeysPage, 'POST', path, { phrase });
      return options.json === true ? printJson(sites[0] ?? null) : say(`${site}: compared by voice.`);
    }, options.json ?? false),
  );
  withProgram(
    keys.command('rotate').description('new keys now: the next KEM epoch, unless an option says more'),
  )
    .option('--identity', 'a new identity and epoch; what is under way under the old one is finished')
    .option('--emergency', 'new identity, epoch and prekeys; the old ones are refused at once')
    // A master key is no key of the directory: asked for both, one of them would be forgotten.
    .addOption(
      new Option('--master', 'another master key for what is stored in the home folder').conflicts([
        'identity',
        'emergency',
      ]),
    )
    .addOption(
      new Option(
        '--new-master <FILE>',
        'as --master, with the new one from this file; needed when it is no file of the home folder',
      )
        .implies({ master: true })
        .conflicts(['identity', 'emergency']),
    )
    .action((options: RotateOptions) => run(() => rotate(options), options.json ?? false));
  registerRecovery(keys);
};
