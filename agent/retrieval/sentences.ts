/** Markdown or plain text → sentences with their place. Line numbers are those of the file, from 1. */
export interface Sentence {
  readonly text: string;
  /** The nearest heading above; '' before the first. */
  readonly section: string;
  readonly line: number;
}

export interface SplitText {
  /** The first heading of level 1, if there is one. */
  readonly title: string | undefined;
  readonly sentences: readonly Sentence[];
}

const HEADING = /^(#{1,6})\s+(\S.*)$/;
const LIST_ITEM = /^\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$/;
const QUOTE_MARK = /^\s*>\s?/;

/** A full stop after these does not end a sentence. */
const ABBREVIATION =
  /(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|approx|max|min|no|fig|dr|mr|mrs|ms|prof|st|resp|incl|\p{L})\.$/iu;
const ABBREVIATION_REACH = 12;
/** A text without full stops is cut into pieces of this length, so that no quotation is a whole page. */
const SENTENCE_LENGTH_MAX = 1_000;
const BOUNDARY = /[.!?]["')\]]?\s+(?=["'([]?[\p{Lu}\p{N}])/gu;

interface Block {
  readonly section: string;
  readonly lines: { readonly text: string; readonly line: number }[];
}

const tidy = (text: string): string => text.replace(/\s+/g, ' ').trim();

interface Piece {
  readonly text: string;
  readonly offset: number;
}

/** Cuts at a space where there is one. */
const cutLong = ({ text, offset }: Piece): readonly Piece[] => {
  const pieces: Piece[] = [];
  let start = 0;
  while (text.length - start > SENTENCE_LENGTH_MAX) {
    const space = text.lastIndexOf(' ', start + SENTENCE_LENGTH_MAX);
    const end = space > start ? space : start + SENTENCE_LENGTH_MAX;
    pieces.push({ text: text.slice(start, end), offset: offset + start });
    start = end;
  }
  return [...pieces, { text: text.slice(start), offset: offset + start }];
};

/** Splits joined text; `offset` of each piece lets the caller find its line. */
const splitSentences = (text: string): readonly Piece[] => {
  const pieces: Piece[] = [];
  let start = 0;
  for (const match of text.matchAll(BOUNDARY)) {
    const end = match.index + match[0].length;
    // Only the end is looked at: the whole piece again at every full stop would be quadratic.
    if (ABBREVIATION.test(text.slice(Math.max(start, match.index - ABBREVIATION_REACH), match.index + 1)))
      continue;
    pieces.push({ text: text.slice(start, end), offset: start });
    start = end;
  }
  pieces.push({ text: text.slice(start), offset: start });
  return pieces.flatMap(cutLong);
};

const sentencesOfBlock = ({ section, lines }: Block): readonly Sentence[] => {
  const starts: { offset: number; line: number }[] = [];
  let joined = '';
  for (const { text, line } of lines) {
    if (joined !== '') joined += ' ';
    starts.push({ offset: joined.length, line });
    joined += text;
  }
  let at = 0;
  return splitSentences(joined).flatMap(({ text, offset }) => {
    while ((starts[at + 1]?.offset ?? Infinity) <= offset) at += 1;
    const line = starts[at]?.line;
    const tidied = tidy(text);
    return tidied === '' || line === undefined ? [] : [{ text: tidied, section, line }];
  });
};

const isRule = (line: string): boolean => /^\s*([-*_=])(?:\s*\1){2,}\s*$/.test(line);

/** A paragraph is one block, a list item is its own; headings, rules and blank lines end a block. */
export const splitText = (text: string): SplitText => {
  const blocks: Block[] = [];
  let title: string | undefined;
  let section = '';
  let current: Block | undefined;
  text.split(/\r?\n/).forEach((raw, index) => {
    const content = raw.replace(QUOTE_MARK, '').replaceAll('\t', ' ');
    const heading = HEADING.exec(content);
    if (heading !== null) {
      const name = tidy(heading[2]!).replace(/ #+$/, '');
      if (heading[1] === '#' && title === undefined) title = name;
      else section = name;
      current = undefined;
      return;
    }
    if (content.trim() === '' || isRule(content)) {
      current = undefined;
      return;
    }
    const item = LIST_ITEM.exec(content);
    if (current === undefined || item !== null) {
      current = { section, lines: [] };
      blocks.push(current);
    }
    current.lines.push({ text: tidy(item?.[1] ?? content), line: index + 1 });
  });
  return { title, sentences: blocks.flatMap(sentencesOfBlock) };
};
