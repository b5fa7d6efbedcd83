/** `qfl agent …`: settings and signals. */
import type { Command } from 'commander';
import { printJson, run, say } from '../shared/cli/output.ts';
import {
  reloadOnSignal,
  runUntilSignal,
  type ServiceOptions,
  showNotices,
  withOverrides,
  withService,
} from '../shared/cli/service.ts';
import { systemClock } from '../shared/clock.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import { loadConfig } from '../shared/config/load.ts';
import { createLogger } from '../shared/log.ts';
import { masterKeyAdvice } from '../shared/keys/master.ts';
import { secureRandomBytes } from '../shared/random.ts';
import { registerDirectoryCopy } from './cli/directory.ts';
import { registerBudget } from './cli/budget.ts';
import { registerLedger } from './cli/ledger.ts';
import { registerLocal } from './cli/local.ts';
import { registerSiteModel } from './cli/model.ts';
import { registerRecover } from './cli/recover.ts';
import { registerReceipts } from './cli/receipts.ts';
import { registerUsage } from './cli/usage.ts';
import type { AgentHomeOptions } from './home.ts';
import { joinFederation } from './join.ts';
import { startAgent } from './start.ts';

interface Options extends ServiceOptions {
  readonly json?: boolean;
  readonly coordinatorUrl?: string;
  readonly coordinatorCa?: string;
}
interface JoinOptions extends Options {
  readonly token: string;
  readonly start?: boolean;
}

export const loadAgent = async (options: Options): Promise<AgentConfig> => {
  const { config, notices } = await loadConfig('agent', {
    env: process.env,
    ...(options.config === undefined ? {} : { file: options.config }),
  });
  showNotices(notices);
  const { coordinator } = config;
  return {
    ...withOverrides(config, options),
    coordinator: {
      url: options.coordinatorUrl ?? coordinator.url,
      caFile: options.coordinatorCa ?? coordinator.caFile,
    },
  };
};

export const agentHomeOptions = (home: string): AgentHomeOptions => ({
  sources: {
    home,
    environment: process.env['MASTER_KEY'],
    credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
  },
  clock: systemClock,
  random: secureRandomBytes,
});

const serve = async (config: AgentConfig, load: () => Promise<AgentConfig>, json: boolean): Promise<void> => {
  const log = createLogger('agent', config.logLevel, config.logFile);
  const running = await startAgent(config, {
    ...agentHomeOptions(config.home),
    logger: log.logger,
    env: process.env,
  });
  reloadOnSignal(load, running, log);
  const { site } = running.home.profile;
  if (json)
    printJson({ site, url: running.address.url, fingerprint: running.fingerprintPhrase, pid: process.pid });
  else say(`Agent of ${site} at ${running.address.url}, fingerprint ${running.fingerprintPhrase}`);
  await runUntilSignal(() => running.close());
};

const join = async (url: string, options: JoinOptions): Promise<void> => {
  const config = await loadAgent(options);
  const { logger } = createLogger('agent', config.logLevel, config.logFile);
  const joined = await joinFederation({
    ...agentHomeOptions(config.home),
    url: url.replace(/\/$/, ''),
    token: options.token,
    config,
    env: process.env,
    logger,
  });
  if (options.json === true) printJson(joined);
  else {
    say(`${joined.site} joined. Keys were made in ${config.home}; they never leave it.`);
    say(`This site's fingerprint:   ${joined.fingerprintPhrase}   (read it to the operator)`);
    say(`Coordinator's fingerprint: ${joined.coordinatorPhrase}   (let the operator read it to you)`);
    if (joined.status === 'pending')
      say(`Waiting for approval: the operator runs "qfl site approve ${joined.site}".`);
    say(masterKeyAdvice(config.home));
  }
  if (options.start === true) await serve(config, () => loadAgent(options), options.json ?? false);
  else if (options.json !== true) say(`Start it with:  qfl agent start --home ${config.home}`);
};

const withAgent = (command: Command): Command =>
  withService(command)
    .option('--coordinator-url <URL>', 'address of the coordinator, when it moved since joining')
    .option('--coordinator-ca <FILE>', 'PEM file of a private certificate authority of the coordinator')
    .option('--json', 'print JSON');

export { backups } from './cli/backup.ts';

export const register = (program: Command): void => {
  const agent = program.command('agent').description('the part at one hospital');
  withAgent(agent.command('join <URL>').description('make keys here and join a federation'))
    .requiredOption('--token <TOKEN>', 'from "qfl site invite"')
    .option('--start', 'serve at once')
    .action((url: string, options: JoinOptions) => run(() => join(url, options), options.json ?? false));
  withAgent(agent.command('start').description('run until stopped by a signal')).action((options: Options) =>
    run(
      async () => serve(await loadAgent(options), () => loadAgent(options), options.json ?? false),
      options.json ?? false,
    ),
  );
  registerLocal(agent);
  registerUsage(agent);
  registerBudget(agent);
  registerDirectoryCopy(agent);
  registerReceipts(agent);
  registerSiteModel(agent);
  registerLedger(agent);
  registerRecover(program);
};
