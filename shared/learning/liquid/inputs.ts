/**
 * What a cell sees of a series at each step. A value that was not measured decays from the last one measured towards the mean
 * (0, as values are standardised), as in GRU-D (Che et al. 2018), here with γ = exp(−softplus(ρ)·δ) instead of
 * exp(−max(0, wδ + b)): smooth, one number for each channel, and 1 where δ is 0. A second number for each channel says whether
 * it was measured.
 */
import { sigmoid, softplus } from '../logit.ts';
import type { ExampleSeries } from '../model.ts';

/** Numbers a step: the values, then 1 where they were measured. */
export const inputWidth = (channels: number): number => 2 * channels;

/** ρ to begin with: a value halves towards the mean in 14 hours. */
export const DECAY_START = -3;

export interface Inputs {
  /** steps × width, row by row. */
  readonly values: Float64Array;
  /** Per step and channel: how the input moves with ρ; 0 where it was measured, or never was before. */
  readonly decaySlopes: Float64Array;
}

/** Writes the inputs of all steps. Rates are ρ, one for each channel. */
export const fillInputs = (
  series: ExampleSeries,
  rates: Float64Array,
  { values, decaySlopes }: Inputs,
): void => {
  const { steps, channels, hours } = series;
  for (let channel = 0; channel < channels; channel += 1) {
    const rate = softplus(rates[channel]!);
    const rateSlope = sigmoid(rates[channel]!);
    let last = 0;
    let lastHours = 0;
    for (let step = 0; step < steps; step += 1) {
      const measured = series.values[step * channels + channel]!;
      const known = measured === measured;
      const at = step * 2 * channels + channel;
      if (known) {
        last = measured;
        lastHours = hours[step]!;
      }
      const elapsed = hours[step]! - lastHours;
      const value = known ? measured : last === 0 ? 0 : last * Math.exp(-rate * elapsed);
      values[at] = value;
      values[at + channels] = known ? 1 : 0;
      decaySlopes[step * channels + channel] = known ? 0 : -value * elapsed * rateSlope;
    }
  }
};
