/**
 * The federation's linear model fitted to this hospital's own patients, around the weights that all hospitals learnt: hospitals differ in how common a disease
 * is, and in whom they measure. The fit is made of the records as they are, held in memory only, and made again when anything is written to them: who opted out
 * or was erased is not in it. It has no noise in it, so it leaves the hospital in no form, and answers only where the site's configuration allows it.
 */
import type { Clock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { publicScaling } from '../../shared/learning/moments.ts';
import { fittingRidge, tableOf } from '../../shared/learning/ridge.ts';
import { tensorsOf } from '../../shared/learning/tensors.ts';
import { slowly } from '../../shared/rounds/slowly.ts';
import { readFlat } from '../../shared/tensor/safetensors.ts';
import type { LoadedModel } from '../models/pulled.ts';
import type { Records } from '../records/store.ts';
import { type Examples, standardising } from '../training/examples.ts';
import { dataOf } from './predictor.ts';

/** Chosen on training folds of four real hospitals (`npm run bench -- heart --tune`). */
const RIDGE = 3;
const INTERCEPT_RIDGE = 0.1;
/** Fewer say more of themselves than of the hospital. */
const PATIENTS_MIN = 30;

export interface LocalFit {
  /** Of the records: a fit is good for one. */
  revision(): number;
  /**
   * Weights fitted around the model's. Reads records.
   * @throws QflError `invalid_request` for models that are not linear, `not_ready` where there are too few patients
   */
  weightsFor(model: LoadedModel, signal: AbortSignal): Promise<Float64Array>;
}

export interface LocalFitOptions {
  readonly records: Pick<Records, 'revision'>;
  readonly examples: Examples;
  readonly clock: Pick<Clock, 'nowMs'>;
}

export const createLocalFit = ({ records, examples, clock }: LocalFitOptions): LocalFit => ({
  revision: () => records.revision(),
  async weightsFor({ record, file }, signal) {
    const { model, scaling } = record.lineage;
    if (model.kind !== 'logistic')
      throw new QflError('invalid_request', {
        detail: `only a logistic model is fitted to a hospital's own patients, and ${record.name} is of kind ${model.kind}`,
        next: 'Ask without "fitted".',
      });
    const data = dataOf(record);
    const today = new Date(clock.nowMs()).toISOString().slice(0, 10);
    const patients = await examples.read({ data, today, blocks: undefined }, signal);
    if (patients.length < PATIENTS_MIN)
      throw new QflError('not_ready', {
        detail: `fewer than ${PATIENTS_MIN} patients of this site can be learnt from`,
        next: 'Ask without "fitted".',
      });
    const around = readFlat(tensorsOf(model, data).tensors, file);
    const used = scaling ?? publicScaling(data);
    const seen = await slowly(standardising(patients, used), signal);
    return slowly(
      fittingRidge(tableOf(seen), { around, ridge: RIDGE, interceptRidge: INTERCEPT_RIDGE }),
      signal,
    );
  },
});
