import { describe, expect, test } from 'vitest';
import { CONCEPTS, requireSameList } from '../../../agent/concepts/list.ts';
import { createTermFinder } from '../../../agent/concepts/match.ts';
import { parseQuestion } from '../../../agent/concepts/parse.ts';
import { keysOf } from '../../../agent/concepts/words.ts';

const find = createTermFinder(CONCEPTS);
const parse = (question: string, k = 4) => parseQuestion(question, { find, asOf: '2025-06-30', k });
const read = (question: string) => {
  const parsed = parse(question);
  return parsed.kind === 'terms' ? `${parsed.form}: ${parsed.what} / ${parsed.who}` : 'free';
};

describe('the list', () => {
  test('no name stands for two terms', () => {
    const names = new Map<string, Set<string>>();
    for (const { id, name, synonyms } of CONCEPTS.concepts)
      for (const text of [name, ...synonyms]) {
        const key = keysOf(text).join(' ');
        names.set(key, (names.get(key) ?? new Set()).add(id));
      }
    for (const umbrella of CONCEPTS.umbrellas)
      for (const text of umbrella.names) {
        const key = keysOf(text).join(' ');
        names.set(key, (names.get(key) ?? new Set()).add(umbrella.names[0]!));
      }
    expect([...names].filter(([, ids]) => ids.size > 1).map(([key]) => key)).toEqual([]);
  });

  test('every term is found by each of its names', () => {
    const lost = CONCEPTS.concepts.flatMap(({ id, name, synonyms }) =>
      [name, ...synonyms].filter((text) => {
        const parsed = parse(`how common is ${text} in women`);
        return !(parsed.kind === 'terms' && parsed.cells.count === 'share' && parsed.cells.of[0]?.[0] === id);
      }),
    );
    expect(lost).toEqual([]);
  });

  test('another version or hash is refused by name', () => {
    const { version, hash } = CONCEPTS.name;
    expect(() => requireSameList(CONCEPTS, { version, hash })).not.toThrow();
    expect(() => requireSameList(CONCEPTS, { version, hash: '0'.repeat(64) })).toThrow(/version/);
    expect(() => requireSameList(CONCEPTS, { version: '1999.1', hash })).toThrow(/1999\.1/);
  });
});

describe('a question over terms', () => {
  test.each([
    ['which medications do patients with diabetes take?', 'list: medications / patients with diabetes'],
    ['Which drugs do women over 60 with COPD take?', 'list: medications / women aged 60 or over with COPD'],
    ['List the most common comorbidities of heart failure', 'list: conditions / patients with heart failure'],
    [
      'What conditions do elderly men with stroke have?',
      'list: conditions / men aged 65 or over with stroke',
    ],
    [
      'how common is hypertension among women over 60 with heart failure?',
      'share: hypertension / women aged 60 or over with heart failure',
    ],
    ['What percentage of diabetics take metformin?', 'share: metformin / patients with diabetes'],
    ['prevalence of atrial fibrillation in men 65+', 'share: atrial fibrillation / men aged 65 or over'],
    ['Do patients with COPD usually have hypertension?', 'usual: hypertension / patients with COPD'],
    ['Are patients with heart failure usually on Lasix?', 'usual: furosemide / patients with heart failure'],
    [
      'Is hypertension common in patients with chronic kidney disease?',
      'usual: hypertension / patients with chronic kidney disease',
    ],
    ['How many patients have asthma?', 'count: asthma / patients'],
    ['how many women aged 40-60 take statins', 'count: statin / women aged 40 to 60'],
    [
      'How many patients who have diabetes take metformin or insulin?',
      'count: metformin or insulin / patients with diabetes',
    ],
    ['How many patients have diabetes and hypertension?', 'count: diabetes and hypertension / patients'],
    [
      'How common is diabetes in patients without hypertension?',
      'share: diabetes / patients without hypertension',
    ],
    ["How common is Parkinson's disease?", "share: Parkinson's disease / patients"],
    ['How many men and women have gout?', 'count: gout / patients'],
  ])('%s', (question, expected) => {
    expect(read(question)).toBe(expected);
  });

  test('"or" means any of them, "and" all; a word for several means any', () => {
    expect(parse('How many patients with asthma or COPD have gout?')).toMatchObject({
      cohort: { all: [['asthma', 'copd']] },
    });
    expect(parse('How many patients with asthma and COPD have gout?')).toMatchObject({
      cohort: { all: [['asthma'], ['copd']] },
    });
    expect(parse('How many patients take statins?')).toMatchObject({
      cells: { of: [['simvastatin', 'atorvastatin', 'rosuvastatin']] },
    });
  });

  test.each([
    ['over 60', null, '1965-07-01'],
    ['aged 60 and over', null, '1965-07-01'],
    ['60+', null, '1965-07-01'],
    ['older than 60 years', null, '1965-07-01'],
    ['over the age of 60', null, '1965-07-01'],
    ['under 18', '2007-07-01', null],
    ['between 40 and 60', '1964-07-01', '1985-07-01'],
    ['aged 40 to 60', '1964-07-01', '1985-07-01'],
  ])('ages are days of birth: women %s', (age, bornFrom, bornBefore) => {
    const parsed = parse(`how common is asthma in women ${age}?`);
    expect(parsed).toMatchObject({ kind: 'terms', cohort: { sex: 'female', bornFrom, bornBefore } });
  });

  test.each([
    ['which drugs do smokers take?', ['smokers']],
    ['how common is diabetes in patients admitted since 2020', ['admitted', 'since', '2020']],
    ['Does metformin cause lactic acidosis in patients with diabetes?', ['cause', 'lactic', 'acidosis']],
    ['how common is uncontrolled hypertension?', ['uncontrolled']],
    ['Do patients with asthma not take salbutamol?', []],
    ['metformin', []],
  ])('a word without a meaning is never left out: %s', (question, unknown) => {
    expect(parse(question)).toMatchObject({ kind: 'free', unknown });
  });
});
