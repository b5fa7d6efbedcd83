import { describe, expect, it } from 'vitest';
import { createBm25Index } from '../../../agent/retrieval/bm25.ts';
import { splitText } from '../../../agent/retrieval/sentences.ts';
import { termsOf } from '../../../agent/retrieval/text.ts';

describe('terms', () => {
  it.each([
    ['Measured, measuring and MEASURES', ['measur', 'measur', 'measur']],
    ['stopped stops', ['stop', 'stop']],
    ['biopsies antibiotics', ['biopsy', 'antibiotic']],
    ['mmol/L 2.0 180/120', ['mmol', '2.0', '180', '120']],
    ['Œdème été', ['œdem', 'ete']],
    ['What is the of you', []],
    ['sepsis diagnosis virus', ['sepsis', 'diagnosis', 'virus']],
    ['', []],
  ])('of "%s"', (text, terms) => {
    expect(termsOf(text)).toEqual(terms);
  });
});

describe('sentences', () => {
  it('keep their heading and the line they start on', () => {
    const text = [
      '# Title',
      '',
      '## First',
      'One sentence that goes',
      'on. Another one, e.g. this, at 2.5 mg. Dr. Who agrees!',
      '- An item',
      '  on two lines',
      '2) Second item. With two sentences.',
      '---',
      '> A quotation.',
    ].join('\r\n');
    expect(splitText(text)).toEqual({
      title: 'Title',
      sentences: [
        { text: 'One sentence that goes on.', section: 'First', line: 4 },
        { text: 'Another one, e.g. this, at 2.5 mg.', section: 'First', line: 5 },
        { text: 'Dr. Who agrees!', section: 'First', line: 5 },
        { text: 'An item on two lines', section: 'First', line: 6 },
        { text: 'Second item.', section: 'First', line: 8 },
        { text: 'With two sentences.', section: 'First', line: 8 },
        { text: 'A quotation.', section: 'First', line: 10 },
      ],
    });
  });

  it('of nothing are none', () => {
    expect(splitText('\n \n# \n')).toMatchObject({ title: undefined });
  });

  it('of a text without full stops are cut, and nothing of it is lost', () => {
    const { sentences } = splitText('word '.repeat(1000));
    expect(sentences.every(({ text }) => text.length <= 1_000)).toBe(true);
    expect(sentences.map(({ text }) => text).join(' ')).toBe('word '.repeat(1000).trim());
  });

  it.each([
    ['abbreviations', 'A. '.repeat(200_000)],
    ['hashes', `# a${' #'.repeat(200_000)}x`],
    ['spaces in a heading', `# a${' '.repeat(200_000)}b`],
    ['list marks', '- '.repeat(200_000)],
    ['lines', 'word\n'.repeat(100_000)],
  ])('are found in a text of %s, which would hang a careless pattern', (_, text) => {
    expect(splitText(text)).toHaveProperty('sentences');
  });
});

const passage = (...own: string[]) => ({ own, heading: [] });

describe('BM25', () => {
  it('gives the value of the formula', () => {
    // Two passages of lengths 2 and 4, mean 3; "x" is in one: idf = ln(1 + 1.5/1.5) = ln 2.
    const index = createBm25Index([passage('x', 'y'), passage('y', 'y', 'z', 'z')]);
    const [match] = index.search(['x'], 10);
    const weight = (1 * 2.2) / (1 + 1.2 * (0.25 + (0.75 * 2) / 3));
    expect(match?.score).toBeCloseTo(Math.LN2 * weight, 12);
    expect(match).toMatchObject({ passage: 0, coverage: 1, termsMatched: 1, ownTermsMatched: 1 });
  });

  it('ranks more and rarer shared words first and breaks ties by position', () => {
    const index = createBm25Index([
      passage('a', 'b'),
      passage('a', 'c'),
      passage('a', 'c'),
      passage('c', 'c'),
    ]);
    expect(index.search(['a', 'b'], 10).map(({ passage: number }) => number)).toEqual([0, 1, 2]);
    expect(index.search(['a', 'b'], 2)).toHaveLength(2);
  });

  it('counts a word of the heading half, and a word that nothing has as missing', () => {
    const index = createBm25Index([{ own: ['a'], heading: ['h'] }, passage('b')]);
    expect(index.search(['h'], 1)[0]).toMatchObject({ coverage: 0.5, termsMatched: 1, ownTermsMatched: 0 });
    expect(index.search(['a', 'unheard'], 1)[0]!.coverage).toBeLessThan(0.5);
    expect(createBm25Index([]).search(['a'], 1)).toEqual([]);
    expect(index.search([], 1)).toEqual([]);
  });
});
