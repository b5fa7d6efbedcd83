/** A question that is asked again gets the bytes of its first run: new noise for the same question would average the noise away. */
import { describe, expect, test } from 'vitest';
import { createContribute } from '../../agent/answer/contribute.ts';
import { createMeasuresPlanner } from '../../agent/answer/stats/plan.ts';
import { DEFAULT_LIMITS, type Ledger, type ReserveResult } from '../../agent/budget/ledger.ts';
import { utf8 } from '../../shared/bytes.ts';
import { QflError } from '../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../shared/ids.ts';
import { seededRandom } from '../fixtures/drbg.ts';
import { memoryRecords } from '../fixtures/fhir.ts';

const FACTS = {
  spendUnits: 1n,
  costs: { site_lifetime: 1n, asking_site_day: 1n, department_day: 1n, user_day: 1n },
  recordHash: new Uint8Array(32),
  recordCounter: 1,
};

/** The real ledger keeps the sealed answer of a query; the mutant forgets it. */
const ledgerThat = (remembers: boolean): Ledger => {
  let kept: Uint8Array | undefined;
  const reserve = (): Promise<ReserveResult> =>
    Promise.resolve(
      kept !== undefined && remembers
        ? { status: 'answered', sealedAnswer: kept, ...FACTS }
        : {
            status: 'reserved',
            ...FACTS,
            startComputing: () => undefined,
            commit: (sealedAnswer: Uint8Array) => {
              kept = sealedAnswer;
              return Promise.resolve({ status: 'answered', sealedAnswer, ...FACTS });
            },
            refund: () => Promise.resolve(),
            abandon: () => Promise.resolve(),
          },
    );
  const ledger: Pick<Ledger, 'reserve' | 'limits' | 'readings'> = {
    reserve,
    limits: () => DEFAULT_LIMITS,
    readings: () => [],
  };
  return ledger as Ledger;
};

const contribution = {
  sender: SiteId.parse('north'),
  queryId: QueryId.parse('1'.repeat(32)),
  envelopeHash: '2'.repeat(64),
  asker: Pseudonym.parse('3'.repeat(32)),
  department: DepartmentId.parse('icu'),
  query: {
    kind: 'measures',
    cohort: 'Patient',
    measures: [{ measure: 'count' }, { measure: 'table', by: [{ variable: 'gender' }] }],
    microEpsilon: 100_000,
  },
};

const distinctAnswers = async (remembers: boolean): Promise<number> => {
  const refuse = (): never => {
    throw new QflError('not_found');
  };
  const contribute = createContribute({
    ledger: ledgerThat(remembers),
    random: seededRandom(61),
    meters: { charged: () => undefined, refusedByBudget: () => undefined },
    planners: { measures: createMeasuresPlanner(memoryRecords()), concepts: refuse, tally: refuse },
  });
  const seen = new Set<string>();
  for (let time = 0; time < 5; time += 1) {
    const { sealed } = await contribute(contribution, ({ releases }) => utf8(JSON.stringify(releases)));
    seen.add(Buffer.from(sealed).toString());
  }
  return seen.size;
};

describe('asking again', () => {
  test('gives the same bytes; a ledger that forgets its answers is caught', async () => {
    expect(await distinctAnswers(true)).toBe(1);
    expect(await distinctAnswers(false)).toBe(5);
  });
});
