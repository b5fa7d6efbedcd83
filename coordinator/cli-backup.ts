/** How commands back up and restore a coordinator that is stopped. */
import type { ProgramBackups } from '../shared/backup/program.ts';
import { systemClock } from '../shared/clock.ts';
import type { MasterKeySources } from '../shared/keys/master.ts';
import { secureRandomBytes } from '../shared/random.ts';
import { coordinatorBackup, finishRestore } from './backup.ts';
import { type CoordinatorHome, type HomeOptions, openCoordinatorHome } from './home.ts';
import { GENERATOR } from '../shared/version.ts';

const optionsOf = (sources: MasterKeySources): HomeOptions => ({
  sources,
  clock: systemClock,
  random: secureRandomBytes,
});

const using = async <T>(
  sources: MasterKeySources,
  use: (home: CoordinatorHome, options: HomeOptions) => Promise<T>,
): Promise<T> => {
  const options = optionsOf(sources);
  const home = await openCoordinatorHome(options);
  try {
    return await use(home, options);
  } finally {
    await home.close();
  }
};

export const backups: ProgramBackups = {
  async open(sources) {
    const home = await openCoordinatorHome(optionsOf(sources));
    return { source: await coordinatorBackup(home, systemClock, GENERATOR), close: () => home.close() };
  },
  check: (sources) =>
    using(sources, async (home) => {
      await home.keyLog.log.verify();
      await home.audit.log.verify();
      return {
        checks: [
          `key directory: ${home.keyLog.log.size} records, every hash verified`,
          `audit log: ${home.audit.log.size} entries, every hash verified`,
        ],
      };
    }),
  finish: (sources, backupMs, directory) =>
    using(sources, async (home, options) => {
      const { leavesAdded } = await finishRestore(
        home,
        backupMs,
        options,
        directory === undefined ? undefined : { leaves: directory },
      );
      return [
        ...(directory === undefined
          ? [
              'The key directory is that of the backup. If hospitals have seen a newer one they refuse this coordinator: bring one of them ("qfl agent directory --out directory.ndjson") and restore again with --directory.',
            ]
          : [`The key directory is up to date: ${leavesAdded} records came from the hospital.`]),
        'The audit log begins anew; its first entry names the one before. Keep older exports: they prove what the backup no longer holds.',
        'Sites that joined after the backup are not known here: revoke and invite them again.',
        `Start it with:  qfl coordinator start --home ${sources.home}`,
      ];
    }),
};
