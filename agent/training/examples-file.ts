/** Examples as a file for a trainer in another language: one safetensors file, which never leaves this site. */
import type { Example, InputShape } from '../../shared/learning/model.ts';
import { type Tensor, writeSafetensors } from '../../shared/tensor/safetensors.ts';

const matrix = (name: string, shape: readonly number[], values: Float64Array): Tensor => ({
  name,
  dtype: 'F64',
  shape,
  values,
});

/** Series one under the other; `series.steps` says how many rows are whose. */
const seriesTensors = (examples: readonly Example[], channels: number): Tensor[] => {
  const steps = Float64Array.from(examples, ({ series }) => series?.steps ?? 0);
  const rows = steps.reduce((sum, count) => sum + count, 0);
  const hours = new Float64Array(rows);
  const values = new Float64Array(rows * channels);
  let row = 0;
  for (const { series } of examples) {
    if (series === undefined) continue;
    hours.set(series.hours.subarray(0, series.steps), row);
    values.set(series.values.subarray(0, series.steps * channels), row * channels);
    row += series.steps;
  }
  return [
    { name: 'series.steps', dtype: 'I64', shape: [examples.length], values: steps },
    matrix('series.hours', [rows], hours),
    matrix('series.values', [rows, channels], values),
  ];
};

/**
 * `inputs` [patients, features] and `target` [patients] (0 or 1), standardised as the model sees them; with channels also `series.steps` [patients],
 * `series.hours` [rows] and `series.values` [rows, channels], NaN where nothing was measured.
 */
export const examplesFile = (
  examples: readonly Example[],
  { features, channels }: InputShape,
): Uint8Array => {
  const inputs = new Float64Array(examples.length * features);
  for (const [at, example] of examples.entries())
    inputs.set(example.inputs.subarray(0, features), at * features);
  const target: Tensor = {
    name: 'target',
    dtype: 'U8',
    shape: [examples.length],
    values: Float64Array.from(examples, (example) => example.target),
  };
  return writeSafetensors([
    matrix('inputs', [examples.length, features], inputs),
    target,
    ...(channels === 0 ? [] : seriesTensors(examples, channels)),
  ]);
};
