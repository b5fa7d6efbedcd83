/** What commands print: tables for people, JSON for programs, errors that say what to do next. */
import { type QflError, toQflError } from '../errors.ts';

export const EXIT_FAILED = 1;

const width = (text: string): number => [...text].length;

/** Left-aligned columns, two spaces apart. */
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const all = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...all.map((row) => width(row[at] ?? ''))));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) => cell + ' '.repeat(Math.max(0, (widths[at] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((count) => '─'.repeat(count))), ...rows.map(line)].join('\n');
};

export const say = (text: string): void => void process.stdout.write(`${text}\n`);
/** Progress and remarks: on the error stream, so that output can be piped. */
export const note = (text: string): void => void process.stderr.write(`${text}\n`);

export const printJson = (value: unknown): void =>
  say(JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? String(one) : one), 2));

const factLines = ({ facts }: QflError): string[] => {
  const faults = facts?.['faults'];
  if (!Array.isArray(faults)) return [];
  return faults.map((fault: unknown) => {
    const { path, message, line } = Object(fault) as { path?: unknown; message?: unknown; line?: unknown };
    return `  ${String(path)}${line === undefined ? '' : ` (line ${String(line)})`}: ${String(message)}`;
  });
};

export const errorText = (error: QflError): string =>
  [
    `error: ${error.message}`,
    ...factLines(error),
    ...(error.next === undefined ? [] : [`next:  ${error.next}`]),
  ].join('\n');

/** Runs a command; an expected failure is printed and becomes the exit code, an unexpected one shows its stack. */
export const run = async (action: () => Promise<void>, json: boolean): Promise<void> => {
  try {
    await action();
  } catch (thrown) {
    const error = toQflError(thrown);
    if (json)
      printJson({
        error: {
          code: error.code,
          title: error.title,
          detail: error.detail ?? null,
          next: error.next ?? null,
          facts: error.facts ?? null,
        },
      });
    else {
      note(errorText(error));
      if (error.code === 'internal' && error.cause instanceof Error)
        note(error.cause.stack ?? error.cause.message);
    }
    process.exitCode = EXIT_FAILED;
  }
};

export const ago = (ms: number): string => {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
};
