/** What the operator can set of the planner, and what is then in force. Asked for every plan, so that it can change while running. */
import type { GroupLimits } from './couplings.ts';
import type { FixedStrategy, Strategy } from './strategies.ts';

export interface Tuning {
  readonly strategy: Strategy;
  /** Width of the queues against the usual. */
  readonly queueFactor: number;
  /** May requests be held open at all? Default true; then measured value decides. */
  readonly superposition?: boolean;
  /** Are related requests placed together? Default true. */
  readonly entanglement?: boolean;
  /** Does a trigger make a new plan? Default true; triggers are counted anyway. */
  readonly mitigation?: boolean;
  readonly coherenceThreshold?: number;
  /** Gain, in τ, below which a standing assignment is left. */
  readonly interferenceResolution?: number;
  /** Tasks in one group at most; groups at once at most. */
  readonly groups?: GroupLimits;
  /** Requests held open and planned together at most. */
  readonly superpositionsMax?: number;
  /** Plans in the ensemble at most. */
  readonly ensemblePlansMax?: number;
}

export interface TuningInForce extends Tuning {
  readonly inForce: FixedStrategy;
}
