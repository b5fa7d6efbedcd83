import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { entriesOf, tallyShards } from '../../../agent/answer/ask-records/ask-shards.ts';
import { shardOf, snippetOf } from '../../../agent/answer/ask-records/shards.ts';
import { createWeights } from '../../../agent/concepts/relevance.ts';
import { termsOf } from '../../../agent/retrieval/text.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import {
  adversarialModel,
  CELLS,
  changedShards,
  promptTextOf,
  SECRET,
  sampleTask,
  squaredLength,
  tallyOf,
} from './checks.ts';
import { hospitalOf, randomPatient } from './hospital.ts';

const QUESTION = 'Does a note of 59621000 mean trouble?';

describe('the tally of a question over shards', () => {
  test('moves by at most √(2k) when a person comes or goes, whatever the model answers', async () => {
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(randomPatient, { minLength: 1, maxLength: 5 }),
        fc.nat(),
        fc.integer({ min: 1, max: 4 }),
        async (people, pick, k) => {
          const gone = pick % people.length;
          const [all, fewer] = await Promise.all([hospitalOf(people), hospitalOf(people, gone)]);
          // Everybody passes: the worst case for what a prompt may hold.
          const rules = { weights: async () => new Map([[termsOf('note')[0]!, 1]]) };
          const left = await tallyOf(all, QUESTION, k, rules);
          const right = await tallyOf(fewer, QUESTION, k, rules);
          expect(squaredLength(left, right)).toBeLessThanOrEqual(BigInt(2 * k));
          if (squaredLength(left, right) > 0n) moved += 1;
          expect(await changedShards([all, fewer], QUESTION)).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 40 },
    );
    // Else nothing was tested.
    expect(moved).toBeGreaterThan(5);
  }, 20_000);

  test('of any texts: one text changed, at most 2k entries move by one', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string(), { minLength: 1, maxLength: 8 }),
        fc.string(),
        fc.nat(),
        fc.integer({ min: 1, max: 5 }),
        async (texts, other, pick, k) => {
          const changed = texts.map((text, at) => (at === pick % texts.length ? other : text));
          const count = (of: readonly string[]) =>
            tallyShards(adversarialModel, of, CELLS, { ...sampleTask, k }, { timeoutMs: 1_000, lanes: 3 });
          expect(squaredLength(await count(texts), await count(changed))).toBeLessThanOrEqual(BigInt(2 * k));
        },
      ),
    );
  });
});

describe('an answer of a shard', () => {
  test.each([
    ['["alpha","beta"]', 2, [0, 1]],
    ['["alpha","alpha","beta"]', 2, [0, 1]],
    ['["alpha","beta","gamma"]', 2, [0, 1]],
    ['["nothing listed","beta"]', 2, [1]],
    ['```json\n["zeta"]\n```', 1, [5]],
    ['[]', 2, []],
    ['', 2, []],
    ['Of course! ["alpha"]', 2, []],
    ['["alpha"] is my answer', 2, []],
    ['{"answer":["alpha"]}', 2, []],
    ['"alpha"', 2, []],
    ['[1,2]', 2, []],
    ['alpha', 2, []],
  ] as const)('%s', (answer, k, expected) => {
    expect(entriesOf(answer, CELLS, k)).toEqual(expected);
  });

  test('that is late is empty, and the others are counted as if it had not been asked', async () => {
    const stopped: string[] = [];
    const model = ({ user }: { user: string }, signal: AbortSignal) =>
      user === promptTextOf('slow')
        ? new Promise<string>((_, reject) =>
            signal.addEventListener('abort', () => {
              stopped.push('slow');
              reject(new Error('stopped'));
            }),
          )
        : Promise.resolve('["alpha"]');
    const timing = { timeoutMs: 20, lanes: 2 };
    const counts = await tallyShards(model, ['a', 'slow', 'b', ''], CELLS, sampleTask, timing);
    expect(counts).toEqual([2n, 0n, 0n, 0n, 0n, 0n]);
    expect(stopped).toEqual(['slow']);
  });
});

describe('shards', () => {
  test('are fixed by the person and the secret of the site, and all are used', () => {
    const names = Array.from({ length: 4_000 }, (_, at) => `person ${at}`);
    const sizes = Array.from({ length: 16 }, () => 0);
    for (const name of names) sizes[shardOf(name, 16, SECRET)]! += 1;
    // 250 each on average; five standard deviations are 77.
    expect(Math.min(...sizes)).toBeGreaterThan(173);
    expect(Math.max(...sizes)).toBeLessThan(327);
    expect(names.map((name) => shardOf(name, 16, SECRET))).toEqual(
      names.map((name) => shardOf(name, 16, SECRET)),
    );
    const other = new Uint8Array(32).fill(4);
    expect(names.some((name) => shardOf(name, 16, other) !== shardOf(name, 16, SECRET))).toBe(true);
  });

  test('take a patient by what their own lines share with the question', () => {
    const weights = createWeights(CONCEPTS)('Does metformin upset the stomach?');
    expect(snippetOf(['Metformin started', 'Stomach pain'], weights)).toBe('Metformin started; Stomach pain');
    expect(snippetOf(['Known: asthma'], weights)).toBeUndefined();
    expect(snippetOf([], weights)).toBeUndefined();
  });
});
