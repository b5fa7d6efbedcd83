/** Faults in what a patient can move, which the checks of test/unit/ask must see. */
import { expect, test } from 'vitest';
import { termsOf } from '../../agent/retrieval/text.ts';
import { openPatientReader } from '../../agent/concepts/patient-text.ts';
import { personsWithConcepts } from '../../agent/concepts/persons.ts';
import { ConceptCells, ConceptCohort } from '../../shared/wire/stats/ask.ts';
import { tallyShards } from '../../agent/answer/ask-records/ask-shards.ts';
import {
  changedShards,
  conceptsMove,
  squaredLength,
  CELLS,
  promptTextOf,
  sampleTask,
} from '../unit/ask/checks.ts';
import { hospitalOf, type RandomPatient } from '../unit/ask/hospital.ts';
import type { Records } from '../../agent/records/store.ts';
import { importResources, memoryRecords, patient } from '../fixtures/fhir.ts';

const EVERYONE = ConceptCohort.parse({ all: [], none: [], sex: null, bornFrom: null, bornBefore: null });
const TWO_TERMS = ConceptCells.parse({ count: 'terms', group: 'conditions', k: 2 });
const plain: RandomPatient = { sex: 'female', birthYear: 1950, codes: [], linked: undefined, refuses: false };

const neighbours = async (people: readonly RandomPatient[]): Promise<[Records, Records]> => [
  await hospitalOf(people),
  await hospitalOf(people, 0),
];

test('terms of a patient that are not cut to k', async () => {
  const pair = await neighbours([{ ...plain, codes: ['59621000', '44054006', '55822004', '195967001'] }]);
  const right = await conceptsMove(pair, EVERYONE, TWO_TERMS);
  expect(right.moved).toBeLessThanOrEqual(right.k);
  const wrong = await conceptsMove(pair, EVERYONE, TWO_TERMS, { cut: (_, cells) => cells });
  expect(wrong.moved).toBeGreaterThan(wrong.k);
});

test('two records of one person counted as two', async () => {
  const linked: RandomPatient = {
    ...plain,
    codes: ['59621000', '44054006'],
    linked: ['59621000', '44054006'],
  };
  const pair = await neighbours([linked]);
  const right = await conceptsMove(pair, EVERYONE, TWO_TERMS);
  expect(right.moved).toBeLessThanOrEqual(right.k);
  const apart = { persons: async () => ({ personOf: () => undefined }) };
  const wrong = await conceptsMove(pair, EVERYONE, TWO_TERMS, apart);
  expect(wrong.moved).toBeGreaterThan(wrong.k);
});

test('an opt-out that is not looked at', async () => {
  const records = await hospitalOf([{ ...plain, codes: ['59621000'], refuses: true }]);
  const empty = memoryRecords();
  expect((await conceptsMove([records, empty], EVERYONE, TWO_TERMS)).moved).toBe(0n);
  const blind = { optedOut: async () => new Set<string>() };
  expect((await conceptsMove([records, empty], EVERYONE, TWO_TERMS, blind)).moved).toBeGreaterThan(0n);
});

const noteOf = (id: string, text: string) => ({
  resourceType: 'DocumentReference',
  id: `${id}-note`,
  status: 'current',
  subject: { reference: `Patient/${id}` },
  content: [{ attachment: { contentType: 'text/plain', data: Buffer.from(text).toString('base64') } }],
});

test('weights of words taken from the records: one patient decides about another', async () => {
  const hospital = async (people: readonly (readonly [string, string])[]): Promise<Records> => {
    const records = memoryRecords();
    await importResources(
      records,
      people.flatMap(([id, text]) => [patient(id), noteOf(id, text)]),
    );
    return records;
  };
  const others = Array.from({ length: 12 }, (_, at) => [`p${at}`, 'zebrafish'] as const);
  const pair = [await hospital([...others, ['last', 'gadolinium']]), await hospital(others)] as const;
  const question = 'zebrafish gadolinium gadolinium-like';
  expect(await changedShards(pair, question)).toBeLessThanOrEqual(1);
  // An idf over all patients' notes: the rare word weighs what its rarity says.
  const globalIdf = async (records: Records) => {
    const counts = new Map<string, number>();
    let all = 0;
    const reader = await openPatientReader(records);
    for await (const { patients } of personsWithConcepts(records, [])) {
      all += 1;
      const terms = new Set((await reader.lines(patients)).flatMap((line) => termsOf(line)));
      for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
    }
    await reader.close();
    const weight = (term: string): number => Math.log(1 + all / (1 + (counts.get(term) ?? 0)));
    return new Map(
      [...new Set(termsOf(question))].filter((term) => counts.has(term)).map((term) => [term, weight(term)]),
    );
  };
  expect(await changedShards(pair, question, { weights: globalIdf })).toBeGreaterThan(1);
});

test('a shard that may name more than k', async () => {
  const model = async ({ user }: { user: string }) =>
    JSON.stringify(user === promptTextOf('one') ? CELLS.slice(0, 4) : CELLS.slice(2));
  const count = (text: string, entries?: () => readonly number[]) =>
    tallyShards(
      model,
      [text],
      CELLS,
      sampleTask,
      { timeoutMs: 1_000, lanes: 1 },
      entries === undefined ? {} : { entries },
    );
  const bound = BigInt(2 * sampleTask.k);
  expect(squaredLength(await count('one'), await count('other'))).toBeLessThanOrEqual(bound);
  const uncut = async (text: string, named: readonly number[]) => count(text, () => named);
  expect(squaredLength(await uncut('one', [0, 1, 2]), await uncut('other', [3, 4, 5]))).toBeGreaterThan(
    bound,
  );
});

test('a late shard that is waited for', async () => {
  const late = () => new Promise<string>((resolve) => setTimeout(() => resolve('["beta"]'), 60));
  const model = ({ user }: { user: string }) =>
    user === promptTextOf('late') ? late() : Promise.resolve('["alpha"]');
  const timing = { timeoutMs: 10, lanes: 1 };
  const texts = ['a', 'late', 'b'];
  expect(await tallyShards(model, texts, CELLS, sampleTask, timing)).toEqual([2n, 0n, 0n, 0n, 0n, 0n]);
  const waiting = {
    timer: (work: (signal: AbortSignal) => Promise<string>) => work(AbortSignal.timeout(1_000)),
  };
  const waited = await tallyShards(model, texts, CELLS, sampleTask, timing, waiting);
  expect(waited).not.toEqual([2n, 0n, 0n, 0n, 0n, 0n]);
});
