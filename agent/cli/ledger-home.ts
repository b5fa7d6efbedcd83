/** What the commands on a ledger's folder share: the home of a stopped agent, who decides, and the entry in the audit log. */
import { AGENT_HOME } from '../../shared/cli/connect.ts';
import { systemClock } from '../../shared/clock.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import type { Decision } from '../budget/administration.ts';
import { type AgentHome, openAgentHome } from '../home.ts';
import { ledgerPlace } from '../ledger.ts';

export interface HomeOption {
  readonly home?: string;
  readonly json?: boolean;
}
export interface DecisionOptions extends HomeOption {
  readonly by: string;
  readonly reason: string;
}

export const withHome = async <T>(options: HomeOption, use: (home: AgentHome) => Promise<T>): Promise<T> => {
  const home = await openAgentHome({
    sources: {
      home: options.home ?? process.env['QFL_HOME'] ?? AGENT_HOME,
      environment: process.env['MASTER_KEY'],
      credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
    },
    clock: systemClock,
    random: secureRandomBytes,
  });
  try {
    return await use(home);
  } finally {
    await home.close();
  }
};

export const placeOf = (home: AgentHome) =>
  ledgerPlace({
    home: home.path,
    site: home.profile.site,
    dataKey: home.dataKey,
    clock: systemClock,
    random: secureRandomBytes,
  });

const log = (
  home: AgentHome,
  action: 'ledger.restored' | 'ledger.stated' | 'ledger.compacted' | 'ledger.block_retired',
  outcome: 'begun' | 'ok' | 'failed',
  detail: unknown,
) => home.audit.record({ action, outcome, detail: Buffer.from(JSON.stringify(detail)) });

/** No entry, no action; and how it ended. */
export const logged = async <T>(
  home: AgentHome,
  action: Parameters<typeof log>[1],
  detail: unknown,
  work: () => Promise<T>,
): Promise<T> => {
  await log(home, action, 'begun', detail);
  try {
    const done = await work();
    await log(home, action, 'ok', detail);
    return done;
  } catch (error) {
    await log(home, action, 'failed', detail);
    throw error;
  }
};

export const decisionOf = ({ by, reason }: DecisionOptions): Decision => ({ by, reason });
