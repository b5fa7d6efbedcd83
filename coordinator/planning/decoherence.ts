/** Decoherence mitigation: what makes a standing plan stale. Which part of it has to be made again is in `components.ts`. */
import { COHERENCE_THRESHOLD } from './coherence.ts';

export type Trigger = 'coherence' | 'outcome' | 'site_lost';

export interface TriggerInput {
  /** Least coherence of the open tasks; null when none is open. */
  readonly coherence: number | null;
  /** A service that ended, with the 95 % interval that was predicted for it. */
  readonly outcome?: {
    readonly serviceMs: number;
    readonly lowMs: number;
    readonly highMs: number;
  };
  readonly siteLost?: boolean;
  readonly threshold?: number;
}

/** Why to plan again; null when the plan may stand. A lost site comes before an odd outcome, that before old telemetry. */
export const triggerOf = ({
  coherence,
  outcome,
  siteLost,
  threshold = COHERENCE_THRESHOLD,
}: TriggerInput): Trigger | null => {
  if (siteLost === true) return 'site_lost';
  if (outcome !== undefined && (outcome.serviceMs < outcome.lowMs || outcome.serviceMs > outcome.highMs))
    return 'outcome';
  return coherence !== null && coherence < threshold ? 'coherence' : null;
};
