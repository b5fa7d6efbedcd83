/** What commands print: tables for people, JSON for programs, errors that say what to do next. */
import { z } from 'zod';
import { type QflError, toQflError } from '../errors.ts';

export const EXIT_FAILED = 1;

/** Characters, not code units; the tables hold no combining ones. */
const width = (text: string): number => Array.from(text).length;

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

const Faults = z.object({
  faults: z.array(z.looseObject({ path: z.string(), message: z.string(), line: z.number().optional() })),
});

/** Several faults at once, as configuration files have them. */
const factLines = ({ facts }: QflError): string[] => {
  const parsed = Faults.safeParse(facts);
  const place = (line: number | undefined): string => (line === undefined ? '' : ` (line ${line})`);
  return parsed.success
    ? parsed.data.faults.map(({ path, message, line }) => `  ${path}${place(line)}: ${message}`)
    : [];
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

/** 0.95 → `95`, without the digits that a product of doubles makes up. */
export const inPercent = (share: number): string => String(Number((share * 100).toPrecision(9)));

export const ago = (ms: number): string => {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
};
