/** Faults in the noise of `ask` and of histograms, and in how often it is drawn, which the audits must see. */
import { expect, test } from 'vitest';
import { createContribute } from '../../agent/answer/contribute.ts';
import { createConceptsPlanner } from '../../agent/answer/ask-records/plan-concepts.ts';
import { DEFAULT_LIMITS, type Ledger, type ReserveResult } from '../../agent/budget/ledger.ts';
import { CONCEPTS } from '../../agent/concepts/list.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { memoryRecords } from '../fixtures/fhir.ts';
import { seededRandom } from '../fixtures/drbg.ts';
import { askMechanism } from '../../agent/answer/ask-records/mechanism.ts';
import { microEpsilon } from '../../shared/privacy/epsilon.ts';
import { refutedEpsilon } from '../fixtures/falsification.ts';
import {
  AUDIT_CANARIES,
  AUDIT_DELTA,
  AUDIT_MARGIN,
  auditedMechanism,
  claimedEpsilon,
  fairCoins,
  halved,
  oneRunEpsilon,
  releaseWith,
  type ReleaseVector,
} from '../unit/ask/audit.ts';

const mechanism = askMechanism(microEpsilon(1_000_000), 1n);
const DRAWS = 100_000;
const DELTA = 0.05;

const draws = async (release: ReleaseVector, each: bigint): Promise<Int32Array> =>
  Int32Array.from(await release(Array.from({ length: DRAWS }, () => each)), Number);

test('noise over two is refuted on neighbouring hospitals', async () => {
  const refuted = refutedEpsilon(
    await draws(releaseWith(halved(mechanism), 1), 0n),
    await draws(releaseWith(halved(mechanism), 2), 1n),
    DELTA,
  );
  expect(refuted).toBeGreaterThan(claimedEpsilon(mechanism, DELTA));
}, 20_000);

test('noise over two is refuted by the one-run audit', async () => {
  const release = releaseWith(halved(auditedMechanism), 7);
  const refuted = await oneRunEpsilon(release, fairCoins(AUDIT_CANARIES, 8), AUDIT_MARGIN);
  expect(refuted).toBeGreaterThan(claimedEpsilon(auditedMechanism, AUDIT_DELTA));
}, 20_000);

test('noise on terms that somebody has, and none on the others, is refuted', async () => {
  const onlyNonZero =
    (seed: number): ReleaseVector =>
    async (exact) => {
      const noisy = await releaseWith(mechanism, seed)(exact);
      return noisy.map((value, at) => (exact[at] === 0n ? 0n : value));
    };
  const refuted = refutedEpsilon(await draws(onlyNonZero(3), 0n), await draws(onlyNonZero(4), 1n), DELTA);
  expect(refuted).toBeGreaterThan(claimedEpsilon(mechanism, DELTA));
}, 20_000);

test('the noise of √k terms for a patient who moves k is refuted', async () => {
  // Calibrated to one term; the patient has eight, and the sum of the eight tells.
  const terms = 8;
  const sums = async (each: bigint, seed: number): Promise<Int32Array> => {
    const release = releaseWith(mechanism, seed);
    const cells = await release(Array.from({ length: (DRAWS / 2) * terms }, () => each));
    return Int32Array.from({ length: DRAWS / 2 }, (_, at) =>
      Number(cells.slice(at * terms, (at + 1) * terms).reduce((sum, value) => sum + value, 0n)),
    );
  };
  expect(refutedEpsilon(await sums(0n, 5), await sums(1n, 6), DELTA)).toBeGreaterThan(
    claimedEpsilon(mechanism, DELTA),
  );
}, 30_000);

/** A ledger that keeps what it was given by the question's id, as the real one; `forgets` makes every question a new one. */
const smallLedger = (forgets: boolean): Ledger => {
  const kept = new Map<string, Uint8Array>();
  const facts = {
    spendUnits: 5n,
    costs: { site_lifetime: 5n, asking_site_day: 5n, department_day: 5n, user_day: 5n },
    recordHash: new Uint8Array(32),
    recordCounter: 1,
  };
  const ledger: Pick<Ledger, 'reserve' | 'limits' | 'readings'> = {
    limits: () => DEFAULT_LIMITS,
    readings: () => [],
    reserve: ({ queryId }): Promise<ReserveResult> => {
      const sealedAnswer = forgets ? undefined : kept.get(queryId);
      if (sealedAnswer !== undefined) return Promise.resolve({ status: 'answered', sealedAnswer, ...facts });
      return Promise.resolve({
        status: 'reserved',
        ...facts,
        startComputing: () => undefined,
        commit: (sealed) => {
          kept.set(queryId, sealed);
          return Promise.resolve({ status: 'answered', sealedAnswer: sealed, ...facts });
        },
        refund: () => Promise.resolve(),
        abandon: () => Promise.resolve(),
      });
    },
  };
  return ledger as Ledger;
};

test('a second answer to one question with noise drawn again', async () => {
  const planned = (): never => {
    throw new QflError('not_found');
  };
  const twice = async (forgets: boolean): Promise<readonly string[]> => {
    const contribute = createContribute({
      ledger: smallLedger(forgets),
      random: seededRandom(11),
      meters: { charged: () => undefined, refusedByBudget: () => undefined },
      planners: {
        measures: planned,
        tally: planned,
        concepts: createConceptsPlanner(memoryRecords(), CONCEPTS),
      },
    });
    const answers: string[] = [];
    for (let asked = 0; asked < 2; asked += 1) {
      const { sealed } = await contribute(
        {
          sender: SiteId.parse('north'),
          queryId: QueryId.parse('1'.repeat(32)),
          envelopeHash: '2'.repeat(64),
          asker: Pseudonym.parse('3'.repeat(32)),
          department: DepartmentId.parse('icu'),
          query: {
            kind: 'concepts',
            list: CONCEPTS.name,
            cohort: { all: [], none: [], sex: null, bornFrom: null, bornBefore: null },
            cells: { count: 'terms', group: 'conditions', k: 4 },
            microEpsilon: 100_000,
          },
        },
        (answer) => utf8(JSON.stringify(answer.releases)),
      );
      answers.push(fromUtf8(sealed));
    }
    return answers;
  };
  const [first, again] = await twice(false);
  expect(again).toBe(first);
  const [one, other] = await twice(true);
  expect(other).not.toBe(one);
});
