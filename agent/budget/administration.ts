/** What an administrator decides about a ledger; each decision is a record with a name and a reason. */
import { QflError } from '../../shared/errors.ts';
import { type Charge, daySumsToText, sumByDay } from './accounts.ts';
import type { Core } from './core.ts';
import { createPolicy, type LedgerLimits } from './limits.ts';
import { amountToText, deltaUnitsOf } from './amount.ts';
import { amountOfScalar } from './filters.ts';
import type { Block } from './blocks.ts';
import { chargeOf, LedgerRecord } from './records.ts';
import { dayOf } from './window.ts';

/** Who decided, and why: shown in the history and in the audit log. */
export interface Decision {
  readonly by: string;
  readonly reason: string;
}

export interface Administration {
  /**
   * Puts other budgets in force. Spent sums stay; a ledger keeps its order.
   * @throws QflError `config_invalid` when the rule would change, `ledger_refuses`
   */
  changeLimits(limits: LedgerLimits, decision: Decision): Promise<void>;
  /**
   * Takes back a jump ahead of the clock: counting goes on on `day`, with everything spent on it and after it.
   * @throws QflError `conflict` when there is nothing to take back to that day, `ledger_refuses`
   */
  undoWindow(day: number, decision: Decision): Promise<void>;
  /**
   * After a restore: what else was charged to the lifetime ledger that no receipt shows, in its units (`scalarOf`), and of its delta; all of the
   * share reserved for delta when that is left out. It is added, and the ledger serves again.
   * @throws QflError `conflict` when nothing is unknown, `ledger_refuses`
   */
  stateUnknownCharges(units: bigint, decision: Decision, deltaUnits?: bigint): Promise<void>;
  /** From here on no query may read this data block. @throws QflError `ledger_refuses`, `conflict` when it is retired already */
  retireBlock(block: Block, decision: Decision): Promise<void>;
}

/** What could not be read back at the next start must not be written. */
const checked = (record: LedgerRecord): LedgerRecord => {
  const parsed = LedgerRecord.safeParse(record);
  if (parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: 'the decision is not complete',
    next: 'Give a name and a reason of 1 to 200 characters each, and limits of the documented form.',
    cause: parsed.error,
  });
};

/** A day before the last confirmed one would be spent twice; a day after the clock's would be another jump. */
const checkUndo = (core: Core, day: number): void => {
  const { state } = core;
  const today = Math.min(dayOf(core.nowMs()), core.confirmedDay() ?? Infinity);
  if (day < state.accounts().day() && day >= state.confirmedDay() && day <= today) return;
  throw new QflError('conflict', {
    detail: 'the ledger cannot go back to that day',
    next: 'Name a day before the open one, not before the last one the coordinator confirmed, and not after today.',
    facts: { day, openDay: state.accounts().day(), confirmedDay: state.confirmedDay(), today },
  });
};

/** Every charge from `day` on that was not given back, read from the journal. */
const chargesFrom = async (core: Core, day: number): Promise<Charge[]> => {
  const charges = new Map<number, Charge>();
  await core.eachRecord(({ record, counter }) => {
    if (record.type === 'reserved' && record.day >= day) charges.set(counter, chargeOf(record));
    if (record.type === 'refunded') charges.delete(record.reserved);
  });
  return [...charges.values()];
};

export const createAdministration = (core: Core): Administration => ({
  async changeLimits(limits, decision) {
    core.writer.assertOpen();
    const before = core.state.policy();
    if (limits.rule !== before.limits.rule) {
      throw new QflError('config_invalid', {
        detail:
          'the composition method of a ledger cannot change: what is spent was counted under the old one',
        next: `Keep ${before.limits.rule}.`,
      });
    }
    const { orders } = createPolicy(limits, before.orders);
    await core.write(checked({ type: 'limits', limits, orders, ...decision, atMs: core.nowMs() })).durable;
  },
  async stateUnknownCharges(units, decision, deltaUnits) {
    core.writer.assertOpen();
    if (!core.state.accounts().isClosed('site_lifetime'))
      throw new QflError('conflict', {
        detail: 'the lifetime ledger is not waiting for a statement',
        next: 'A statement is made once, after a restore.',
      });
    const { limits, lifetimeFilter } = core.state.policy();
    const left = deltaUnitsOf(lifetimeFilter.filter.budget) - deltaUnitsOf(core.state.accounts().lifetime());
    const delta = deltaUnits ?? (left > 0n ? left : 0n);
    const raise = amountToText(amountOfScalar(limits.rule, units, delta));
    await core.write(checked({ type: 'statement', raise, ...decision, atMs: core.nowMs() })).durable;
  },
  async retireBlock(block, decision) {
    core.writer.assertOpen();
    if (core.state.accounts().isRetired(block))
      throw new QflError('conflict', { detail: `the data block ${block} is retired already` });
    await core.write(checked({ type: 'retired', block, ...decision, atMs: core.nowMs() })).durable;
  },
  undoWindow: (day, decision) =>
    core.exclusively(async () => {
      core.writer.assertOpen();
      checkUndo(core, day);
      const sums = daySumsToText(sumByDay(await chargesFrom(core, day), day));
      await core.write(checked({ type: 'undo', day, sums, ...decision, atMs: core.nowMs() })).durable;
      core.restartUptime();
    }),
});
