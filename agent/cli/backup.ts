/** How commands back up and restore an agent that is stopped. */
import type { ProgramBackups } from '../../shared/backup/program.ts';
import { systemClock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import type { MasterKeySources } from '../../shared/keys/master.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { agentBackup, finishRestore } from '../backup.ts';
import { verifyLedger } from '../budget/verify.ts';
import { type AgentHome, openAgentHome } from '../home.ts';
import { placeOf } from './ledger-home.ts';
import { GENERATOR } from '../../shared/version.ts';

const optionsOf = (sources: MasterKeySources) => ({
  sources,
  clock: systemClock,
  random: secureRandomBytes,
});

const using = async <T>(sources: MasterKeySources, use: (home: AgentHome) => Promise<T>): Promise<T> => {
  const home = await openAgentHome(optionsOf(sources));
  try {
    return await use(home);
  } finally {
    await home.close();
  }
};

export const backups: ProgramBackups = {
  async open(sources) {
    const home = await openAgentHome(optionsOf(sources));
    return { source: await agentBackup(home, systemClock, GENERATOR), close: () => home.close() };
  },
  check: (sources) =>
    using(sources, async (home) => {
      await home.audit.log.verify();
      const ledger = await verifyLedger(await placeOf(home));
      if (!ledger.sound) throw new QflError('ledger_damaged', { detail: ledger.faults.join('; ') });
      return {
        checks: [
          `audit log: ${home.audit.log.size} entries, every hash verified`,
          `privacy ledger: ${ledger.records} records, sound`,
        ],
      };
    }),
  finish: (sources, backupMs) =>
    using(sources, async (home) => {
      await finishRestore(home, backupMs, optionsOf(sources));
      return [
        'The privacy ledger is that of the backup. If anything was spent since, the coordinator tells so at the first connection, and this agent serves no statistic until "qfl agent ledger restore" has merged the receipts of other hospitals. It can only show more spend, never less.',
        'The audit log begins anew; its first entry names the one before.',
        'If the key directory holds daily keys that were made after the backup, the agent locks itself down at its first connection: nobody can tell them from a stranger’s but you. Compare, then end the lockdown.',
        `Start it with:  qfl agent start --home ${sources.home}`,
      ];
    }),
};
