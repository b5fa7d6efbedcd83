/**
 * Which day the ledger counts on. The open window never goes back by itself, whatever the clock does, so a wrong clock cannot reopen a
 * day that was spent.
 */
import { DAY_MS } from '../../shared/clock.ts';

export const dayOf = (timeMs: number): number => Math.max(0, Math.floor(timeMs / DAY_MS));
export const startOfDayMs = (day: number): number => day * DAY_MS;

export interface WindowInput {
  /** The open window. */
  readonly day: number;
  /** The local clock's day. */
  readonly clockDay: number;
  /** The day of the coordinator's signed time; undefined while not connected. */
  readonly confirmedDay: number | undefined;
  /** Monotonic time since the last window was opened, or since this process opened the ledger. */
  readonly sinceOpenedMs: number;
}

export type WindowDecision =
  | { readonly step: 'stay' }
  /** The clock says a later day, and nothing vouches for it: charges go on in the open window. */
  | { readonly step: 'wait' }
  | { readonly step: 'open'; readonly day: number; readonly cause: 'confirmed' | 'uptime' };

/**
 * A later day needs both clocks: the local one and the coordinator's, so that neither alone can hand out fresh budgets. Without the
 * coordinator one new day per 24 h of uptime is taken on the local clock's word.
 */
export const decideWindow = (input: WindowInput): WindowDecision => {
  const { day, clockDay, confirmedDay, sinceOpenedMs } = input;
  if (clockDay <= day) return { step: 'stay' };
  if (confirmedDay !== undefined) {
    const agreed = Math.min(clockDay, confirmedDay);
    return agreed > day ? { step: 'open', day: agreed, cause: 'confirmed' } : { step: 'wait' };
  }
  return sinceOpenedMs >= DAY_MS ? { step: 'open', day: clockDay, cause: 'uptime' } : { step: 'wait' };
};
