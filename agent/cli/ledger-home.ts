/** What the commands on a ledger's folder share: the home of a stopped agent, who decides, and the entry in the audit log. */
import { systemClock } from '../../shared/clock.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import type { Decision } from '../budget/administration.ts';
import type { AgentHome } from '../home.ts';
import { ledgerPlace } from '../ledger.ts';
import type { HomeOption } from './home.ts';

export interface DecisionOptions extends HomeOption {
  readonly by: string;
  readonly reason: string;
}

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
