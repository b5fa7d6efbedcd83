/** RFC 4180 tables that a spreadsheet shows and never runs. */

export type CsvCell = string | number | boolean | null;

/** What a spreadsheet takes for a formula; the mark in front makes it text (OWASP, CSV injection). */
const RUNS = /^[=+\-@\t\r]/;

const cellText = (cell: CsvCell): string => {
  // Numbers of ours are not formulas; a minus sign in front of one is no danger.
  if (typeof cell !== 'string') return cell === null ? '' : String(cell);
  const safe = RUNS.test(cell) ? `'${cell}` : cell;
  // A line break inside a cell would make the rows uncountable for whoever counts lines.
  const oneLine = safe.replaceAll(/[\r\n]+/g, ' ');
  return /[",]|^\s|\s$/.test(oneLine) ? `"${oneLine.replaceAll('"', '""')}"` : oneLine;
};

/** One line, its CRLF included. Null is an empty cell. */
export const csvRow = (cells: readonly CsvCell[]): string => `${cells.map(cellText).join(',')}\r\n`;

export const csvTable = (head: readonly string[], rows: Iterable<readonly CsvCell[]>): string =>
  csvRow(head) + [...rows].map(csvRow).join('');
