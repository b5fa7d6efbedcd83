/**
 * A circuit breaker as a state machine; pure. Closed, it lets everything through and counts failures that follow each other. At too many it opens: nothing
 * goes through for a while. Then it is half open: one attempt at a time goes through, enough that go well close it, one that fails opens it again.
 */
export interface BreakerRules {
  /** Failures in a row that open it. */
  readonly failuresMax: number;
  readonly openMs: number;
  /** Attempts that have to go well before it closes. */
  readonly probesMin: number;
}

export const BREAKER_RULES: BreakerRules = { failuresMax: 5, openMs: 10_000, probesMin: 2 };

export type BreakerState =
  | { readonly state: 'closed'; readonly failures: number }
  | { readonly state: 'open'; readonly untilMs: number }
  | { readonly state: 'half_open'; readonly successes: number; readonly isProbing: boolean };

export const CLOSED: BreakerState = { state: 'closed', failures: 0 };

const opened = (rules: BreakerRules, nowMs: number): BreakerState => ({
  state: 'open',
  untilMs: nowMs + rules.openMs,
});

/** With time alone: open becomes half open. */
export const breakerAt = (before: BreakerState, nowMs: number): BreakerState =>
  before.state === 'open' && nowMs >= before.untilMs
    ? { state: 'half_open', successes: 0, isProbing: false }
    : before;

/** Somebody wants through: may they, and how it stands then. */
export const attempted = (
  before: BreakerState,
  nowMs: number,
): { readonly isAdmitted: boolean; readonly next: BreakerState } => {
  const now = breakerAt(before, nowMs);
  if (now.state === 'closed') return { isAdmitted: true, next: now };
  if (now.state === 'open' || now.isProbing) return { isAdmitted: false, next: now };
  return { isAdmitted: true, next: { ...now, isProbing: true } };
};

/** An attempt that was let through came to nothing that says anything: the next one may try. */
export const released = (before: BreakerState): BreakerState =>
  before.state === 'half_open' ? { ...before, isProbing: false } : before;

/** An attempt that was let through is over. What comes late, of before it opened, changes nothing. */
export const ended = (
  before: BreakerState,
  isGood: boolean,
  nowMs: number,
  rules: BreakerRules = BREAKER_RULES,
): BreakerState => {
  if (before.state === 'open') return before;
  if (before.state === 'closed') {
    if (isGood) return CLOSED;
    const failures = before.failures + 1;
    return failures >= rules.failuresMax ? opened(rules, nowMs) : { state: 'closed', failures };
  }
  if (!isGood) return opened(rules, nowMs);
  const successes = before.successes + 1;
  return successes >= rules.probesMin ? CLOSED : { state: 'half_open', successes, isProbing: false };
};
