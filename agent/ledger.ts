/** The site's privacy ledger with the budgets of its configuration; the rules themselves are in `budget/`. */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../shared/clock.ts';
import { DAY_MS } from '../shared/clock.ts';
import type { AgentConfig } from '../shared/config/config.ts';
import { QflError, toQflError } from '../shared/errors.ts';
import { DepartmentId, Pseudonym, SiteId } from '../shared/ids.ts';
import type { Logger } from '../shared/log.ts';
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

const RULES = { rdp: 'rdp_fixed_order', rdp_curve: 'rdp_curve', zcdp: 'zcdp', basic: 'basic' } as const;

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
    ...(privacy.askingSiteDailyBudgetsEpsilon.size === 0
      ? {}
      : {
          askingSites: Object.fromEntries(
            [...privacy.askingSiteDailyBudgetsEpsilon].map(([name, epsilon]) => [
              SiteId.parse(name),
              budget(epsilon, privacy.delta),
            ]),
          ),
        }),
    ...(privacy.dataBlocks === 'off'
      ? {}
      : { dataBlock: budget(privacy.dataBlockBudgetEpsilon, privacy.siteLifetimeDelta) }),
    siteLifetime: budget(privacy.siteLifetimeBudgetEpsilon, privacy.siteLifetimeDelta),
    ...(Math.round(privacy.thresholdDeltaShare * MICRO) === 0
      ? {}
      : { thresholdDeltaMillionths: Math.round(privacy.thresholdDeltaShare * MICRO) }),
  });

/** Where the ledger of a home folder is, for commands that work on it while the agent is stopped. */
export const ledgerPlace = async ({
  home,
  site,
  dataKey,
  clock,
  random,
}: Pick<AgentLedgerOptions, 'home' | 'site' | 'dataKey' | 'clock' | 'random'>) => ({
  folder: await nodeLedgerFolder(join(home, FOLDER)),
  dataKey,
  clock,
  site: SiteId.parse(site),
  random,
});

/** Only joining makes a ledger; one that is there already is kept. */
export const createAgentLedger = async (options: AgentLedgerOptions): Promise<void> => {
  try {
    await createLedger({ ...(await ledgerPlace(options)), limits: limitsOf(options.config) });
  } catch (error) {
    // A join that was refused or interrupted runs again; the start verifies what is there.
    if (toQflError(error).code !== 'conflict') throw error;
  }
};

export interface AgentLedger {
  readonly ledger: Ledger;
  /** The coordinator signed this time. */
  readonly confirmTime: (timeMs: number) => void;
  /**
   * Puts the budgets of a configuration in force as far as `allowed` lets them; a record when they differ.
   * @throws QflError `config_invalid`
   */
  readonly changeBudgets: (
    config: AgentConfig,
    allowed: (wanted: LedgerLimits) => Promise<LedgerLimits>,
  ) => Promise<void>;
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
  const ledger = await openLedger({ ...(await ledgerPlace(options)), store: options.store, confirmedDay });
  const changeBudgets: AgentLedger['changeBudgets'] = async (config, allowed) => {
    const wanted = await allowed(limitsOf(config));
    if (isDeepStrictEqual(LedgerLimits.parse(ledger.limits()), wanted)) return;
    await ledger.changeLimits(wanted, {
      by: 'configuration',
      reason: 'the budgets of the configuration changed',
    });
  };
  return {
    ledger,
    changeBudgets,
    confirmTime: (timeMs) => void (confirmed = { timeMs, atMonotonicMs: clock.monotonicMs() }),
  };
};

/** Long enough that a verification of millions of records takes a small part of the machine. */
const VERIFY_PAUSE_MS = 5;

/** Reads the whole ledger every 24 hours while it serves; damage ends its service and is logged. Returns what stops it. */
export const verifyDaily = (ledger: Ledger, logger: Logger): (() => void) => {
  let stopped = false;
  let running: Promise<void> | undefined;
  const pause = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, VERIFY_PAUSE_MS));
    if (stopped) throw new QflError('cancelled');
  };
  const verify = async (): Promise<void> => {
    try {
      const { records } = await ledger.verify(pause);
      logger.info({ records }, 'the privacy ledger is verified in full');
    } catch (error) {
      if (!stopped) logger.error({ err: error }, 'the privacy ledger could not be verified in full');
    } finally {
      running = undefined;
    }
  };
  const timer = setInterval(() => {
    running ??= verify();
  }, DAY_MS);
  return () => {
    stopped = true;
    clearInterval(timer);
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
