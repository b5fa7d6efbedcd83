/** The site's privacy ledger with the budgets of its configuration; the rules themselves are in `budget/`. */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../shared/clock.ts';
import { DAY_MS } from '../shared/clock.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import { toQflError } from '../shared/errors.ts';
import { DepartmentId, Pseudonym, SiteId } from '../shared/ids.ts';
import { microEpsilon } from '../shared/privacy/epsilon.ts';
import type { RandomBytes } from '../shared/random.ts';
import type { Store } from '../shared/store/port.ts';
import { createLedger, type Ledger, LedgerLimits, type LedgerReading, openLedger } from './budget/ledger.ts';
import { nodeLedgerFolder } from './budget/node-disk.ts';

const FOLDER = 'ledger';
const MICRO = 1_000_000;

export interface AgentLedgerOptions {
  readonly home: string;
  readonly site: string;
  readonly dataKey: Uint8Array;
  readonly store: Store;
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

/** Configuration numbers are decimals with few digits; the ledger holds integers. */
const budget = (epsilon: number, delta: number) => ({
  microEpsilon: microEpsilon(Math.round(epsilon * MICRO)),
  delta: delta.toExponential(),
});

const RULES = { rdp: 'rdp_fixed_order', zcdp: 'zcdp', basic: 'basic' } as const;

export const limitsOf = ({ privacy }: AgentConfig): LedgerLimits =>
  LedgerLimits.parse({
    rule: RULES[privacy.compositionMethod],
    microEpsilonPerQueryMax: microEpsilon(Math.round(privacy.epsilonPerQueryMax * MICRO)),
    userDay: budget(privacy.userDailyBudgetEpsilon, privacy.delta),
    departmentDay: Object.fromEntries(
      [...privacy.departmentDailyBudgetsEpsilon].map(([name, epsilon]) => [
        DepartmentId.parse(name),
        budget(epsilon, privacy.delta),
      ]),
    ),
    askingSiteDay: budget(privacy.askingSiteDailyBudgetEpsilon, privacy.delta),
    siteLifetime: budget(privacy.siteLifetimeBudgetEpsilon, privacy.siteLifetimeDelta),
  });

const place = async ({ home, site, dataKey, clock, random }: AgentLedgerOptions) => ({
  folder: await nodeLedgerFolder(join(home, FOLDER)),
  dataKey,
  clock,
  site: SiteId.parse(site),
  random,
});

/** Only joining makes a ledger; one that is there already is kept. */
export const createAgentLedger = async (options: AgentLedgerOptions): Promise<void> => {
  try {
    await createLedger({ ...(await place(options)), limits: limitsOf(options.config) });
  } catch (error) {
    // A join that was refused or interrupted runs again; the start verifies what is there.
    if (toQflError(error).code !== 'conflict') throw error;
  }
};

export interface AgentLedger {
  readonly ledger: Ledger;
  /** The coordinator signed this time. */
  readonly confirmTime: (timeMs: number) => void;
  /** Puts the budgets of a configuration in force; a record when they differ. @throws QflError `config_invalid` */
  readonly changeBudgets: (config: AgentConfig) => Promise<void>;
}

/** Opens the ledger; its budgets follow the configuration, and the change is a record of its own. */
export const openAgentLedger = async (options: AgentLedgerOptions): Promise<AgentLedger> => {
  let confirmed: { timeMs: number; atMonotonicMs: number } | undefined;
  const { clock } = options;
  /** The signed day moves on with our own monotonic clock between two confirmations. */
  const confirmedDay = (): number | undefined =>
    confirmed === undefined
      ? undefined
      : Math.floor((confirmed.timeMs + clock.monotonicMs() - confirmed.atMonotonicMs) / DAY_MS);
  const ledger = await openLedger({ ...(await place(options)), store: options.store, confirmedDay });
  const changeBudgets = async (config: AgentConfig): Promise<void> => {
    const wanted = limitsOf(config);
    if (isDeepStrictEqual(LedgerLimits.parse(ledger.limits()), wanted)) return;
    await ledger.changeLimits(wanted, {
      by: 'configuration',
      reason: 'the budgets of the configuration changed',
    });
  };
  await changeBudgets(options.config);
  return {
    ledger,
    changeBudgets,
    confirmTime: (timeMs) => void (confirmed = { timeMs, atMonotonicMs: clock.monotonicMs() }),
  };
};

/** The site-lifetime budget, which reads the same for every asker. */
export const lifetimeReading = (ledger: Ledger, site: SiteId): LedgerReading | undefined => {
  const [department] = Object.keys(ledger.limits().departmentDay);
  if (department === undefined) return undefined;
  const nobody = {
    sender: site,
    asker: Pseudonym.parse('0'.repeat(32)),
    department: DepartmentId.parse(department),
  };
  return ledger.readings(nobody).find((reading) => reading.ledger === 'site_lifetime');
};
