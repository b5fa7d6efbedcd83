/**
 * Okapi BM25 over short passages (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, eq. 3.15),
 * with the idf that never goes negative, ln(1 + (N − n + ½)/(n + ½)).
 */
const K1 = 1.2;
const B = 0.75;

/** Words of a heading count this much of a word of the sentence itself. */
const HEADING_WEIGHT = 0.5;

/** The terms of one passage and of the headings above it. */
export interface PassageTerms {
  readonly own: readonly string[];
  readonly heading: readonly string[];
}

export interface Match {
  /** Position of the passage in the list the index was made from. */
  readonly passage: number;
  readonly score: number;
  /**
   * Share of the question's idf mass that the passage contains, 0 to 1. A word found only in a heading counts half, a
   * word that no passage has counts in full as missing.
   */
  readonly coverage: number;
  /** Different terms of the question in the passage or its headings, and in the passage itself. */
  readonly termsMatched: number;
  readonly ownTermsMatched: number;
}

export interface Bm25Index {
  readonly passages: number;
  /** Best first; equal scores in the order of the list. */
  search(terms: readonly string[], limit: number): readonly Match[];
}

interface Posting {
  readonly passage: number;
  readonly frequency: number;
}

interface Tally {
  score: number;
  mass: number;
  terms: number;
  own: number;
}

/** Own words count one each; a heading word that the passage lacks counts `HEADING_WEIGHT` once. */
const frequencies = ({ own, heading }: PassageTerms): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const term of own) counts.set(term, (counts.get(term) ?? 0) + 1);
  for (const term of heading) if (!counts.has(term)) counts.set(term, HEADING_WEIGHT);
  return counts;
};

const buildPostings = (passages: readonly PassageTerms[]): ReadonlyMap<string, readonly Posting[]> => {
  const postings = new Map<string, Posting[]>();
  passages.forEach((terms, passage) => {
    for (const [term, frequency] of frequencies(terms)) {
      const list = postings.get(term) ?? [];
      list.push({ passage, frequency });
      postings.set(term, list);
    }
  });
  return postings;
};

export const createBm25Index = (passages: readonly PassageTerms[]): Bm25Index => {
  const count = passages.length;
  const postings = buildPostings(passages);
  const lengths = passages.map(({ own }) => own.length);
  const meanLength = Math.max(1, lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, count));
  const idf = (containing: number): number => Math.log(1 + (count - containing + 0.5) / (containing + 0.5));

  const weight = ({ passage, frequency }: Posting): number => {
    const length = 1 - B + (B * (lengths[passage] ?? 0)) / meanLength;
    return (frequency * (K1 + 1)) / (frequency + K1 * length);
  };

  return {
    passages: count,
    search(terms, limit) {
      const tallies = new Map<number, Tally>();
      let mass = 0;
      for (const term of new Set(terms)) {
        const list = postings.get(term) ?? [];
        const rarity = idf(list.length);
        mass += rarity;
        for (const posting of list) {
          const tally = tallies.get(posting.passage) ?? { score: 0, mass: 0, terms: 0, own: 0 };
          tally.score += rarity * weight(posting);
          tally.mass += rarity * Math.min(1, posting.frequency);
          tally.terms += 1;
          if (posting.frequency >= 1) tally.own += 1;
          tallies.set(posting.passage, tally);
        }
      }
      return [...tallies]
        .map(([passage, tally]): Match => ({
          passage,
          score: tally.score,
          coverage: tally.mass / mass,
          termsMatched: tally.terms,
          ownTermsMatched: tally.own,
        }))
        .toSorted((left, right) => right.score - left.score || left.passage - right.passage)
        .slice(0, limit);
    },
  };
};
