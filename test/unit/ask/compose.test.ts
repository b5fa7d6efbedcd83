import { describe, expect, test } from 'vitest';
import { composeAnswer, mergeAnswers, shareOf } from '../../../agent/answer/ask-records/compose.ts';
import { askedOfText, chooseQuestion } from '../../../agent/answer/ask-records/question.ts';
import { releaseOf } from '../../../agent/answer/ask-records/release.ts';
import { CONCEPTS } from '../../../agent/concepts/list.ts';
import { createTermFinder } from '../../../agent/concepts/match.ts';
import { parseQuestion } from '../../../agent/concepts/parse.ts';
import { QueryId, SiteId } from '../../../shared/ids.ts';
import { mechanismToText } from '../../../shared/privacy/mechanism.ts';
import type { AskMethod } from '../../../shared/wire/ask.ts';
import type { StatsAnswer, StatsResult } from '../../../shared/wire/stats.ts';

const find = createTermFinder(CONCEPTS);
const K = 4;
const choose = (question: string, method: AskMethod = 'auto', modelsThere = false) =>
  chooseQuestion(
    parseQuestion(question, { find, asOf: '2025-06-30', k: K }),
    { question, method, k: undefined, micro: 100_000, list: CONCEPTS },
    modelsThere,
  );
const LIST = choose('Which medications do patients with diabetes take?');
const SHARE = choose('How common is hypertension among women over 60?');

const answerOf = (asked: typeof LIST, values: Readonly<Record<string, number>>): StatsAnswer => {
  const { cells, mechanism } = releaseOf(CONCEPTS, asked.query);
  return {
    releases: [
      {
        cells: [...cells],
        values: cells.map((cell) => String(values[cell] ?? 0)),
        mechanism: mechanismToText(mechanism),
      },
    ],
    microEpsilon: 100_000,
    chargedUnits: '1',
    ledgers: [],
  };
};
const resultOf = (asked: typeof LIST, answers: Readonly<Record<string, StatsAnswer>>): StatsResult => ({
  queryId: QueryId.parse('ab'.repeat(16)),
  kind: asked.query.kind,
  asked: JSON.stringify(asked),
  complete: true,
  measures: [],
  epsilonPerSite: 0.1,
  sites: Object.entries(answers).map(([site, answer]) => ({
    status: 'answered',
    site: SiteId.parse(site),
    answer,
    measures: [],
  })),
});
const compose = (asked: typeof LIST, answers: Readonly<Record<string, StatsAnswer>>) =>
  composeAnswer(asked, resultOf(asked, answers), 0.95, CONCEPTS);

describe('an answer in words', () => {
  test('adds the sites, lists what is above the cut in order, and leaves the rest out', () => {
    const answer = compose(LIST, {
      east: answerOf(LIST, { metformin: 400, insulin: 150, aspirin: 30 }),
      west: answerOf(LIST, { metformin: 200, insulin: 60, aspirin: 25 }),
    });
    expect(answer.items.map(({ id, count }) => [id, count])).toEqual([
      ['metformin', '600'],
      ['insulin', '210'],
    ]);
    expect(answer.answer).toMatch(
      /^Medications on record of patients with diabetes: metformin: at least about 600 patients \(\d+ to \d+\); insulin/,
    );
    expect(answer.answer).not.toContain('aspirin');
    // σ 20 at each of two sites: 1.96·√2·20 is 55 to the next integer.
    expect(answer.items[0]?.interval).toEqual({ low: '545', high: '655' });
    expect(answer.explanation).toContain('ε 0.1 (ρ 0.005)');
    expect(answer.explanation).toContain('σ 20');
    expect(answer.explanation).toContain(`about ${answer.visibility.reliableFrom} patients to be visible`);
    expect(answer.explanation).toContain('not thereby absent');
  });

  test('says so when nothing is visible', () => {
    const { answer, items } = compose(LIST, { east: answerOf(LIST, { metformin: 20 }) });
    expect(items).toEqual([]);
    expect(answer).toContain('none is visible through the noise');
  });

  test('gives a share with its bounds, or says that there are too few patients', () => {
    const told = compose(SHARE, { east: answerOf(SHARE, { with: 300, without: 700 }) });
    expect(told.share).toMatchObject({ percent: 30 });
    expect(told.share?.low).toBeGreaterThan(27);
    expect(told.share?.high).toBeLessThan(33);
    expect(told.answer).toContain('Of women aged 60 or over, 30 %');
    const few = compose(SHARE, { east: answerOf(SHARE, { with: 5, without: 10 }) });
    expect(few.share).toBeNull();
    expect(few.answer).toContain('too few women aged 60 or over');
  });

  test('"usually" is yes or no only where the noise allows it', () => {
    const asked = choose('Do patients with COPD usually have hypertension?');
    const say = (values: Record<string, number>) => compose(asked, { east: answerOf(asked, values) }).answer;
    expect(say({ with: 800, without: 200 })).toMatch(/^Yes, most do/);
    expect(say({ with: 200, without: 800 })).toMatch(/^No, most do not/);
    expect(say({ with: 500, without: 505 })).toMatch(/^The noise leaves it open/);
  });

  test('takes no answer over other cells or with other noise: its site counts as one that refused', () => {
    const good = answerOf(LIST, { metformin: 400 });
    const [release] = good.releases;
    const otherCells = { ...good, releases: [{ ...release!, cells: release!.cells.toReversed() }] };
    const otherNoise = {
      ...good,
      releases: [{ ...release!, mechanism: { ...release!.mechanism, sigmaSquared: ['1', '1'] } }],
    } as StatsAnswer;
    for (const bad of [otherCells, otherNoise, { ...good, releases: [release!, release!] }]) {
      const answer = compose(LIST, { east: good, west: bad });
      expect(answer.complete).toBe(false);
      expect(answer.items[0]?.count).toBe('400');
      expect(answer.sites).toContainEqual(expect.objectContaining({ site: 'west', code: 'protocol' }));
      expect(() => compose(LIST, { west: bad })).toThrow(/no site gave an answer/);
    }
  });

  test('bounds of a share hold together whatever the noisy counts', () => {
    const release = releaseOf(CONCEPTS, SHARE.query);
    for (const values of [
      [0, 0],
      [-40, 200],
      [200, -40],
      [1_000, 1],
      [90, 90],
      [91, 97],
      [157, 331],
    ] as const) {
      const merged = mergeAnswers([answerOf(SHARE, { with: values[0], without: values[1] })], release);
      const share = shareOf(merged, 0.95);
      if (share === null) continue;
      expect(share.low).toBeGreaterThanOrEqual(0);
      expect(share.low).toBeLessThanOrEqual(share.percent);
      expect(share.high).toBeGreaterThanOrEqual(share.percent);
      // Told in tenths; nothing that arithmetic made up.
      for (const told of [share.low, share.percent, share.high])
        expect(String(told)).toMatch(/^\d{1,3}(\.\d)?$/);
      expect(share.high).toBeLessThanOrEqual(100);
    }
  });
});

describe('the choice of a method', () => {
  test('terms go to C; free questions go to A where there is a model, and are refused with the words otherwise', () => {
    expect(LIST.query.kind).toBe('concepts');
    expect(choose('Which drugs do smokers take?', 'auto', true).query).toMatchObject({
      kind: 'tally',
      answers: { form: 'terms', group: 'medications', k: 1 },
    });
    expect(choose('Does metformin upset the stomach?', 'auto', true).query).toMatchObject({
      answers: { form: 'yes_no' },
    });
    expect(() => choose('Which drugs do smokers take?', 'auto', false)).toThrow(/smokers/);
    expect(() => choose('Which drugs do smokers take?', 'concepts', true)).toThrow(/smokers/);
    expect(() => choose('What is it about stomachs?', 'auto', true)).toThrow(/yes or no/);
    expect(() => choose('How common is asthma?', 'shards', false)).toThrow(/no site with records runs/);
  });

  test('what was asked comes back from what was kept', () => {
    expect(askedOfText(JSON.stringify(LIST))).toEqual(LIST);
    expect(() => askedOfText('Patient')).toThrow(/not asked with/);
    expect(() => askedOfText('{}')).toThrow(/not asked with/);
  });
});
