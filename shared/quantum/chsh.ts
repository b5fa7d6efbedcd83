/**
 * Certifies a back end by the inequality of Clauser, Horne, Shimony and Holt (1969): classical correlations reach |S| = 2, quantum ones
 * 2√2. Not loophole-free, a simulator passes by construction, and an annealer has no such circuit.
 */
import { type Circuit, createCircuit, gate } from './circuit.ts';
import type { Counts } from './sampling.ts';

export const SHOTS_PER_SETTING_MIN = 4_096;

const DEGREE = Math.PI / 180;
/** Measurement angles in the X–Z plane: Alice 0 and 90, Bob 45 and −45 degrees; S = E11 + E12 + E21 − E22. */
const ALICE = [0, 90 * DEGREE] as const;
const BOB = [45 * DEGREE, -45 * DEGREE] as const;

/** A Bell pair, each half turned so that reading it measures along the angle. */
const settingCircuit = (alice: number, bob: number): Circuit =>
  createCircuit(2, [gate('h', [0]), gate('cx', [0, 1]), gate('ry', [0], -alice), gate('ry', [1], -bob)]);

/** In the order E11, E12, E21, E22. */
export const CHSH_CIRCUITS: readonly Circuit[] = ALICE.flatMap((alice) =>
  BOB.map((bob) => settingCircuit(alice, bob)),
);

export interface Certificate {
  readonly verdict: 'passed' | 'failed' | 'suspicious';
  readonly s: number;
  readonly sigma: number;
  readonly shotsPerSetting: number;
  /** E11, E12, E21, E22. */
  readonly correlations: readonly number[];
}

const correlation = (counts: Counts): number => {
  let [equal, all] = [0, 0];
  for (const [state, count] of counts) {
    all += count;
    if (state === 0 || state === 3) equal += count;
  }
  return (2 * equal) / all - 1;
};

/**
 * Passes when S is above 2 with 99 % confidence (2.33 sigma); above 2√2 by three sigma no physics explains it.
 * @param counts of the four circuits of `CHSH_CIRCUITS`, each of `shotsPerSetting` shots
 */
export const certify = (counts: readonly Counts[], shotsPerSetting: number): Certificate => {
  const correlations = counts.map(correlation);
  const [e11 = 0, e12 = 0, e21 = 0, e22 = 0] = correlations;
  const s = e11 + e12 + e21 - e22;
  const sigma = Math.sqrt(correlations.reduce((sum, e) => sum + 1 - e * e, 0) / shotsPerSetting);
  const suspicious = s > 2 * Math.SQRT2 + 3 * sigma;
  const verdict = suspicious ? 'suspicious' : s - 2.33 * sigma > 2 ? 'passed' : 'failed';
  return { verdict, s, sigma, shotsPerSetting, correlations };
};
