/** Faults of accounting that the checks must catch: each check passes on the real accountant and fails on the mutant. */
import { describe, expect, test } from 'vitest';
import { gaussianEpsilon } from '../../shared/privacy/analytic/gaussian.ts';
import {
  curveAdmits,
  curveEventCost,
  createCurveFilter,
  curveSum,
  noCurveSpent,
} from '../../shared/privacy/curve-filter.ts';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import type { LossEvent } from '../../shared/privacy/loss-event.ts';
import { lossDistribution } from '../../shared/privacy/pld/distribution.ts';
import { epsilonOfCurve } from '../../shared/privacy/rdp/convert.ts';
import { rdpCurve } from '../../shared/privacy/rdp/curve.ts';
import { rational } from '../../shared/privacy/rational.ts';
import { all, gaussian, oneOfEach, sampled, times } from '../unit/privacy/events.ts';

const DELTA = 1e-5;
const STEP = 1e-3;

/** An accountant: the epsilon of an event. */
type Accountant = (event: LossEvent) => number;
const byCurve: Accountant = (event) => epsilonOfCurve(rdpCurve(event), DELTA).epsilon;
const byGrid: Accountant = (event) => lossDistribution(event, { step: STEP }).epsilon(DELTA);
const accountants: readonly [string, Accountant][] = [
  ['by curve', byCurve],
  ['by loss distribution', byGrid],
];

const EXPONENTIAL = oneOfEach['exponential_mechanism']!;

describe('the check that a count is a loop', () => {
  const holds = (accountant: Accountant): boolean => {
    const loop = all(...Array.from({ length: 10 }, () => EXPONENTIAL));
    return Math.abs(accountant(times(10, EXPONENTIAL)) - accountant(loop)) < 1e-6;
  };
  const droppingCounts = (event: LossEvent): LossEvent =>
    event.type === 'self_composed' ? droppingCounts(event.event) : event;

  test.each(accountants)('%s: passes; dropping the count fails', (_name, accountant) => {
    expect(holds(accountant)).toBe(true);
    expect(holds((event) => accountant(droppingCounts(event)))).toBe(false);
  });
});

describe('the check of replace-one against the exact Gaussian curve', () => {
  /** A sum clipped to 1 per record, sigma 2: replacing a record moves it by up to 2. */
  const holds = (accountant: Accountant): boolean =>
    accountant(gaussian(2, 2, 'replace_one')) >= gaussianEpsilon(1, DELTA) - 1e-9;
  const asAddRemove = (event: LossEvent): LossEvent =>
    event.type === 'gaussian'
      ? { ...event, relation: 'add_or_remove_one', sensitivity: event.sensitivity / 2 }
      : event;

  test.each(accountants)('%s: passes; priced as add/remove fails', (_name, accountant) => {
    expect(holds(accountant)).toBe(true);
    expect(holds((event) => accountant(asAddRemove(event)))).toBe(false);
  });
});

describe('the check that a sampled run under replace-one costs more than under add/remove', () => {
  const run = (relation: 'replace_one' | 'add_or_remove_one', sensitivity: number): LossEvent =>
    times(100, sampled(0.05, gaussian(2, sensitivity, relation)));
  const holds = (accountant: Accountant): boolean =>
    accountant(run('replace_one', 2)) > 1.05 * accountant(run('add_or_remove_one', 1));

  test('passes; priced as add/remove fails', () => {
    expect(holds(byGrid)).toBe(true);
    expect(holds(() => byGrid(run('add_or_remove_one', 1)))).toBe(false);
  });
});

describe('the check that no grid is below the exact curve', () => {
  const holds = (rounding: 'pessimistic' | 'optimistic'): boolean =>
    [0.7, 1, 3].every(
      (sigma) =>
        lossDistribution(times(4, gaussian(sigma)), { step: STEP, rounding }).epsilon(DELTA) >=
        gaussianEpsilon(sigma / 2, DELTA) - 1e-12,
    );

  test('passes; optimistic rounding fails', () => {
    expect(holds('pessimistic')).toBe(true);
    expect(holds('optimistic')).toBe(false);
  });
});

describe('the check that every order keeps its budget', () => {
  const filter = createCurveFilter({ epsilon: parseEpsilon('3'), delta: DELTA });
  const cost = curveEventCost({ type: 'gaussian', noiseMultiplier: rational(4n) });
  const admittedBy = (admits: typeof curveAdmits): number => {
    let spent = noCurveSpent;
    let count = 0;
    while (count < 1_000 && admits(filter, spent, cost)) {
      spent = curveSum(spent, cost);
      count += 1;
    }
    return count;
  };
  /** rho of one charge is 1/32; the budget's rho decides how many fit. */
  const holds = (admits: typeof curveAdmits): boolean =>
    byCurve(times(admittedBy(admits), gaussian(4))) <= 3 * 1.0001;

  test('passes; a filter that accepts while some order fits fails', () => {
    expect(holds(curveAdmits)).toBe(true);
    const someOrderFits: typeof curveAdmits = ({ budgetUnits }, spent, charge) =>
      curveSum(spent, charge).some((units, at) => units <= budgetUnits[at]! + 32n * (charge[at] ?? 0n));
    expect(holds(someOrderFits)).toBe(false);
  });
});
