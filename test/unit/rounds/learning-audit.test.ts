/**
 * One-run audit (Steinke, Nasr, Jagielski 2023) of a step of a training: a thousand canary patients, each with a condition that nobody else has, each in or out by
 * a fair coin. Whoever sees the sum of all hospitals, as the coordinator does, guesses from the coordinate of each condition who is in. Audits of one
 * run are loose: a passed one proves nothing, and with so few canaries only a gross fault is seen, as the mutant shows.
 */
import { describe, expect, test } from 'vitest';
import { createLearners } from '../../../agent/rounds/learning.ts';
import type { SitePatient } from '../../../agent/training/examples.ts';
import { NOTHING_YET, planStage, type Stage } from '../../../coordinator/rounds/training-plan.ts';
import { auditEpsilon } from '../../../shared/privacy/analytic/audit.ts';
import { decode } from '../../../shared/rounds/encode.ts';
import { turnSeed, weightBytes } from '../../../shared/rounds/noise.ts';
import { TrainingRequest } from '../../../shared/wire/training.ts';
import { seededRandom } from '../../fixtures/drbg.ts';
import { AUDIT_ALPHA, fairCoins } from '../ask/audit.ts';
import { planFor, siteAt } from './simulation.ts';

const CANARIES = 1_000;
const SITES = 3;
const EPSILON = 1;
const CLIP = 0.3;
const DELTA = 1e-6;
const REQUEST = TrainingRequest.parse({
  data: {
    target: 'outcome',
    features: Array.from({ length: CANARIES }, (_, at) => ({ kind: 'condition', code: `canary-${at}` })),
  },
  rounds: 1,
  // Half of a canary's gradient lies along the intercept, which all share: clipped, that is as much as it can be of what is charged.
  clip: CLIP,
  epsilon: EPSILON,
  delta: DELTA,
  evaluate: null,
  sites: Array.from({ length: SITES }, (_, at) => siteAt(at)),
});
const SIZE = CANARIES + 1;

const canary = (at: number): SitePatient => {
  const inputs = new Float64Array(CANARIES);
  inputs[at] = 1;
  return { raw: { inputs, series: undefined, target: 0 }, place: 0.5 };
};

/** What the coordinator decodes: canaries at one hospital, nobody at the others, noise of each. */
const released = async (stage: Stage, coins: readonly bigint[], seed: number): Promise<Float64Array> => {
  const { plan } = planFor(SITES, stage.grid.words, { work: stage.work, privacy: stage.privacy });
  const model = weightBytes(new Float64Array(SIZE));
  const sum = new Int32Array(stage.grid.words);
  for (let site = 0; site < SITES; site += 1) {
    const patients = site === 0 ? coins.flatMap((coin, at) => (coin === 1n ? [canary(at)] : [])) : [];
    const workers = createLearners({
      examples: { read: () => Promise.resolve(patients) },
      random: seededRandom(seed + site),
      blocks: () => undefined,
    });
    const worker = workers.find(({ kind }) => kind === stage.work.kind)!;
    const vector = await worker.compute(plan, model, new AbortController().signal);
    vector.forEach((value, word) => (sum[word] = (sum[word]! + value) | 0));
  }
  return decode(sum, stage.grid, turnSeed(plan.round), stage.length);
};

/** A canary's gradient points up along its own condition: half of it lies there. */
const refutedBy = async (stage: Stage, seed: number): Promise<number> => {
  const coins = fairCoins(CANARIES, seed + 10);
  const vector = await released(stage, coins, seed);
  const middle = CLIP / Math.SQRT2 / 2;
  const correct = coins.filter((coin, at) => vector[at]! > middle === (coin === 1n)).length;
  return auditEpsilon({ canaries: CANARIES, guesses: CANARIES, correct, delta: DELTA }, AUDIT_ALPHA);
};

const STAGE = planStage(REQUEST, NOTHING_YET, 'step');
/** The same price, a twentieth of the noise. */
const weakened = (stage: Stage): Stage => {
  const { sigmaSquared, ...rest } = stage.work.settings;
  const least = String(BigInt(String(sigmaSquared)) / 400n);
  return { ...stage, work: { ...stage.work, settings: { ...rest, sigmaSquared: least } } };
};

describe('a step of a training with canaries in it', () => {
  test('does not refute the epsilon that it was asked with', async () => {
    expect(await refutedBy(STAGE, 21)).toBeLessThanOrEqual(EPSILON);
  });

  test('refutes it where the noise is a twentieth of what is charged', async () => {
    expect(await refutedBy(weakened(STAGE), 23)).toBeGreaterThan(EPSILON);
  });

  test('holds the noise of each hospital, whoever is in it, and half of it would be seen', async () => {
    const nobody = fairCoins(CANARIES, 1).map(() => 0n);
    const varianceOf = (vector: Float64Array): number =>
      vector.reduce((sum, value) => sum + value ** 2, 0) / vector.length;
    const share = STAGE.sigma * STAGE.grid.step;
    const ratio = varianceOf(await released(STAGE, nobody, 31)) / (SITES * share ** 2);
    // Of a thousand coordinates: five standard deviations of such a ratio are 0.22.
    expect(Math.abs(ratio - 1)).toBeLessThan(0.22);
    const halved = { ...STAGE.work.settings, sigmaSquared: String(Math.round(STAGE.sigma ** 2 / 4)) };
    const weak = { ...STAGE, work: { ...STAGE.work, settings: halved } };
    expect(varianceOf(await released(weak, nobody, 33)) / (SITES * share ** 2)).toBeLessThan(0.4);
  });
});
