/** What the options of `qfl task create` ask for, as the body of a request. */
import { readFile } from 'node:fs/promises';
import { QflError } from '../errors.ts';
import type { TargetOptions } from './connect.ts';

export interface CreateOptions extends TargetOptions {
  readonly qasm?: string;
  readonly qubo?: string;
  readonly chsh?: boolean;
  readonly auditExport?: boolean;
  readonly file?: string;
  readonly shots?: string;
  readonly seed?: string;
  readonly layers?: string;
  readonly precision?: string;
  readonly ground?: string;
  readonly priority?: string;
  readonly timeout?: string;
  readonly deadline?: string;
  readonly attempts?: string;
  readonly after?: readonly string[];
  readonly idempotencyKey?: string;
  readonly watch?: boolean;
}

export const invalid = (detail: string, next: string): QflError =>
  new QflError('invalid_request', { detail, next });

export const readText = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new QflError('invalid_request', {
      detail: `${file} cannot be read`,
      next: 'Check its name.',
      cause,
    });
  }
};

const readJson = async (file: string): Promise<unknown> => {
  try {
    return JSON.parse(await readText(file));
  } catch (cause) {
    if (cause instanceof QflError) throw cause;
    throw new QflError('invalid_request', {
      detail: `${file} is not JSON`,
      next: 'Correct the file.',
      cause,
    });
  }
};

export const numberOf = (text: string | undefined, name: string): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw invalid(`--${name} ${text} is not a number`, 'Give a number.');
};

/** Only what was given: the coordinator has the defaults. */
export const given = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const specOf = async (options: CreateOptions): Promise<unknown> => {
  const { qasm, qubo, chsh, auditExport, ground } = options;
  const chosen = [qasm, qubo, chsh, auditExport].filter((one) => one !== undefined).length;
  if (chosen !== 1)
    throw invalid(
      'say what to run: one of --qasm, --qubo, --chsh, --audit-export, or a whole request with --file',
      'For example: qfl task create --qasm bell.qasm --shots 1000',
    );
  const shots = numberOf(options.shots, 'shots');
  const seed = numberOf(options.seed, 'seed');
  const { precision } = options;
  if (auditExport === true) return { kind: 'export', ...given({ ground }) };
  if (chsh === true)
    return { kind: 'quantum', job: { type: 'chsh', ...given({ shotsPerSetting: shots, seed }) } };
  if (qasm !== undefined) {
    const rest = given({ shots, seed, precision });
    return { kind: 'quantum', job: { type: 'circuit', qasm: await readText(qasm), ...rest } };
  }
  const layers = numberOf(options.layers, 'layers');
  const rest = given({ shots, seed, precision, layers });
  return { kind: 'quantum', job: { type: 'qaoa', qubo: await readJson(qubo ?? ''), ...rest } };
};

export const deadlineOf = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw invalid(`--deadline ${text} is not a time`, 'Write it as 2030-01-31T18:00:00Z.');
};

export const requestOf = async (options: CreateOptions): Promise<unknown> => {
  if (options.file !== undefined) return readJson(options.file);
  const timeoutS = numberOf(options.timeout, 'timeout');
  return {
    spec: await specOf(options),
    ...given({
      priority: numberOf(options.priority, 'priority'),
      timeoutMs: timeoutS === undefined ? undefined : timeoutS * 1_000,
      deadlineMs: deadlineOf(options.deadline),
      attemptsMax: numberOf(options.attempts, 'attempts'),
      dependsOn: options.after,
    }),
  };
};
