/** What a plan is good at, as weights. Each strategy must win on its own metric on fixed traces; `adaptive` learns which one to use (`bandit.ts`). */

export type Strategy = 'latency_focused' | 'throughput_focused' | 'balanced' | 'adaptive';
export type FixedStrategy = Exclude<Strategy, 'adaptive'>;
export const FIXED_STRATEGIES: readonly FixedStrategy[] = [
  'balanced',
  'latency_focused',
  'throughput_focused',
];

export interface Weights {
  /** A millisecond of predicted service. */
  readonly latency: number;
  /** A millisecond between the mean and the 95th percentile of the service. */
  readonly tail: number;
  /** A site all of whose slots are taken, in typical service times; rises with every slot. */
  readonly load: number;
  /** A millisecond that a request has waited, when slots are scarce. */
  readonly age: number;
  /** The most urgent against the least, in typical service times, when slots are scarce. */
  readonly urgency: number;
  /** A request about to miss its deadline, in typical service times, when slots are scarce. */
  readonly deadline: number;
  /** A thousandth of the federation's currency unit, in milliseconds. */
  readonly money: number;
  /** Leaving the asking site, in typical service times; for what charges a budget, taking all that a site has left. */
  readonly privacy: number;
}

/**
 * latency_focused keeps the slowest answers short: who waited longest goes first. throughput_focused serves the short ones first and asks the
 * fastest site: most answers in the time. balanced stands between them, spreads load and looks at deadlines, prices and what leaves a site.
 */
export const STRATEGY_WEIGHTS: Readonly<Record<FixedStrategy, Weights>> = {
  latency_focused: {
    latency: 1,
    tail: 0.2,
    load: 0.1,
    age: 3,
    urgency: 0.2,
    deadline: 0,
    money: 0,
    privacy: 0,
  },
  throughput_focused: { latency: 3, tail: 0, load: 0, age: 0, urgency: 0, deadline: 0, money: 0, privacy: 0 },
  balanced: { latency: 2, tail: 0, load: 0.5, age: 0.5, urgency: 0.5, deadline: 2, money: 5, privacy: 0.1 },
};
