/** `qfl keys recover begin`: at a hospital that lost its keys. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { note, printJson, run, say } from '../../shared/cli/output.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { agentHomeOptions, loadAgent } from '../main.ts';
import { beginRecovery } from '../recover.ts';

interface Options {
  readonly home?: string;
  readonly config?: string;
  readonly site: string;
  readonly coordinatorPhrase: string;
  readonly coordinatorCa?: string;
  readonly pin?: string;
  readonly out?: string;
  readonly json?: boolean;
}

const begin = async (url: string, options: Options): Promise<void> => {
  const site = SiteId.safeParse(options.site);
  if (!site.success)
    throw new QflError('invalid_request', { detail: `${options.site} is no name of a site` });
  const config = await loadAgent(options);
  const begun = await beginRecovery({
    ...agentHomeOptions(config.home),
    url: url.replace(/\/$/, ''),
    site: site.data,
    coordinatorPhrase: options.coordinatorPhrase,
    tlsFingerprint: options.pin,
    config,
    env: process.env,
  });
  const file = options.out ?? `recover-${begun.site}.txt`;
  await writeFile(file, `${begun.request}\n`, { mode: 0o600 });
  const from = new Date(begun.fromMs).toISOString();
  if (options.json === true)
    return printJson({ site: begun.site, phrase: begun.phrase, file, fromMs: begun.fromMs });
  say(`New keys for ${begun.site} were made in ${config.home}.`);
  say(`Their fingerprint:  ${begun.phrase}   (read it by telephone to whoever approves)`);
  say(
    `The request is in ${file}, good for an hour. Send it to the administrators of two other hospitals; there:`,
  );
  say(`  qfl keys recover approve ${file} --phrase ${begun.phrase}`);
  say(`When both have approved, the keys count from ${from} on. Start the agent now or then:`);
  say(`  qfl agent start --home ${config.home}`);
  note(
    'The privacy ledger was lost with the keys: see "Lost keys" in deploy/keys.md before it serves again.',
  );
};

export const registerRecover = (program: Command): void => {
  const keys = program.commands.find((command) => command.name() === 'keys');
  const recover = keys?.commands.find((command) => command.name() === 'recover');
  if (recover === undefined)
    throw new QflError('internal', { detail: 'there is no command "qfl keys recover"' });
  recover
    .command('begin <URL>')
    .description('make new keys under the old name, and the request that two other hospitals approve')
    .requiredOption('--site <NAME>', "this hospital's name in the federation")
    .requiredOption(
      '--coordinator-phrase <PHRASE>',
      "the coordinator's fingerprint, as its operator or another hospital read it",
    )
    .option('--home <DIR>', 'a new folder (or QFL_HOME)')
    .option('--config <FILE>', 'YAML configuration (or QUANTUM_CONFIG_PATH)')
    .option('--coordinator-ca <FILE>', 'PEM file of a private certificate authority of the coordinator')
    .option('--pin <HEX>', "SHA-256 fingerprint of the coordinator's self-signed certificate")
    .option('--out <FILE>', 'where the request goes; recover-NAME.txt when left out')
    .option('--json', 'print JSON')
    .action((url: string, options: Options) => run(() => begin(url, options), options.json ?? false));
};
