/** Methods as data: what a federation is asked for, and what it is held against. */
import type { z } from 'zod';
import { type RawExample, standardise } from '../../shared/learning/features.ts';
import { modelOf } from '../../shared/learning/models.ts';
import { groupsOf, momentsVector, publicScaling, scalingFrom } from '../../shared/learning/moments.ts';
import { chanceOf, fitRidge, scoreOf, type Table, tableOf } from '../../shared/learning/ridge.ts';
import { inputShapeOf } from '../../shared/learning/tensors.ts';
import type { LearningData, Scaling } from '../../shared/wire/learning.ts';
import { TrainingRequest } from '../../shared/wire/training.ts';
import type { Told } from './learning-metrics.ts';

/** As much as a ledger counts: the noise is a few steps of the grid, and keeps nothing private. */
export const NO_PRIVACY = 900_000;
const DELTA = 1e-5;

/** Around the federation's weights, fitted by a site to its own patients; never leaves it. */
export interface Personal {
  readonly ridge: number;
  readonly interceptRidge: number;
  /** Features that the federation's model has not: their weights begin from 0, scaled by the site's own means and spreads. */
  readonly also?: LearningData;
}

export interface SiteExamples {
  readonly train: readonly RawExample[];
  readonly test: readonly RawExample[];
}
/** What each site has of the features of a method; its patients in the same order for all data of one target. */
export type ExamplesFor = (data: LearningData) => readonly SiteExamples[];

export interface Method {
  readonly name: string;
  readonly data: LearningData;
  /** One training for each. */
  readonly epsilons: readonly number[];
  readonly ask: Omit<z.input<typeof TrainingRequest>, 'data' | 'epsilon' | 'delta'>;
  /** Also scored after each site fitted the model to itself; linear models only. */
  readonly personal?: Personal;
}

export const requestOf = ({ data, ask }: Method, epsilon: number): TrainingRequest =>
  TrainingRequest.parse({
    standardise: null,
    evaluate: null,
    department: 'general',
    ...ask,
    data,
    epsilon,
    delta: DELTA,
  });

export interface LearntModel {
  readonly weights: Float64Array;
  readonly scaling: Scaling;
}

export const tell = (
  { data, model: spec }: TrainingRequest,
  { weights, scaling }: LearntModel,
  patients: readonly RawExample[],
): Told => {
  const model = modelOf(spec, inputShapeOf(data));
  return {
    chances: patients.map((raw) => model.predict(weights, standardise(raw, scaling))),
    targets: patients.map(({ target }) => target),
  };
};

const scaled = (patients: readonly RawExample[], scaling: Scaling) =>
  tableOf(patients.map((raw) => standardise(raw, scaling)));

const tellLinear = (weights: Float64Array, scaling: Scaling, patients: readonly RawExample[]): Told => {
  const table = scaled(patients, scaling);
  return {
    chances: patients.map((_, row) => chanceOf(scoreOf(table, row, weights))),
    targets: patients.map(({ target }) => target),
  };
};

export const exactScaling = (patients: readonly RawExample[], data: LearningData): Scaling => {
  const groups = groupsOf(data);
  const [sum, vector] = [new Float64Array(3 * groups.length), new Float64Array(3 * groups.length)];
  for (const raw of patients) {
    momentsVector(raw, groups, vector);
    for (let at = 0; at < sum.length; at += 1) sum[at]! += vector[at]!;
  }
  return scalingFrom(sum, data);
};

/** The federation's features, then those that only the site looks at. */
const side = (
  patients: readonly RawExample[],
  scaling: Scaling,
  also: { readonly patients: readonly RawExample[]; readonly scaling: Scaling } | undefined,
): Table => {
  const common = patients.map((raw) => standardise(raw, scaling));
  if (also === undefined) return tableOf(common);
  return tableOf(
    common.map(({ inputs, target }, at) => {
      const own = standardise(also.patients[at]!, also.scaling).inputs;
      return { inputs: Float64Array.from([...inputs, ...own]), target };
    }),
  );
};

/** As a site tells of its own patients after it fitted the federation's model to those it learnt from. */
const tellSitePersonal = (
  { weights, scaling }: LearntModel,
  { ridge, interceptRidge, also }: Personal,
  { train, test }: SiteExamples,
  own: SiteExamples | undefined,
): Told => {
  const ownScaling = own === undefined || also === undefined ? undefined : exactScaling(own.train, also);
  const withOwn = (patients: readonly RawExample[] | undefined) =>
    patients === undefined || ownScaling === undefined ? undefined : { patients, scaling: ownScaling };
  const learnt = side(train, scaling, withOwn(own?.train));
  const around = new Float64Array(learnt.columns);
  around.set(weights.subarray(0, -1));
  around.set(weights.subarray(-1), learnt.columns - 1);
  const fitted = fitRidge(learnt, { around, ridge, interceptRidge });
  const asked = side(test, scaling, withOwn(own?.test));
  return {
    chances: test.map((_, row) => chanceOf(scoreOf(asked, row, fitted))),
    targets: test.map(({ target }) => target),
  };
};

export const tellPersonal = (
  model: LearntModel,
  personal: Personal,
  sites: readonly SiteExamples[],
  own: readonly SiteExamples[] | undefined,
): Told[] => sites.map((site, at) => tellSitePersonal(model, personal, site, own?.[at]));

/** Without a federation: ridge regression on what one has. */
export interface Baseline extends Omit<Personal, 'also'> {
  readonly data: LearningData;
  /** Standardised by the public bounds and usual values, or by the means and spreads of the training rows. */
  readonly scaling: 'public' | 'own';
}

/** Learns from `train` and tells of each part of `tests`. */
export const tellBaseline = (
  { data, scaling: kind, ridge, interceptRidge }: Baseline,
  train: readonly RawExample[],
  tests: readonly (readonly RawExample[])[],
): Told[] => {
  const scaling = kind === 'public' ? publicScaling(data) : exactScaling(train, data);
  const table = scaled(train, scaling);
  const around = new Float64Array(table.columns);
  const weights = fitRidge(table, { around, ridge, interceptRidge });
  return tests.map((test) => tellLinear(weights, scaling, test));
};
