/**
 * Released integers → the figures that were asked for, over one site or many. Everything here is post-processing: no data, no cost. Each
 * interval is that of what is returned, from all noise in it.
 */
import { QflError } from '../../../shared/errors.ts';
import { noiseHalfWidth } from '../../../shared/privacy/interval.ts';
import {
  isNoise,
  isSelection,
  mechanismOfText,
  type Mechanism,
  type NoiseMechanism,
} from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import type {
  Interval,
  Measure,
  MeasureResult,
  MeasuresQuery,
  Release,
  StatsAnswer,
} from '../../../shared/wire/stats.ts';
import { gridOf, unitsText } from './grid.ts';
import { cellsOf, dimensionOf, unitOf, type Vector, vectorsOf } from './layout.ts';
import { keyedFigure } from './keyed.ts';
import { meanFigure } from './mean.ts';
import { mergedQuantiles, selectedQuantile } from './quantiles.ts';

/** One vector over all answering sites: cells added up, and what noise is in each. */
export interface Summed {
  readonly cells: readonly string[];
  readonly values: readonly bigint[];
  readonly mechanisms: readonly Mechanism[];
  /** As the sites sent them, in their order. */
  readonly releases: readonly Release[];
}

const protocol = (detail: string): QflError => new QflError('protocol', { detail });

const checkLayout = (release: Release, expected: Vector): void => {
  // Its cells are the site's own; `keyed.ts` checks them.
  if (expected.keysMax !== undefined) return;
  const fits =
    release.cells.length === expected.cells.length &&
    release.cells.every((name, at) => name === expected.cells[at]);
  if (!fits) throw protocol('a site answered other cells than were asked for');
  const mechanism = mechanismOfText(release.mechanism);
  const asAsked = expected.candidates === undefined ? isNoise(mechanism) : isSelection(mechanism);
  if (!asAsked) throw protocol('a site answered by another kind of mechanism than was asked for');
};

/** @throws QflError `protocol` when the releases are not those of the question */
const summed = (vectors: readonly Vector[], answers: readonly StatsAnswer[]): Summed[] =>
  vectors.map((expected, at) => {
    const releases = answers.map(({ releases: given }) => {
      const release = given[at];
      if (release === undefined || given.length !== vectors.length)
        throw protocol('a site answered another number of figures than were asked for');
      checkLayout(release, expected);
      return release;
    });
    return {
      cells: expected.cells,
      values: expected.cells.map((_, cell) =>
        releases.reduce((sum, { values }) => sum + BigInt(values[cell] ?? '0'), 0n),
      ),
      mechanisms: releases.map(({ mechanism }) => mechanismOfText(mechanism)),
      releases,
    };
  });

export const noises = ({ mechanisms }: Summed): NoiseMechanism[] => mechanisms.filter(isNoise);

interface Shown {
  readonly value: string | null;
  readonly interval: Interval | null;
}

/** Integers with the half-width of their noise, shown on their grid. */
const shownUnits = (
  value: bigint,
  half: bigint,
  granularity: { numerator: bigint; denominator: bigint },
  confidence: number,
): Shown => ({
  value: unitsText(value, granularity),
  interval: {
    low: unitsText(value - half, granularity),
    high: unitsText(value + half, granularity),
    confidence,
  },
});

const ONE = rational(1n);
const half = (one: Summed, confidence: number): bigint => noiseHalfWidth(noises(one), confidence);

const figureOf = (
  measure: Measure,
  parts: readonly Summed[],
  confidence: number,
  mechanisms: MeasureResult['mechanisms'],
): MeasureResult => {
  const first = parts[0]!;
  switch (measure.measure) {
    case 'count':
      return {
        measure: 'count',
        of: measure.rows === undefined ? 'patients' : 'rows',
        ...shownUnits(first.values[0]!, half(first, confidence), ONE, confidence),
        mechanisms,
      };
    case 'sum': {
      const { granularity } = gridOf(measure.of);
      return {
        measure: 'sum',
        unit: unitOf(measure.of),
        ...shownUnits(first.values[0]!, half(first, confidence), granularity, confidence),
        mechanisms,
      };
    }
    case 'mean': {
      const count = parts[1]!;
      return {
        measure: 'mean',
        unit: unitOf(measure.of),
        ...meanFigure(gridOf(measure.of), first, count, confidence),
        count: shownUnits(count.values[0]!, half(count, confidence), ONE, confidence),
        mechanisms,
      };
    }
    case 'quantiles':
      return {
        measure: 'quantiles',
        unit: unitOf(measure.of),
        points:
          measure.method === 'select'
            ? measure.quantiles.map((text, at) => selectedQuantile(measure, text, parts[at]!, confidence))
            : mergedQuantiles(measure, first, confidence),
        mechanisms,
      };
    case 'keyed_table':
      return { ...keyedFigure(measure, first.releases, confidence), mechanisms };
    case 'table':
      break;
  }
  const dimensions = measure.by.map(dimensionOf);
  const width = half(first, confidence);
  return {
    measure: 'table',
    dimensions: dimensions.map(({ name, bins }) => ({ name, bins: [...bins] })),
    cells: cellsOf(dimensions).map((bins, at) => ({
      bins,
      ...shownUnits(first.values[at]!, width, ONE, confidence),
    })),
    mechanisms,
  };
};

/**
 * The figures of a question from at least one answer.
 * @throws QflError `protocol` when an answer is not one to this question
 */
export const figuresOf = (
  { measures }: MeasuresQuery,
  answers: readonly StatsAnswer[],
  confidence: number,
): MeasureResult[] => {
  const layouts = measures.map(vectorsOf);
  const all = summed(layouts.flat(), answers);
  let at = 0;
  return measures.map((measure, index) => {
    const from = at;
    at += layouts[index]!.length;
    const mechanisms = answers.flatMap(({ releases }) =>
      releases.slice(from, at).map(({ mechanism }) => mechanism),
    );
    return figureOf(measure, all.slice(from, at), confidence, mechanisms);
  });
};
