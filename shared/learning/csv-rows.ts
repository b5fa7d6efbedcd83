/**
 * Rows of a CSV text (RFC 4180) as it arrives in pieces: quoted cells may hold separators, quotes written twice, and line breaks; lines end in LF or CRLF. What breaks
 * these rules is refused with its line, and without its content, which may be a patient's.
 */
import { QflError } from '../errors.ts';

/** Characters of a row: a quote that is never closed must not swallow the whole table. */
const ROW_CHARS_MAX = 1_048_576;
const CELLS_MAX = 4_096;

export interface CsvRow {
  /** Of its beginning, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

export const refuseLine = (line: number, what: string, next: string): QflError =>
  new QflError('invalid_request', { detail: `line ${line}: ${what}`, next, facts: { line } });

const MEND_QUOTES =
  'Put the whole cell in double quotes, and write each double quote within it twice; then import the table again.';

/** A row with quotes in it. */
const quotedCells = (text: string, separator: string, line: number): string[] => {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    if (text[at] !== '"') {
      const end = text.indexOf(separator, at);
      const cell = end === -1 ? text.slice(at) : text.slice(at, end);
      if (cell.includes('"'))
        throw refuseLine(line, 'a double quote within a cell that does not begin with one', MEND_QUOTES);
      cells.push(cell);
      if (end === -1) return cells;
      at = end + 1;
      continue;
    }
    let cell = '';
    for (at += 1; ; at += 2) {
      const end = text.indexOf('"', at);
      if (end === -1) throw refuseLine(line, 'a quoted cell that does not end', MEND_QUOTES);
      cell += text.slice(at, end);
      at = end;
      if (text[end + 1] !== '"') break;
      cell += '"';
    }
    cells.push(cell);
    at += 1;
    if (at === text.length) return cells;
    if (text[at] !== separator) throw refuseLine(line, 'text after the end of a quoted cell', MEND_QUOTES);
    at += 1;
  }
};

const cellsOf = (text: string, separator: string, line: number): readonly string[] => {
  const cells = text.includes('"') ? quotedCells(text, separator, line) : text.split(separator);
  if (cells.length > CELLS_MAX)
    throw refuseLine(line, `more than ${CELLS_MAX} cells`, 'Check the separator; or leave columns out.');
  return cells;
};

export interface CsvRows {
  /** The rows that this piece completes. Empty lines make none. @throws QflError `invalid_request` */
  push(piece: string): CsvRow[];
  /** The last row, where no line break ends it. @throws QflError `invalid_request` */
  end(): CsvRow[];
}

export const createCsvRows = (separator: string): CsvRows => {
  /** A row that has begun and not ended. */
  let rest = '';
  /** Up to where `rest` was looked through, and whether a quote is open there. */
  let seen = 0;
  let isOpen = false;
  let line = 1;
  /** Line breaks within the row under way. */
  let inner = 0;

  const complete = (text: string): CsvRow[] => {
    const begun = line;
    line += 1 + inner;
    inner = 0;
    const row = text.endsWith('\r') ? text.slice(0, -1) : text;
    return row === '' ? [] : [{ line: begun, cells: cellsOf(row, separator, begun) }];
  };
  const checkLength = (chars: number): void => {
    if (chars > ROW_CHARS_MAX)
      throw refuseLine(
        line,
        `a row of more than ${ROW_CHARS_MAX} characters`,
        'Look for a double quote that is never closed.',
      );
  };
  return {
    push(piece) {
      const rows: CsvRow[] = [];
      const text = rest + (line === 1 && rest === '' ? piece.replace(/^\uFEFF/, '') : piece);
      let start = 0;
      // Found once for all lines before it: most tables have none.
      let quote = text.indexOf('"', seen);
      for (let at = seen; ;) {
        const end = text.indexOf('\n', at);
        const until = end === -1 ? text.length : end;
        for (; quote !== -1 && quote < until; quote = text.indexOf('"', quote + 1)) isOpen = !isOpen;
        checkLength(until - start);
        if (end === -1) break;
        at = end + 1;
        if (isOpen) inner += 1;
        else {
          rows.push(...complete(text.slice(start, end)));
          start = at;
        }
      }
      rest = text.slice(start);
      seen = rest.length;
      return rows;
    },
    end() {
      const last = rest;
      rest = '';
      seen = 0;
      return last === '' ? [] : complete(last);
    },
  };
};
