import { describe, expect, test } from 'vitest';
import { createConceptsPlanner } from '../../../agent/answer/ask-records/plan-concepts.ts';
import { createTallyPlanner, type RecordsModel } from '../../../agent/answer/ask-records/plan-tally.ts';
import { SHARDS } from '../../../agent/answer/ask-records/question.ts';
import { Block } from '../../../agent/budget/blocks.ts';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { CONCEPTS, createConceptList } from '../../../agent/concepts/list.ts';
import { ConceptsQuery, TallyQuery } from '../../../shared/wire/stats/ask.ts';
import { patient, importResources, memoryRecords } from '../../fixtures/fhir.ts';
import { SECRET } from './checks.ts';

const facts = { limits: DEFAULT_LIMITS };
const concepts = (more: object = {}) =>
  ConceptsQuery.parse({
    kind: 'concepts',
    list: CONCEPTS.name,
    cohort: { all: [], none: [], sex: null, bornFrom: null, bornBefore: null },
    cells: { count: 'terms', group: 'medications', k: 4 },
    microEpsilon: 100_000,
    ...more,
  });
const tally = (more: object = {}) =>
  TallyQuery.parse({
    kind: 'tally',
    list: CONCEPTS.name,
    question: 'Does metformin upset the stomach?',
    answers: { form: 'yes_no' },
    shards: SHARDS,
    microEpsilon: 100_000,
    ...more,
  });
const otherList = createConceptList('2031.2', {
  conditions: [],
  medications: [],
  procedures: [],
  observations: [],
  umbrellas: [],
});

describe('the planner of concepts', () => {
  const plan = createConceptsPlanner(memoryRecords(), CONCEPTS);

  test('has one cell per term of the list, there or not, under one noise for k terms', async () => {
    const { releases } = await plan(concepts(), facts);
    expect(releases).toHaveLength(1);
    expect(releases[0]?.cells).toEqual(CONCEPTS.ofGroup('medications').map(({ id }) => id));
    expect(releases[0]?.mechanism).toMatchObject({
      kind: 'discrete_gaussian',
      sensitivitySquared: { numerator: 4n, denominator: 1n },
      sigmaSquared: { numerator: 400n, denominator: 1n },
    });
  });

  test('refuses another list and terms that are not in it, before anything is read', async () => {
    await expect(plan(concepts({ list: otherList.name }), facts)).rejects.toThrow(/2031\.2/);
    const cohort = { all: [['no-such-term']], none: [], sex: null, bornFrom: null, bornBefore: null };
    await expect(plan(concepts({ cohort }), facts)).rejects.toThrow(/not in the list/);
  });
});

describe('the planner of shards', () => {
  const asked: string[] = [];
  const model: RecordsModel = {
    slots: 4,
    complete: ({ user }) => {
      asked.push(user);
      return Promise.resolve('["yes"]');
    },
  };
  const planner = (of: RecordsModel | undefined) =>
    createTallyPlanner({
      records: memoryRecords(),
      list: CONCEPTS,
      secret: SECRET,
      model: () => Promise.resolve(of),
    });

  test('prices a changed shard: sensitivity √(2k)', async () => {
    const yesNo = await planner(model)(tally(), facts);
    expect(yesNo.releases[0]).toMatchObject({
      cells: ['yes', 'no'],
      mechanism: {
        sensitivitySquared: { numerator: 2n },
        sigmaSquared: { numerator: 200n, denominator: 1n },
      },
    });
    const terms = await planner(model)(
      tally({ answers: { form: 'terms', group: 'procedures', k: 3 } }),
      facts,
    );
    expect(terms.releases[0]).toMatchObject({ mechanism: { sensitivitySquared: { numerator: 6n } } });
  });

  test('asks only shards with something to say, and counts each once', async () => {
    const records = memoryRecords();
    const note = (id: string, text: string) => ({
      resourceType: 'DocumentReference',
      id: `${id}-note`,
      status: 'current',
      subject: { reference: `Patient/${id}` },
      content: [{ attachment: { contentType: 'text/plain', data: Buffer.from(text).toString('base64') } }],
    });
    await importResources(records, [
      patient('a'),
      note('a', 'Metformin upset the stomach'),
      patient('b'),
      note('b', 'nothing of note'),
    ]);
    asked.length = 0;
    const plan = createTallyPlanner({
      records,
      list: CONCEPTS,
      secret: SECRET,
      model: () => Promise.resolve(model),
    });
    const planned = await plan(tally(), facts);
    expect(await planned.evaluate()).toEqual([[1n, 0n]]);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toContain('Metformin upset the stomach');
    expect(asked[0]).not.toContain('nothing of note');
  });

  test('refuses before a charge: another list, other shards, one patient, no model inside the site', async () => {
    await expect(planner(model)(tally({ list: otherList.name }), facts)).rejects.toThrow(/2031\.2/);
    await expect(planner(model)(tally({ shards: 64 }), facts)).rejects.toThrow(/128 shards/);
    await expect(planner(model)(tally({ question: 'Is Kowalska diabetic?' }), facts)).rejects.toThrow(
      /one patient/,
    );
    await expect(planner(undefined)(tally(), facts)).rejects.toThrow(/may read its records/);
  });

  test('and that of concepts read the patients of their data blocks and no others', async () => {
    const records = memoryRecords();
    const person = (id: string, month: string) => [
      patient(id),
      {
        resourceType: 'Encounter',
        id: `${id}-e`,
        status: 'finished',
        subject: { reference: `Patient/${id}` },
        period: { start: `${month}-01` },
      },
      {
        resourceType: 'DocumentReference',
        id: `${id}-note`,
        status: 'current',
        subject: { reference: `Patient/${id}` },
        content: [
          {
            attachment: {
              contentType: 'text/plain',
              data: Buffer.from(`Metformin upset the stomach of ${id}`).toString('base64'),
            },
          },
        ],
      },
    ];
    await importResources(records, [...person('a', '2026-01'), ...person('b', '2026-02'), patient('none')]);
    const blocks = [Block.parse('2026-02')];
    const options = { records, list: CONCEPTS, secret: SECRET, model: () => Promise.resolve(model) };
    asked.length = 0;
    const shards = await createTallyPlanner(options)(tally(), { ...facts, blocks });
    expect(shards.blocks).toEqual(blocks);
    expect(await shards.evaluate()).toEqual([[1n, 0n]]);
    expect(asked.join()).toContain('of b');
    expect(asked.join()).not.toContain('of a');
    const share = concepts({ cells: { count: 'share', of: [[CONCEPTS.ofGroup('conditions')[0]!.id]] } });
    const counted = await createConceptsPlanner(records, CONCEPTS)(share, { ...facts, blocks });
    expect(counted.blocks).toEqual(blocks);
    expect(await counted.evaluate()).toEqual([[0n, 1n]]);
  });

  test('that is stopped releases nothing', async () => {
    const empty = await planner(model)(tally(), facts);
    const stop = new AbortController();
    stop.abort();
    const records = memoryRecords();
    await importResources(records, [patient('a')]);
    const busy = createTallyPlanner({
      records,
      list: CONCEPTS,
      secret: SECRET,
      model: () => Promise.resolve(model),
    });
    await expect((await busy(tally(), facts)).evaluate(stop.signal)).rejects.toThrow();
    expect(await empty.evaluate()).toEqual([[0n, 0n]]);
  });
});
