/** The budgets of a site, the filters they become, and what a query costs under each. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, SiteId } from '../../shared/ids.ts';
import { SHARE_MAX } from '../../shared/privacy/delta.ts';
import { MicroEpsilon, microEpsilon } from '../../shared/privacy/epsilon.ts';
import { type Mechanism, MechanismText, mechanismToText } from '../../shared/privacy/mechanism.ts';
import { type Amount, lossOf } from './amount.ts';
import { costOfAll, createLedgerFilter, LEDGER_RULES, type LedgerFilter } from './filters.ts';

/** Text, because canonical records hold no floats. */
const Delta = z
  .string()
  .regex(/^(0\.\d{1,30}|[1-9](\.\d{1,15})?e-\d{1,3})$/, 'delta is a number between 0 and 1, such as 1e-5')
  .refine((text) => Number(text) > 0, 'delta is above 0');

export const BudgetLimit = z.strictObject({ microEpsilon: MicroEpsilon, delta: Delta });
export type BudgetLimit = z.infer<typeof BudgetLimit>;

export const LedgerLimits = z.strictObject({
  rule: z.enum(LEDGER_RULES),
  /** The most one query may ask of this site. */
  microEpsilonPerQueryMax: MicroEpsilon,
  /** Per day, for each (asking site, pseudonym). */
  userDay: BudgetLimit,
  /** Per day, for each department of each asking site. A department not named here cannot ask. */
  departmentDay: z.record(DepartmentId, BudgetLimit),
  /** Per day, for each asking site in all: a lying site can invent users and departments, not sites. */
  askingSiteDay: BudgetLimit,
  /** Sites whose cap is another than `askingSiteDay`. */
  askingSites: z.record(SiteId, BudgetLimit).exactOptional(),
  /**
   * Of each data block, for ever; without it there are no blocks. Counted at the order of the lifetime ledger, so that a charge costs the same
   * in both; where blocks are kept from the beginning, that is the best order for them.
   */
  dataBlock: BudgetLimit.exactOptional(),
  /** Never resets: the patient's guarantee. */
  siteLifetime: BudgetLimit,
  /**
   * Parts of a million of each ledger's delta that are kept for releases above a threshold; none when it is left out. The loss of a ledger is
   * held to the rest of its delta, so a share costs every other question a little.
   */
  thresholdDeltaMillionths: z.int().min(1).max(SHARE_MAX).exactOptional(),
});
export type LedgerLimits = z.infer<typeof LedgerLimits>;

const limit = (epsilon: number, delta: string): BudgetLimit => ({
  microEpsilon: microEpsilon(epsilon * 1_000_000),
  delta,
});

/**
 * The field's defaults. The cap per asking site is ours: as large as the largest department (emergency, 20), so that no honest department is
 * cut off by it alone, while a site that invents departments and users gets no more than that.
 */
export const DEFAULT_LIMITS: LedgerLimits = {
  rule: 'rdp_fixed_order',
  microEpsilonPerQueryMax: microEpsilon(1_000_000),
  userDay: limit(10, '1e-5'),
  departmentDay: {
    [DepartmentId.parse('emergency')]: limit(20, '1e-5'),
    [DepartmentId.parse('icu')]: limit(15, '1e-5'),
    [DepartmentId.parse('surgery')]: limit(12, '1e-5'),
    [DepartmentId.parse('general')]: limit(8, '1e-5'),
    [DepartmentId.parse('research')]: limit(3, '1e-5'),
  },
  askingSiteDay: limit(20, '1e-5'),
  siteLifetime: limit(20, '1e-6'),
};

/** In the order in which they are tested: what does not come back tomorrow is named first. */
export const LEDGER_KINDS = ['site_lifetime', 'asking_site_day', 'department_day', 'user_day'] as const;
export type LedgerKind = (typeof LEDGER_KINDS)[number];

/** Renyi order in tenths by filter name; 0 under rules without one. Fixed when a filter first appears. */
export const Orders = z.record(z.string(), z.int().nonnegative());
export type Orders = z.infer<typeof Orders>;

export interface LimitedFilter {
  readonly limit: BudgetLimit;
  readonly filter: LedgerFilter;
}

/** Whose ledgers are meant. */
export interface Payer {
  readonly sender: SiteId;
  readonly department: DepartmentId;
}

/** The limits in force, ready to price. */
export interface Policy {
  readonly limits: LedgerLimits;
  readonly orders: Orders;
  /** @throws QflError `forbidden` for a department without a budget. */
  filterOf(kind: LedgerKind, payer: Payer): LimitedFilter;
  /** The same for whoever asks. */
  readonly lifetimeFilter: LimitedFilter;
  /** Of every data block alike; undefined where there are none. */
  readonly blockFilter: LimitedFilter | undefined;
  /**
   * What each ledger is charged for running all of these once.
   * @throws QflError `forbidden` for a department without a budget, `invalid_request` when the rule cannot price a mechanism, and for
   * none, too many, or parameters too long to be recorded.
   */
  price(mechanisms: readonly Mechanism[], payer: Payer): Readonly<Record<LedgerKind, Amount>>;
}

const filterNames = (limits: LedgerLimits): (readonly [string, BudgetLimit])[] => [
  ['site_lifetime', limits.siteLifetime],
  ['asking_site_day', limits.askingSiteDay],
  ['user_day', limits.userDay],
  ...Object.entries(limits.departmentDay).map(
    ([department, budget]) => [`department_day/${department}`, budget] as const,
  ),
];

const limitedFilter = (
  { rule, thresholdDeltaMillionths = 0 }: LedgerLimits,
  budget: BudgetLimit,
  orderTenths: number | undefined,
): LimitedFilter => ({
  limit: budget,
  filter: createLedgerFilter(
    rule,
    { epsilon: budget.microEpsilon, delta: Number(budget.delta) },
    orderTenths === 0 ? undefined : orderTenths,
    thresholdDeltaMillionths,
  ),
});

/** The order that a new lifetime ledger takes from its data blocks. */
const orderOfBlocks = (name: string, limits: LedgerLimits): number | undefined =>
  name === 'site_lifetime' && limits.dataBlock !== undefined
    ? limitedFilter(limits, limits.dataBlock, undefined).filter.orderTenths
    : undefined;

/** @throws QflError `config_invalid` when not one query would fit */
const blockFilterOf = (limits: LedgerLimits, orderTenths: number | undefined): LimitedFilter | undefined => {
  const { dataBlock } = limits;
  if (dataBlock === undefined) return undefined;
  const limited = limitedFilter(limits, dataBlock, orderTenths);
  if (lossOf(limited.filter.budget).every((units) => units > 0n)) return limited;
  throw new QflError('config_invalid', {
    detail:
      'the budget of a data block cannot be kept at the order that the lifetime ledger of this site has',
    next: 'Set data_block_budget nearer to the site_lifetime_budget that the site joined with.',
  });
};

/** What one query may run; also the schema of its record. */
export const MechanismTexts = z.array(MechanismText).min(1).max(1_000);

/** A record must be readable at the next start, so what its schema refuses is refused here. */
const checkRecordable = (mechanisms: readonly Mechanism[]): void => {
  if (MechanismTexts.safeParse(mechanisms.map(mechanismToText)).success) return;
  throw new QflError('invalid_request', {
    detail: 'a query runs 1 to 1000 mechanisms, each with parameters of at most 39 digits',
  });
};

/** Prices asked for again and again: a site's queries are mostly of a few shapes. */
const PRICES_MAX = 1_000;

/**
 * @param fixedOrders orders that ledgers already have; they keep them under new budgets, because their spent sums were measured there.
 */
export const createPolicy = (limits: LedgerLimits, fixedOrders: Orders = {}): Policy => {
  const filters = new Map(
    filterNames(limits).map(([name, budget]) => [
      name,
      limitedFilter(limits, budget, fixedOrders[name] ?? orderOfBlocks(name, limits)),
    ]),
  );
  const orders: Orders = {
    ...fixedOrders,
    ...Object.fromEntries([...filters].map(([name, { filter }]) => [name, filter.orderTenths])),
  };
  // At the order of the common cap: a site that is named in the middle of a day has spent there.
  for (const [site, budget] of Object.entries(limits.askingSites ?? {}))
    filters.set(`asking_site_day/${site}`, limitedFilter(limits, budget, orders['asking_site_day']));
  const nameOf = (kind: LedgerKind, { sender, department }: Payer): string => {
    if (kind === 'department_day') return `${kind}/${department}`;
    const ofSite = `asking_site_day/${sender}`;
    return kind === 'asking_site_day' && filters.has(ofSite) ? ofSite : kind;
  };
  const filterOf = (kind: LedgerKind, payer: Payer): LimitedFilter => {
    const found = filters.get(nameOf(kind, payer));
    if (found !== undefined) return found;
    throw new QflError('forbidden', {
      detail: 'the department has no privacy budget at this site',
      next: 'Ask in a department that has one, or ask this site to give it a budget.',
      facts: { department: payer.department },
    });
  };
  const prices = new Map<string, Amount>();
  const priceOf = (mechanisms: readonly Mechanism[], texts: string, { filter }: LimitedFilter): Amount => {
    const name = `${filter.orderTenths}/${texts}`;
    const known = prices.get(name);
    if (known !== undefined) return known;
    if (prices.size >= PRICES_MAX) prices.clear();
    checkRecordable(mechanisms);
    const price = costOfAll(filter, mechanisms);
    prices.set(name, price);
    return price;
  };
  return {
    limits,
    orders,
    filterOf,
    lifetimeFilter: filters.get('site_lifetime')!,
    blockFilter: blockFilterOf(limits, orders['site_lifetime']),
    price(mechanisms, payer) {
      const texts = JSON.stringify(mechanisms.map(mechanismToText));
      const at = (kind: LedgerKind): Amount => priceOf(mechanisms, texts, filterOf(kind, payer));
      return {
        site_lifetime: at('site_lifetime'),
        asking_site_day: at('asking_site_day'),
        department_day: at('department_day'),
        user_day: at('user_day'),
      };
    },
  };
};
