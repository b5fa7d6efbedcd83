/**
 * What was spent so far, for people to look at. The figures hold as they stand only if the plan was fixed in advance; a filter's
 * remaining budget is what decides. Deltas add.
 */
import type { LossEvent } from './loss-event.ts';
import { deltaOfCurve, epsilonOfCurve } from './rdp/convert.ts';
import { rdpCurve } from './rdp/curve.ts';

export interface OdometerReading {
  /** Shown beside the figures wherever they are shown. */
  readonly label: 'spent so far (planned composition)';
  readonly epsilon: number;
  readonly delta: number;
}

const LABEL = 'spent so far (planned composition)';

/** Epsilon of the events at this delta. */
export const odometer = (events: readonly LossEvent[], delta: number): OdometerReading => ({
  label: LABEL,
  epsilon: epsilonOfCurve(rdpCurve({ type: 'composed', events }), delta).epsilon,
  delta,
});

/** Delta of the events at this epsilon. */
export const odometerDelta = (events: readonly LossEvent[], epsilon: number): OdometerReading => ({
  label: LABEL,
  epsilon,
  delta: deltaOfCurve(rdpCurve({ type: 'composed', events }), epsilon).delta,
});
