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

export const createLogger = (program: 'agent' | 'coordinator' | 'cli', level: string): Logger =>
  pino(
    {
      level,
      base: { program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
    },
    // The error stream: the output stream belongs to what a command prints.
    pino.destination(2),
  );

export const silentLogger: Logger = pino({ level: 'silent' });
