/**
 * The Renyi curve of an event tree. Composition adds curves; a part run `count` times counts `count` times, whatever it is.
 * (One widely used library drops the count of self-composed exponential mechanisms.)
 */
import {
  checkEvent,
  cannotPrice,
  isLeaf,
  type LeafEvent,
  type LossEvent,
  type Relation,
} from '../loss-event.ts';
import { continuousLaplaceRdp } from '../event.ts';
import { laplaceRdp, pureRdp } from '../laplace.ts';
import { ORDERS_TENTHS, orderNumber } from '../orders.ts';
import type { RdpCurve } from './convert.ts';
import { randomizedResponseRdp } from './randomized-response.ts';
import { exponentialMechanismRdp, repeatAndSelectRdp } from './selection.ts';
import { subsampledGaussianRdp } from './subsampled-gaussian.ts';
import { withoutReplacementRdp } from './without-replacement.ts';

/** 1.1 … 10.9 by 0.1, 11 … 63, 128, 256, 512, 1024. */
export const DEFAULT_ORDERS: readonly number[] = ORDERS_TENTHS.map(orderNumber);

/** Depth of the deepest tree: every record is in at most that many nodes (Kairouz et al. 2021, appendix D). */
const treeDepth = (stepCounts: readonly number[]): number => {
  const deepest = Math.max(...stepCounts);
  return deepest === 0 ? 0 : Math.ceil(Math.log2(deepest + 1));
};

type GaussianLike = LeafEvent<Relation> & {
  readonly type: 'gaussian' | 'discrete_gaussian' | 'tree_aggregation';
};

/** rho of noise whose curve is rho·a. */
const gaussianRho = (event: GaussianLike): number => {
  const rho = (event.sensitivity / event.sigma) ** 2 / 2;
  if (event.type !== 'tree_aggregation') return rho;
  if (event.relation !== 'replace_special')
    cannotPrice('tree aggregation under this relation', 'State it for records swapped with a null record.');
  return treeDepth(event.stepCounts) * rho;
};

/** Of pure mechanisms; none at epsilon 0. */
const unlessZero = (strength: number, rdp: (strength: number) => number): number =>
  strength === 0 ? 0 : rdp(strength);

const leafRdp = (event: LeafEvent<Relation>, a: number): number => {
  const { type } = event;
  if (type === 'gaussian' || type === 'discrete_gaussian' || type === 'tree_aggregation')
    return gaussianRho(event) * a;
  if (type === 'zcdp') return event.xi + event.rho * a;
  if (type === 'laplace')
    return unlessZero(event.sensitivity / event.scale, (ratio) => continuousLaplaceRdp(1 / ratio, a));
  if (type === 'discrete_laplace')
    return unlessZero(event.sensitivity, (shift) => laplaceRdp(event.scale, shift, a));
  if (type === 'randomized_response')
    return randomizedResponseRdp(event.noise, event.buckets, event.relation, a);
  if (type === 'exponential_mechanism') return exponentialMechanismRdp(event.epsilon, a);
  // The privacy loss of permute-and-flip is that of Laplace noise of scale 1/epsilon (Ding et al. 2021).
  if (type === 'permute_and_flip')
    return unlessZero(event.epsilon, (epsilon) => continuousLaplaceRdp(1 / epsilon, a));
  return unlessZero(event.epsilon, (epsilon) => pureRdp(epsilon, a));
};

/**
 * Squared sensitivity over sigma² of a tree of Gaussian leaves run on one sample: answers on the same sample are one Gaussian answer
 * of a longer vector. Undefined when some leaf is not Gaussian.
 */
const gaussianSignal = (event: LossEvent): number | undefined => {
  if (event.type === 'self_composed') {
    const one = gaussianSignal(event.event);
    return one === undefined ? undefined : one * event.count;
  }
  if (event.type === 'composed') {
    const parts = event.events.map(gaussianSignal);
    return parts.reduce<number | undefined>(
      (sum, part) => (sum === undefined || part === undefined ? undefined : sum + part),
      0,
    );
  }
  if (event.type === 'zcdp') return event.xi === 0 ? 2 * event.rho : undefined;
  return event.type === 'gaussian' || event.type === 'discrete_gaussian' ? 2 * gaussianRho(event) : undefined;
};

/** sigma per unit of sensitivity of what is sampled; Infinity when it loses nothing. */
const sampledSigma = (event: LossEvent): number => {
  const signal = gaussianSignal(event);
  if (signal === undefined)
    return cannotPrice(
      'the Renyi curve of a sampled mechanism other than Gaussian noise',
      'Use Gaussian noise, or price the run by its privacy loss distribution.',
    );
  return 1 / Math.sqrt(signal);
};

const zero = (orders: readonly number[]): RdpCurve => ({
  orders,
  rdp: new Float64Array(orders.length),
  delta: 0,
});

const poissonCurve = (
  event: LossEvent & { type: 'poisson_sampled' },
  relation: Relation | undefined,
  orders: readonly number[],
): RdpCurve => {
  if (event.probability === 1) return partCurve(event.event, relation, orders);
  if (relation === 'replace_one')
    cannotPrice(
      'the Renyi curve of Poisson sampling under replace-one',
      'State it for records added or removed.',
    );
  const sigma = sampledSigma(event.event);
  if (sigma === Infinity) return zero(orders);
  return {
    orders,
    rdp: Float64Array.from(orders, (a) => subsampledGaussianRdp(event.probability, sigma, a)),
    delta: 0,
  };
};

const subsetCurve = (
  event: LossEvent & { type: 'sampled_without_replacement' },
  relation: Relation | undefined,
  orders: readonly number[],
): Float64Array => {
  if (relation !== 'replace_one')
    cannotPrice('samples of fixed size under this relation', 'State it for records replaced by others.');
  const sigma = sampledSigma(event.event);
  if (event.sourceSize === 0 || sigma === Infinity) return new Float64Array(orders.length);
  return Float64Array.from(orders, withoutReplacementRdp(event.sampleSize / event.sourceSize, sigma));
};

/** `count` runs of it. Counts of nothing lose nothing, also where one run would lose everything. */
const scaled = (curve: RdpCurve, count: number): RdpCurve =>
  count === 0
    ? zero(curve.orders)
    : { ...curve, rdp: curve.rdp.map((value) => value * count), delta: Math.min(1, curve.delta * count) };

const added = (left: RdpCurve, right: RdpCurve): RdpCurve => ({
  orders: left.orders,
  rdp: left.rdp.map((value, at) => value + right.rdp[at]!),
  // Summed: 1 − Π(1 − delta) would need parameters fixed beforehand.
  delta: Math.min(1, left.delta + right.delta),
});

const selectionCurve = (
  event: LossEvent & { type: 'repeat_and_select' },
  relation: Relation | undefined,
  orders: readonly number[],
): RdpCurve => {
  const one = partCurve(event.event, relation, orders);
  if (one.delta > 0)
    cannotPrice('the best of several runs with a delta of their own', 'Use a mechanism without delta.');
  return { orders, rdp: repeatAndSelectRdp(orders, one.rdp, event.mean, event.shape), delta: 0 };
};

const leafCurve = (event: LeafEvent<Relation>, orders: readonly number[]): RdpCurve => ({
  orders,
  rdp: Float64Array.from(orders, (a) => leafRdp(event, a)),
  delta: event.type === 'epsilon_delta' ? event.delta : 0,
});

function partCurve(event: LossEvent, relation: Relation | undefined, orders: readonly number[]): RdpCurve {
  if (isLeaf(event)) return leafCurve(event, orders);
  if (event.type === 'self_composed') return scaled(partCurve(event.event, relation, orders), event.count);
  if (event.type === 'composed')
    return event.events.map((part) => partCurve(part, relation, orders)).reduce(added, zero(orders));
  if (event.type === 'poisson_sampled') return poissonCurve(event, relation, orders);
  if (event.type === 'repeat_and_select') return selectionCurve(event, relation, orders);
  return { orders, rdp: subsetCurve(event, relation, orders), delta: 0 };
}

/**
 * Nats at each order (all above 1), and the summed deltas. Some 20 ms for sampled mechanisms on the default orders.
 * @throws QflError `invalid_request` when a figure is out of range or no proven bound is known.
 */
export const rdpCurve = (event: LossEvent, orders: readonly number[] = DEFAULT_ORDERS): RdpCurve =>
  partCurve(event, checkEvent(event), orders);
