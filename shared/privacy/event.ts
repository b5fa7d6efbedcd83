/**
 * Losses that are stated, not produced here: by a mechanism of another library, or continuous noise in a planned run. What this
 * program releases itself is a `Mechanism`.
 */
import { QflError } from '../errors.ts';
import type { Filter } from './filter.ts';
import { pureRdp } from './laplace.ts';
import { orderNumber, orderRational } from './orders.ts';
import { divide, multiply, type Rational, rational, toNumber } from './rational.ts';
import { decimalUnitsUp, unitsUp, unitsUpExact } from './units.ts';

export type PrivacyEvent =
  /** Any epsilon-DP mechanism. */
  | { readonly type: 'pure'; readonly epsilon: Rational }
  /** Any rho-zCDP mechanism. */
  | { readonly type: 'zcdp'; readonly rho: Rational }
  /** Continuous noise; the multiplier is sigma or b per unit of sensitivity. */
  | { readonly type: 'gaussian'; readonly noiseMultiplier: Rational }
  | { readonly type: 'laplace'; readonly noiseMultiplier: Rational };

/** Mironov 2017, Table II: RDP of the Laplace mechanism with scale b per unit of sensitivity, written so that nothing overflows. */
export const continuousLaplaceRdp = (b: number, a: number): number => {
  const exponent = (a - 1) / b;
  const upper = a / (2 * a - 1);
  const lower = ((a - 1) / (2 * a - 1)) * Math.exp((1 - 2 * a) / b);
  return exponent > 1
    ? (exponent + Math.log(upper + lower)) / (a - 1)
    : Math.log1p(upper * Math.expm1(exponent) + ((a - 1) / (2 * a - 1)) * Math.expm1(-a / b)) / (a - 1);
};

const half = rational(1n, 2n);
const ONE = rational(1n);

const pureEpsilon = (event: PrivacyEvent): Rational | undefined => {
  if (event.type === 'pure') return event.epsilon;
  return event.type === 'laplace' ? divide(ONE, event.noiseMultiplier) : undefined;
};

/** The event's zCDP; of an epsilon-DP one, epsilon²/2. */
const rhoOf = (event: PrivacyEvent): Rational => {
  if (event.type === 'zcdp') return event.rho;
  const root = event.type === 'pure' ? event.epsilon : divide(ONE, event.noiseMultiplier);
  return multiply(multiply(root, root), half);
};

const rdpUnits = (event: PrivacyEvent, orderTenths: number): bigint => {
  const a = orderNumber(orderTenths);
  if (event.type === 'pure') return unitsUp(pureRdp(toNumber(event.epsilon), a));
  if (event.type === 'laplace') return unitsUp(continuousLaplaceRdp(toNumber(event.noiseMultiplier), a));
  return unitsUpExact(multiply(rhoOf(event), orderRational(orderTenths)));
};

/**
 * What the event costs under this filter, in the rule's units, rounded up.
 * @throws QflError `invalid_request` when the rule cannot price it.
 */
export const eventCostUnits = (event: PrivacyEvent, filter: Filter): bigint => {
  if (filter.rule === 'rdp_fixed_order') return rdpUnits(event, filter.orderTenths);
  if (filter.rule === 'zcdp') return unitsUpExact(rhoOf(event));
  const epsilon = pureEpsilon(event);
  if (epsilon !== undefined) return decimalUnitsUp(epsilon);
  throw new QflError('invalid_request', {
    detail: 'basic composition counts pure epsilon only',
    next: 'Set composition_method to rdp or zcdp.',
  });
};
