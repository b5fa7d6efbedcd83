/**
 * Confidence intervals from the noise alone: they say how far the released number can be from the exact one, nothing about
 * sampling. Always at least as wide as the exact interval of the noise.
 */
import { QflError } from '../errors.ts';
import { gaussianNormaliser } from './gaussian.ts';
import { laplaceTail } from './laplace.ts';
import type { NoiseMechanism } from './mechanism.ts';
import { toNumber } from './rational.ts';

export interface Interval {
  readonly low: bigint;
  readonly high: bigint;
  readonly confidence: number;
}

/** Cells of one noise's histogram at most; wider noise is put into cells of several integers. */
const CELLS_MAX = 4_096;
/** Beyond this sigma the exact sum would take seconds; the sub-Gaussian bound takes its place (a few percent wider). */
const SIGMA_SUMMED_MAX = 200_000;
/** Mass left out of a histogram on each side, counted as outside the interval. */
const TAIL_CUT = 1e-12;

/** One noise as masses of cells centred at k·cell, k = −reach … reach; `lost` is the mass outside. */
interface Histogram {
  readonly masses: Float64Array;
  readonly lost: number;
}

/** @throws QflError `invalid_request` */
export const checkConfidence = (confidence: number): void => {
  if (confidence > 0.5 && confidence < 1 - 1e-9) return;
  throw new QflError('invalid_request', {
    detail: 'confidence must be above 0.5 and below 0.999999999',
    next: 'Ask for example for 0.95.',
  });
};

const sigmaOf = (mechanism: NoiseMechanism): number =>
  mechanism.kind === 'discrete_gaussian' ? Math.sqrt(toNumber(mechanism.sigmaSquared)) : 0;

/** An x with P(X > x) ≤ TAIL_CUT. */
const reachOf = (mechanism: NoiseMechanism): number =>
  mechanism.kind === 'discrete_laplace'
    ? Math.ceil(-Math.log(TAIL_CUT) * toNumber(mechanism.scale)) + 1
    : Math.ceil(Math.sqrt(-2 * Math.log(TAIL_CUT)) * sigmaOf(mechanism)) + 1;

const massOf = (mechanism: NoiseMechanism): ((x: number) => number) => {
  if (mechanism.kind === 'discrete_laplace') {
    const scale = toNumber(mechanism.scale);
    const top = Math.tanh(1 / (2 * scale));
    return (x) => top * Math.exp(-Math.abs(x) / scale);
  }
  const sigma = sigmaOf(mechanism);
  const normaliser = gaussianNormaliser(sigma);
  return (x) => Math.exp(-((x / sigma) ** 2) / 2) / normaliser;
};

const histogramOf = (mechanism: NoiseMechanism, cell: number): Histogram => {
  const span = Math.floor(reachOf(mechanism) / cell + 0.5);
  const masses = new Float64Array(2 * span + 1);
  const mass = massOf(mechanism);
  let total = 0;
  const half = (cell - 1) / 2;
  for (let k = -span; k <= span; k += 1) {
    let sum = 0;
    for (let x = k * cell - half; x <= k * cell + half; x += 1) sum += mass(x);
    masses[k + span] = sum;
    total += sum;
  }
  return { masses, lost: Math.max(0, 1 - total) };
};

const convolve = (left: Float64Array, right: Float64Array): Float64Array => {
  const out = new Float64Array(left.length + right.length - 1);
  left.forEach((value, at) => {
    if (value === 0) return;
    for (let other = 0; other < right.length; other += 1) out[at + other]! += value * right[other]!;
  });
  return out;
};

/** Smallest k such that the mass beyond ±k plus `lost` is within `outside`. */
const halfWidthCells = ({ masses, lost }: Histogram, outside: number): number => {
  const middle = (masses.length - 1) / 2;
  let beyond = lost;
  for (let k = middle; k > 0; k -= 1) {
    beyond += masses[middle + k]! + masses[middle - k]!;
    if (beyond > outside) return k;
  }
  return 0;
};

/** P(|S| > w) ≤ 2·exp(−w²/(2Σσ²)): the discrete Gaussian is sub-Gaussian with its own σ² (Canonne, Kamath, Steinke 2020). */
const subGaussianHalfWidth = (mechanisms: readonly NoiseMechanism[], outside: number): bigint => {
  const variance = mechanisms.reduce((sum, mechanism) => sum + sigmaOf(mechanism) ** 2, 0);
  return BigInt(Math.ceil(Math.sqrt(2 * variance * Math.log(2 / outside))));
};

/** Odd, so that a cell is symmetric around its centre. */
const cellFor = (mechanisms: readonly NoiseMechanism[]): number => {
  const reach = Math.max(...mechanisms.map(reachOf));
  const cell = Math.ceil((2 * reach + 1) / CELLS_MAX);
  return cell % 2 === 1 ? cell : cell + 1;
};

const summedHalfWidth = (mechanisms: readonly NoiseMechanism[], outside: number): bigint => {
  const cell = cellFor(mechanisms);
  const sum = mechanisms
    .map((mechanism) => histogramOf(mechanism, cell))
    .reduce((left, right) => ({
      masses: convolve(left.masses, right.masses),
      lost: left.lost + right.lost,
    }));
  // Each noise may be half a cell from the centre of its cell.
  const rounding = mechanisms.length * ((cell - 1) / 2);
  return BigInt(halfWidthCells(sum, outside) * cell + rounding);
};

const laplaceHalfWidth = (scale: number, outside: number): bigint => {
  // 2·P(X > w) ≤ outside, solved in closed form, then nudged so that rounding never makes it narrower.
  let width = Math.max(0, Math.floor(-scale * Math.log((outside / 2) * (1 + Math.exp(-1 / scale)))) - 2);
  while (2 * laplaceTail(scale, width) > outside * (1 - 1e-12)) width += 1;
  return BigInt(width);
};

/**
 * Smallest w found with P(|sum of the noises| ≤ w) ≥ confidence; the noises are independent, one per site. Exact for one or several
 * noises of moderate width; conservative (wider) for very wide ones.
 * @throws QflError `invalid_request` for a confidence outside (0.5, 1).
 */
export const noiseHalfWidth = (mechanisms: readonly NoiseMechanism[], confidence: number): bigint => {
  checkConfidence(confidence);
  const outside = 1 - confidence;
  const [first] = mechanisms;
  if (first === undefined) return 0n;
  if (mechanisms.length === 1 && first.kind === 'discrete_laplace')
    return laplaceHalfWidth(toNumber(first.scale), outside);
  const gaussians = mechanisms.filter(({ kind }) => kind === 'discrete_gaussian');
  if (gaussians.some((mechanism) => sigmaOf(mechanism) > SIGMA_SUMMED_MAX)) {
    const others = mechanisms.filter(({ kind }) => kind === 'discrete_laplace');
    // Union bound: half of what may lie outside for each kind.
    const share = others.length === 0 ? outside : outside / 2;
    const rest = others.length === 0 ? 0n : summedHalfWidth(others, share);
    return subGaussianHalfWidth(gaussians, share) + rest;
  }
  return summedHalfWidth(mechanisms, outside);
};

/** The interval of a released number (or of a sum of them) around its exact value. */
export const noiseInterval = (
  released: bigint,
  mechanisms: readonly NoiseMechanism[],
  confidence: number,
): Interval => {
  const half = noiseHalfWidth(mechanisms, confidence);
  return { low: released - half, high: released + half, confidence };
};
