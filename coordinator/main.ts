/** `qfl coordinator …`: settings and signals. */
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
import type { CoordinatorConfig } from '../shared/config/config.ts';
import { loadConfig } from '../shared/config/load.ts';
import { fingerprintPhrase } from '../shared/directory/record.ts';
import { createLogger } from '../shared/log.ts';
import { masterKeyAdvice } from '../shared/keys/master.ts';
import { secureRandomBytes } from '../shared/random.ts';
import { createSetupCodes } from './access/setup-code.ts';
import {
  type CoordinatorHome,
  createCoordinatorHome,
  type HomeOptions,
  openCoordinatorHome,
} from './home.ts';
import { startCoordinator } from './start.ts';

interface Options extends ServiceOptions {
  readonly json?: boolean;
  readonly name: string;
}

const load = async (options: ServiceOptions): Promise<CoordinatorConfig> => {
  const { config, notices } = await loadConfig('coordinator', {
    env: process.env,
    ...(options.config === undefined ? {} : { file: options.config }),
  });
  showNotices(notices);
  return withOverrides(config, options);
};

const homeOptions = (home: string): HomeOptions => ({
  sources: {
    home,
    environment: process.env['MASTER_KEY'],
    credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
  },
  clock: systemClock,
  random: secureRandomBytes,
});

const init = async (options: Options): Promise<void> => {
  const config = await load(options);
  const home = await createCoordinatorHome(options.name, homeOptions(config.home));
  try {
    const setupCode = await setupCodes(home).create();
    const fingerprint = fingerprintPhrase(home.fingerprint);
    if (options.json === true)
      return printJson({ home: config.home, federation: options.name, fingerprint, setupCode });
    say(`The coordinator of federation "${options.name}" is set up in ${config.home}.`);
    say(`Fingerprint:  ${fingerprint}   (hospitals compare it when they join)`);
    say(`Setup code:   ${setupCode}   (shown once; makes the first administrator, within seven days)`);
    say(masterKeyAdvice(config.home));
    say(`Start it with:  qfl coordinator start --home ${config.home}`);
    say(`Then:           qfl account setup --code ${setupCode} --username NAME --home ${config.home}`);
  } finally {
    await home.close();
  }
};

const setupCodes = (home: CoordinatorHome) => createSetupCodes(home.store, systemClock, secureRandomBytes);

/** Another setup code, while the coordinator rests: whoever can open its folder may. */
const setupCode = async (options: Options): Promise<void> => {
  const config = await load(options);
  const home = await openCoordinatorHome({
    ...homeOptions(config.home),
    logQueueEntries: config.limits.logQueueEntries,
  });
  try {
    await home.audit.record({ action: 'key.created', outcome: 'begun', role: 'operator' });
    const code = await setupCodes(home).create();
    if (options.json === true) return printJson({ setupCode: code });
    say(`Setup code:   ${code}   (shown once; makes one administrator, within seven days)`);
  } finally {
    await home.close();
  }
};

const start = async (options: Options): Promise<void> => {
  const config = await load(options);
  const log = createLogger('coordinator', config.logLevel, config.logFile);
  const running = await startCoordinator(config, {
    ...homeOptions(config.home),
    logger: log.logger,
    env: process.env,
  });
  reloadOnSignal(() => load(options), running, log);
  if (options.json === true)
    printJson({ url: running.address.url, fingerprint: running.fingerprintPhrase, pid: process.pid });
  else
    say(
      `Coordinator of "${running.home.name}" at ${running.address.url}, fingerprint ${running.fingerprintPhrase}`,
    );
  await runUntilSignal(() => running.close());
};

export { backups } from './cli-backup.ts';

export const register = (program: Command): void => {
  const coordinator = program.command('coordinator').description('the meeting point of a federation');
  withService(coordinator.command('init').description('make keys, logs and a setup code in an empty folder'))
    .option('--name <NAME>', 'name of the federation', 'federation')
    .option('--json', 'print JSON')
    .action((options: Options) => run(() => init(options), options.json ?? false));
  withService(
    coordinator
      .command('setup-code')
      .description('make another setup code, while the coordinator is stopped'),
  )
    .option('--json', 'print JSON')
    .action((options: Options) => run(() => setupCode(options), options.json ?? false));
  withService(coordinator.command('start').description('run until stopped by a signal'))
    .option('--json', 'print JSON')
    .action((options: Options) => run(() => start(options), options.json ?? false));
};
