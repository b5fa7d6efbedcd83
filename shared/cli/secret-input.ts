/** Secrets are typed without being shown, or come on standard input. An argument can be read by others on the machine: none takes a password, and a code of one time may be left out and is asked for. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { QflError } from '../errors.ts';

const readAll = async (): Promise<string> => {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(Buffer.from(piece as Uint8Array));
  return Buffer.concat(pieces).toString('utf8');
};

/** Lines of standard input, read once: several secrets may come one after another. */
let lines: string[] | undefined;
const nextLine = async (): Promise<string> => {
  lines ??= (await readAll()).split(/\r?\n/);
  return lines.shift() ?? '';
};

const prompt = async (question: string): Promise<string> => {
  const silent = new Writable({ write: (_piece, _encoding, done) => done() });
  process.stderr.write(`${question}: `);
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await terminal.question('');
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
};

/** @throws QflError `invalid_request` when nothing was given */
export const readSecret = async (question: string): Promise<string> => {
  const given = process.stdin.isTTY ? await prompt(question) : await nextLine();
  if (given === '')
    throw new QflError('invalid_request', {
      detail: `${question.toLowerCase()} is needed`,
      next: 'Type it when asked, or send it as a line on standard input.',
    });
  return given;
};

/** Twice at a terminal, where a slip of the finger would otherwise be kept. */
export const readNewSecret = async (question: string): Promise<string> => {
  const first = await readSecret(question);
  if (!process.stdin.isTTY) return first;
  if ((await readSecret(`${question} again`)) !== first)
    throw new QflError('invalid_request', { detail: 'the two are not the same', next: 'Try again.' });
  return first;
};
