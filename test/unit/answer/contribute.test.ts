import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createContribute } from '../../../agent/answer/contribute.ts';
import { createMeasuresPlanner } from '../../../agent/answer/stats/plan.ts';
import type { ChargeRequest, Ledger, ReserveResult } from '../../../agent/budget/ledger.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { createRecords } from '../../../agent/records/store.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { QflError } from '../../../shared/errors.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { StatsAnswer } from '../../../shared/wire/stats.ts';
import { seededRandom } from '../../fixtures/drbg.ts';

/** A ledger that says in which order it was used; the real one has tests of its own. */
const recorder = (result?: () => Promise<ReserveResult>, commitFails = false) => {
  const events: string[] = [];
  const facts = {
    spendUnits: 5n,
    costs: { site_lifetime: 5n, asking_site_day: 5n, department_day: 5n, user_day: 5n },
    recordHash: new Uint8Array(32),
    recordCounter: 1,
  };
  const reserve = (_request: ChargeRequest): Promise<ReserveResult> => {
    events.push('reserve');
    if (result !== undefined) return result();
    return Promise.resolve({
      status: 'reserved',
      ...facts,
      startComputing: () => void events.push('start'),
      commit: (sealedAnswer) => {
        events.push('commit');
        if (commitFails) return Promise.reject(new QflError('ledger_refuses'));
        return Promise.resolve({ status: 'answered', sealedAnswer, ...facts });
      },
      refund: () => Promise.resolve(),
      abandon: () => {
        events.push('abandon');
        return Promise.resolve();
      },
    });
  };
  const ledger: Pick<Ledger, 'reserve' | 'limits' | 'readings'> = {
    reserve,
    limits: () => DEFAULT_LIMITS,
    readings: () => [],
  };
  return { events, ledger: ledger as Ledger };
};

const question = (microEpsilon = 100_000) => ({
  sender: SiteId.parse('north'),
  queryId: QueryId.parse('1'.repeat(32)),
  envelopeHash: '2'.repeat(64),
  asker: Pseudonym.parse('3'.repeat(32)),
  department: DepartmentId.parse('icu'),
  query: {
    kind: 'measures',
    cohort: { resource: 'Patient', where: [] },
    measures: [{ measure: 'count' }],
    microEpsilon,
  },
});

const build = (ledger: Ledger, events: string[]) => {
  const records = createRecords({ store: createMemoryStore(), blindingKey: randomBytes(32) });
  const watched = {
    ...records,
    store: {
      ...records.store,
      list: (options: Parameters<typeof records.store.list>[0]) => (
        events.push('read'),
        records.store.list(options)
      ),
      keys: (options: Parameters<typeof records.store.keys>[0]) => (
        events.push('read'),
        records.store.keys(options)
      ),
    },
  };
  const meters = {
    charged: () => void events.push('metered'),
    refusedByBudget: () => void events.push('refused'),
  };
  const planned = (): never => {
    throw new QflError('not_found');
  };
  return createContribute({
    ledger,
    random: seededRandom(1),
    meters,
    planners: { measures: createMeasuresPlanner(watched), concepts: planned, tally: planned },
  });
};

describe('a contribution', () => {
  test('is charged before a record is read, and kept before it is released', async () => {
    const { events, ledger } = recorder();
    const { sealed } = await build(ledger, events)(question(), (answer) => {
      events.push('seal');
      return utf8(JSON.stringify(answer));
    });
    const order = ['reserve', 'metered', 'start', 'read', 'seal', 'commit'].map((event) =>
      events.indexOf(event),
    );
    expect(order).toEqual([...order].toSorted((left, right) => left - right));
    expect(order.every((at) => at >= 0)).toBe(true);
    expect(StatsAnswer.parse(JSON.parse(fromUtf8(sealed)))).toMatchObject({
      releases: [
        {
          cells: ['count'],
          mechanism: { kind: 'discrete_laplace', sensitivity: '1', scale: ['10', '1'] },
        },
      ],
    });
  });

  test('carries noise: the same empty cohort gives different numbers', async () => {
    const values = new Set<string>();
    const { events, ledger } = recorder();
    const contribute = build(ledger, events);
    for (let run = 0; run < 20; run += 1) {
      const { sealed } = await contribute(question(), (answer) => utf8(JSON.stringify(answer)));
      values.add(String(StatsAnswer.parse(JSON.parse(fromUtf8(sealed))).releases[0]?.values));
    }
    expect(values.size).toBeGreaterThan(3);
  });

  test('a repeat gets the bytes of the first run and is not computed', async () => {
    const sealedAnswer = utf8('the very same');
    const { events, ledger } = recorder(() =>
      Promise.resolve({
        status: 'answered',
        sealedAnswer,
        spendUnits: 5n,
        costs: { site_lifetime: 5n, asking_site_day: 5n, department_day: 5n, user_day: 5n },
        recordHash: new Uint8Array(32),
        recordCounter: 1,
      }),
    );
    const { sealed } = await build(ledger, events)(question(), () => {
      throw new Error('sealed twice');
    });
    expect(sealed).toBe(sealedAnswer);
    expect(events).toEqual(['reserve']);
  });

  test('over budget nothing is read', async () => {
    const { events, ledger } = recorder(() => Promise.reject(new QflError('budget_exceeded')));
    await expect(build(ledger, events)(question(), () => utf8(''))).rejects.toMatchObject({
      code: 'budget_exceeded',
    });
    expect(events).toEqual(['reserve', 'refused']);
  });

  test('an epsilon above the policy is refused before anything is charged', async () => {
    const { events, ledger } = recorder();
    await expect(build(ledger, events)(question(1_000_001), () => utf8(''))).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(events).toEqual([]);
  });

  test('a failure after the charge keeps the charge', async () => {
    const { events, ledger } = recorder();
    await expect(
      build(ledger, events)(question(), () => {
        throw new Error('cannot seal');
      }),
    ).rejects.toThrowError('cannot seal');
    expect(events.at(-1)).toBe('abandon');
    expect(events).not.toContain('commit');
  });

  test('an answer that could not be kept does not leave, and its reservation is not ended twice', async () => {
    const { events, ledger } = recorder(undefined, true);
    await expect(
      build(ledger, events)(question(), (answer) => utf8(JSON.stringify(answer))),
    ).rejects.toMatchObject({ code: 'ledger_refuses' });
    expect(events.at(-1)).toBe('commit');
  });

  test.each([
    {},
    { kind: 'sum' },
    { kind: 'measures', cohort: 'Patient?code=', measures: [{ measure: 'count' }], microEpsilon: 1 },
    {
      kind: 'measures',
      cohort: { resource: 'Secrets', where: [] },
      measures: [{ measure: 'count' }],
      microEpsilon: 1,
    },
    { kind: 'measures', cohort: 'Patient', measures: [], microEpsilon: 1 },
    {
      kind: 'measures',
      cohort: 'Patient',
      measures: [
        {
          measure: 'table',
          by: [
            {
              variable: 'age',
              at: '2025-01-01',
              edges: Array.from({ length: 10_002 }, (_, at) => String(at)),
            },
          ],
        },
      ],
      microEpsilon: 1,
    },
    null,
  ])('%j is not a statistic', async (query) => {
    const { events, ledger } = recorder();
    await expect(build(ledger, events)({ ...question(), query }, () => utf8(''))).rejects.toMatchObject({
      code: 'invalid_request',
    });
    expect(events).toEqual([]);
  });
});
