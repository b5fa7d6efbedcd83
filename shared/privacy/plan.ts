/**
 * What a run fixed in advance costs: the smaller of its loss distribution's epsilon and its Renyi curve's, both of which are
 * proven upper bounds. Work is bounded whatever the input: a run that does not fit on a grid is priced by the curve alone.
 * May take a second: run in a worker.
 */
import { QflError } from '../errors.ts';
import type { LossEvent } from './loss-event.ts';
import { lossDistribution } from './pld/distribution.ts';
import { epsilonOfCurve } from './rdp/convert.ts';
import { rdpCurve } from './rdp/curve.ts';

export interface PlannedEpsilon {
  readonly epsilon: number;
  readonly method: 'loss_distribution' | 'renyi_curve';
}

/** Undefined instead of a refusal: the other way may still know a bound. */
const ifKnown = <T>(compute: () => T): T | undefined => {
  try {
    return compute();
  } catch (error) {
    if (error instanceof QflError && error.code === 'invalid_request') return undefined;
    throw error;
  }
};

/** Bounds one grid to about a quarter of a second, and with the number of refinements the whole plan. */
const CELLS_MAX = 2 ** 18;
const REFINEMENTS_MAX = 12;
const FINER = 4;
/** Grid points up to the expected epsilon, to begin with. */
const RESOLUTION = 100;
const STEP_MAX = 1e-2;
/** A refinement that gains less than this share is the last: the next would gain about a sixteenth of it. */
const GAIN_MIN = 1e-3;

/**
 * The epsilon of ever finer grids, until it no longer falls or the grid no longer fits. A grid must resolve the loss of one run, which
 * for tiny sampling and much noise is far below epsilon.
 */
const gridEpsilon = (event: LossEvent, delta: number, expected: number): number | undefined => {
  let best: number | undefined;
  let step = Math.min(STEP_MAX, expected / RESOLUTION);
  for (let refinement = 0; refinement < REFINEMENTS_MAX; refinement += 1, step /= FINER) {
    const at = { step, cellsMax: CELLS_MAX };
    const epsilon = ifKnown(() => lossDistribution(event, at).epsilon(delta));
    if (epsilon === undefined) break;
    const gained = best === undefined || epsilon < best * (1 - GAIN_MIN);
    best = Math.min(best ?? Infinity, epsilon);
    if (!gained) break;
  }
  return best;
};

/**
 * Epsilon at delta in (0, 1) of a run whose every figure is fixed before it starts.
 * @throws QflError `invalid_request` when neither way has a bound for the event.
 */
export const planEpsilon = (event: LossEvent, delta: number): PlannedEpsilon => {
  const curve = ifKnown(() => epsilonOfCurve(rdpCurve(event), delta).epsilon);
  const expected = curve === undefined || curve === 0 || curve === Infinity ? 1 : curve;
  const grid = gridEpsilon(event, delta, expected);
  if (grid !== undefined && grid <= (curve ?? Infinity))
    return { epsilon: grid, method: 'loss_distribution' };
  if (curve !== undefined) return { epsilon: curve, method: 'renyi_curve' };
  // Neither: let the refusal of the more general way explain.
  return {
    epsilon: lossDistribution(event, { cellsMax: CELLS_MAX }).epsilon(delta),
    method: 'loss_distribution',
  };
};
