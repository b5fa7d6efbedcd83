import { type Logger, pino } from 'pino';

export type { Logger };

/**
 * The program's logger. Content never reaches it by habit; the redaction list is the second line: a field of one of
 * these names is cut wherever it stands up to three levels deep.
 */
const SECRET_FIELDS = [
  'authorization',
  'apiKey',
  'token',
  'secret',
  'password',
  'psk',
  'seed',
  'privateKey',
  'masterKey',
  'prompt',
  'messages',
  'content',
  'answer',
  'body',
  'text',
  'patient',
  'record',
];

/** A logger, and how to go on in a new file after the old one was moved away. */
export interface LogSink {
  readonly logger: Logger;
  /** Opens the file anew; does nothing for the error stream. */
  readonly reopen: () => void;
}

/** Logs of `level` and above to `file`, else to the error stream: the output stream belongs to what a command prints. */
export const createLogger = (
  program: 'agent' | 'coordinator',
  level: string,
  file: string | null,
): LogSink => {
  const destination = pino.destination(file === null ? 2 : { dest: file, mkdir: true, mode: 0o600 });
  const logger = pino(
    {
      level,
      base: { program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
    },
    destination,
  );
  return {
    logger,
    reopen: () => {
      if (file !== null) destination.reopen();
    },
  };
};

export const silentLogger: Logger = pino({ level: 'silent' });
