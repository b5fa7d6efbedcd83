import { describe, expect, test } from 'vitest';
import { askMechanism, rhoOf, sigmaOf, visibilityOf } from '../../../agent/answer/ask-records/mechanism.ts';
import { countConcepts, planConcepts } from '../../../agent/concepts/histogram.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { costUnits, createFilter } from '../../../shared/privacy/filter.ts';
import { discreteLaplace } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { ConceptCells, ConceptCohort } from '../../../shared/wire/stats/ask.ts';
import { condition, importResources, memoryRecords, patient } from '../../fixtures/fhir.ts';
import { refutedEpsilon } from '../../fixtures/falsification.ts';
import {
  AUDIT_CANARIES,
  AUDIT_DELTA,
  AUDIT_MARGIN,
  auditedMechanism,
  claimedEpsilon,
  fairCoins,
  oneRunEpsilon,
  releaseWith,
} from './audit.ts';

const EVERYONE = ConceptCohort.parse({ all: [], none: [], sex: null, bornFrom: null, bornBefore: null });
const TENTH = microEpsilon(100_000);

describe('the noise of a question', () => {
  test.each([1n, 4n, 8n])('for k %s costs as much as one pure query of ε 0.1: ρ 0.005', (k) => {
    const mechanism = askMechanism(TENTH, k);
    expect(rhoOf(mechanism)).toBeCloseTo(0.005, 15);
    expect(sigmaOf(mechanism)).toBeCloseTo(10 * Math.sqrt(Number(k)), 9);
    expect(mechanism.sensitivitySquared).toEqual(rational(k));
    const filter = createFilter('zcdp', { epsilon: microEpsilon(10_000_000), delta: 1e-5 });
    const count = discreteLaplace(1n, rational(10n));
    expect(costUnits(mechanism, filter)).toBe(costUnits(count, filter));
  });

  test('k 4 at ρ 0.005: about 80 patients over twenty terms, more over a longer list, more over more sites', () => {
    const mechanism = askMechanism(TENTH, 4n);
    const { reliableFrom } = visibilityOf([mechanism], 20);
    expect(Number(reliableFrom)).toBeGreaterThan(75);
    expect(Number(reliableFrom)).toBeLessThan(95);
    expect(visibilityOf([mechanism], 70).reliableFrom).toBeGreaterThan(reliableFrom);
    expect(visibilityOf([mechanism, mechanism], 20).reliableFrom).toBeGreaterThan(reliableFrom);
  });

  test('the cut and what is seen reliably are what they say', async () => {
    const mechanism = askMechanism(TENTH, 4n);
    const cells = 40;
    const { cut, reliableFrom } = visibilityOf([mechanism], cells);
    const runs = 1_500;
    let falseShown = 0;
    let seen = 0;
    for (let run = 0; run < runs; run += 1) {
      const exact = Array.from({ length: cells }, (_, at) => (at === 0 ? reliableFrom : 0n));
      const [first, ...others] = await releaseWith(mechanism, run)(exact);
      if (first! >= cut) seen += 1;
      if (others.some((value) => value >= cut)) falseShown += 1;
    }
    // Five standard deviations of 1,500 runs are 2.8 %.
    expect(seen / runs).toBeGreaterThan(0.95 - 0.028);
    expect(falseShown / runs).toBeLessThan(0.05 + 0.028);
  });
});

describe('a concepts vector', () => {
  test('of two neighbouring hospitals is not told apart better than claimed', async () => {
    const mechanism = askMechanism(microEpsilon(1_000_000), 2n);
    const draws = 100_000;
    const sumsOf = async (each: bigint, seed: number): Promise<Int32Array> => {
      // The two cells a patient moves: their sum is what tells most about the patient.
      const released = await releaseWith(mechanism, seed)(Array.from({ length: 2 * draws }, () => each));
      return Int32Array.from({ length: draws }, (_, at) => Number(released[2 * at]! + released[2 * at + 1]!));
    };
    const [without, present] = [await sumsOf(0n, 1), await sumsOf(1n, 2)];
    const delta = 0.05;
    expect(refutedEpsilon(without, present, delta)).toBeLessThanOrEqual(claimedEpsilon(mechanism, delta));
  }, 20_000);

  test('holds exactly the canaries that are in', async () => {
    const concepts = CONCEPTS.ofGroup('conditions');
    const coins = fairCoins(concepts.length, 5);
    const records = memoryRecords();
    await importResources(
      records,
      concepts.flatMap(({ codes }, at) =>
        coins[at] === 1n
          ? [patient(`canary-${at}`), condition(`c-${at}`, `canary-${at}`, codes[0]!.code)]
          : [],
      ),
    );
    const plan = planConcepts(
      CONCEPTS,
      EVERYONE,
      ConceptCells.parse({ count: 'terms', group: 'conditions', k: 1 }),
    );
    expect(await countConcepts(records, plan, CONCEPTS.name.hash)).toEqual(coins);
  });

  test('with canaries in it passes the one-run audit', async () => {
    const refuted = await oneRunEpsilon(
      releaseWith(auditedMechanism, 7),
      fairCoins(AUDIT_CANARIES, 8),
      AUDIT_MARGIN,
    );
    expect(refuted).toBeLessThanOrEqual(claimedEpsilon(auditedMechanism, AUDIT_DELTA));
    // The audit has power: it is not silent about a mechanism this weak.
    expect(refuted).toBeGreaterThan(0.2);
  }, 20_000);
});
