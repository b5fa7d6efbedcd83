/**
 * Composition of loss distributions: losses of independent runs add, so their laws convolve. All parts are multiplied in one go
 * in the frequency domain, each to the power of its count. The window of losses kept is chosen by Chernoff bounds, and what may
 * lie above it counts as an infinite loss. May take seconds on the finest grids: run in a worker.
 */
import { assert } from '../../errors.ts';
import { realTransform, type RealTransform, type Spectrum } from '../math/fft.ts';
import { type Centred, centred, chernoff, type GridPart, logMoment, logMomentOf } from './chernoff.ts';
import { checkCells, type GridSettings, type LossGrid } from './loss-grid.ts';

/** Mass that may be cut off on each side. */
const LOG_CUT = Math.log(1e-20);
/** The deltas that should be right to many digits are around this one. */
const LOG_TILT = Math.log(1e-10);
/** Mass above the transform's window, and how much of the tilted law's may be: what wraps around. */
const LOG_WRAPPED = Math.log(1e-40);
const LOG_WRAPPED_TILTED = Math.log(1e-16);
/** Relative error of one run's spectrum; it grows with the number of runs. */
const ROUNDING = 2 ** -51;

const powerOfTwo = (least: number): number => 2 ** Math.ceil(Math.log2(Math.max(4, least)));

/** A part's law with e^(t·loss) times the mass, made a law again; t counts per cell. */
const tilted = ({ grid, middle }: Centred, t: number): Float64Array => {
  if (t === 0) return grid.masses;
  const logNorm = logMoment(grid, middle, t);
  return grid.masses.map((mass, cell) =>
    mass === 0 ? 0 : Math.exp(Math.log(mass) + t * (cell - middle) - logNorm),
  );
};

/** The product of all parts' transforms, each to the power of its count, summed up in logarithm and angle. */
const productSpectrum = (parts: readonly Centred[], fourier: RealTransform, t: number): Spectrum => {
  const { size } = fourier;
  const logSquared = new Float64Array(size / 2 + 1);
  const angle = new Float64Array(size / 2 + 1);
  for (const part of parts) {
    const folded = new Float64Array(size);
    tilted(part, t).forEach((mass, cell) => {
      const at = (cell - part.middle) & (size - 1);
      folded[at] = folded[at]! + mass;
    });
    const { re, im } = fourier.forward(folded);
    for (let at = 0; at <= size / 2; at += 1) {
      logSquared[at] = logSquared[at]! + part.count * Math.log(re[at]! * re[at]! + im[at]! * im[at]!);
      angle[at] = angle[at]! + part.count * Math.atan2(im[at]!, re[at]!);
    }
  }
  for (let at = 0; at <= size / 2; at += 1) {
    const magnitude = Math.exp(logSquared[at]! / 2);
    const turn = angle[at]!;
    logSquared[at] = magnitude * Math.cos(turn);
    angle[at] = magnitude * Math.sin(turn);
  }
  return { re: logSquared, im: angle };
};

/** Cells around the sum of the middles: those kept, and those a transform of this size holds before it wraps around. */
interface Window {
  readonly below: number;
  readonly above: number;
  readonly size: number;
  /** Cells above, and ln of a bound of the mass beyond them. */
  readonly held: number;
  readonly logBeyond: number;
}

const TILT_TRIES = 40;

/**
 * A tilt for the upper tail, as strong as the window allows: of the tilted law at most e^(logBeyond + t·held − K(t)) lies beyond
 * what the transform holds (the Chernoff bound, tilted).
 */
const tiltOf = (parts: readonly Centred[], { held, logBeyond }: Window): number => {
  let t = chernoff(parts, 1, LOG_TILT)?.t ?? 0;
  for (let tries = 0; tries < TILT_TRIES && t > 0; tries += 1) {
    if (logBeyond + t * held - logMomentOf(parts, t) <= LOG_WRAPPED_TILTED) return t;
    t *= 0.85;
  }
  return 0;
};

/**
 * Masses of the composition at cells −below … above around the sum of the middles. Rounding in a transform spoils all cells alike, by
 * some 1e-16 of the whole for every run, which small deltas do not survive. The upper tail is therefore taken from
 * the composition of tilted laws, where that tail is the middle; untilting gives it back with nearly all its digits.
 */
const convolved = (parts: readonly Centred[], window: Window): Float64Array => {
  const { below, above, size } = window;
  const fourier = realTransform(size);
  const masses = new Float64Array(below + above + 1);
  const plain = fourier.inverse(productSpectrum(parts, fourier, 0));
  const t = tiltOf(parts, window);
  const logNorm = t === 0 ? 0 : logMomentOf(parts, t);
  const raised = t === 0 ? plain : fourier.inverse(productSpectrum(parts, fourier, t));
  for (let cell = 0; cell < masses.length; cell += 1) {
    const loss = cell - below;
    const untilt = logNorm - t * loss;
    const at = loss & (size - 1);
    // Where untilting shrinks errors the tilted composition is the better one. Negative values are rounding, no probabilities.
    masses[cell] = Math.max(0, untilt < 0 ? raised[at]! * Math.exp(untilt) : plain[at]!);
  }
  return masses;
};

const composedInfinity = (parts: readonly GridPart[]): number =>
  -Math.expm1(parts.reduce((sum, { grid, count }) => sum + count * Math.log1p(-grid.infinity), 0));

/** Cells to hold on one side of the sum of the middles so that at most e^logMass lies beyond. */
const reach = (parts: readonly Centred[], side: 1 | -1, logMass: number): number => {
  const furthest = parts.reduce(
    (sum, { grid, count, middle }) => sum + count * (side === 1 ? grid.masses.length - 1 - middle : middle),
    0,
  );
  return Math.min(Math.ceil(chernoff(parts, side, logMass)?.cells ?? 0) + 1, furthest);
};

/** @throws QflError `invalid_request` when it does not fit. */
const windowOf = (parts: readonly Centred[], settings: GridSettings): Window => {
  const below = reach(parts, -1, LOG_CUT);
  const above = reach(parts, 1, LOG_CUT);
  const wide = reach(parts, 1, LOG_WRAPPED);
  const least = powerOfTwo(below + above + 1);
  const wider = powerOfTwo(below + wide + 1);
  checkCells(least, settings);
  return wider <= Math.min(2 * least, settings.cellsMax)
    ? { below, above, size: wider, held: wide, logBeyond: LOG_WRAPPED }
    : { below, above, size: least, held: above, logBeyond: LOG_CUT };
};

/**
 * The law of the summed losses of all parts, each `count` times. Pessimistic ones carry what rounding and the window may have
 * hidden.
 * @throws QflError `invalid_request` when the composition does not fit on a grid of this step.
 */
export const composeGrids = (given: readonly GridPart[], settings: GridSettings): LossGrid => {
  const used = given.filter(({ count }) => count > 0);
  const { step, rounding } = settings;
  assert(
    used.every(({ grid }) => grid.step === step),
    'grids of one composition have its step',
  );
  if (used.length === 0) return { step, low: 0, masses: Float64Array.of(1), infinity: 0 };
  if (used.length === 1 && used[0]!.count === 1) return used[0]!.grid;
  const parts = used.map(centred);
  const window = windowOf(parts, settings);
  const masses = convolved(parts, window);
  const low = parts.reduce(
    (sum, { grid, count, middle }) => sum + count * (grid.low + middle),
    -window.below,
  );
  const infinity = composedInfinity(used);
  if (rounding === 'optimistic') return { step, low, masses, infinity };
  const runs = used.reduce((sum, { count }) => sum + count, 0);
  const margin = 1 + runs * ROUNDING;
  return {
    step,
    low,
    masses: masses.map((mass) => mass * margin),
    infinity: Math.min(1, infinity * margin + Math.exp(LOG_CUT)),
  };
};
