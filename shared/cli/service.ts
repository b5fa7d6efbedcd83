/** What both programs do as services: configuration with options on top, a logger, and a stop that finishes what is under way. */
import type { Command } from 'commander';
import type { ConfigNotice } from '../config/notices.ts';
import { toQflError } from '../errors.ts';
import type { LogSink } from '../log.ts';
import { note } from './output.ts';

export interface ServiceOptions {
  readonly home?: string;
  readonly config?: string;
  readonly host?: string;
  readonly port?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsSelfSigned?: boolean;
  readonly logLevel?: string;
}

export const withService = (command: Command): Command =>
  command
    .option('--home <DIR>', 'folder of this program (or QFL_HOME)')
    .option('--config <FILE>', 'YAML configuration (or QUANTUM_CONFIG_PATH)')
    .option('--host <ADDRESS>', 'address to listen on; other than loopback needs TLS')
    .option('--port <PORT>', 'port to listen on; 0 takes a free one')
    .option('--tls-cert <FILE>', 'PEM certificate')
    .option('--tls-key <FILE>', 'PEM key')
    .option('--tls-self-signed', 'make a certificate here; join tokens pin its fingerprint')
    .option('--log-level <LEVEL>', 'trace, debug, info, warn, error, fatal or silent');

export const showNotices = (notices: readonly ConfigNotice[]): void => {
  for (const { kind, path, message } of notices) note(`config: ${kind}: ${path}: ${message}`);
};

interface Overridable {
  readonly home: string;
  readonly logLevel: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly tls: {
    readonly certFile: string | null;
    readonly keyFile: string | null;
    readonly selfSigned: boolean;
  };
}

/** Options of the command line win over file and environment. */
export const withOverrides = <Config extends Overridable>(
  config: Config,
  options: ServiceOptions,
): Config => ({
  ...config,
  home: options.home ?? config.home,
  logLevel: options.logLevel ?? config.logLevel,
  listen: {
    host: options.host ?? config.listen.host,
    port: options.port === undefined ? config.listen.port : Number(options.port),
  },
  tls: {
    certFile: options.tlsCert ?? config.tls.certFile,
    keyFile: options.tlsKey ?? config.tls.keyFile,
    selfSigned: options.tlsSelfSigned ?? config.tls.selfSigned,
  },
});

export interface Reloadable<Config> {
  /** Puts into force what can change while running. @throws QflError, and then everything stays as it was */
  reload(config: Config): Promise<void>;
}

/**
 * On SIGHUP the log file is reopened and the configuration read again. A fault in it is logged with all its parts, and the
 * program goes on with what it had.
 */
export const reloadOnSignal = <Config extends Overridable>(
  load: () => Promise<Config>,
  running: Reloadable<Config>,
  { logger, reopen }: LogSink,
): void => {
  const reload = async (): Promise<void> => {
    reopen();
    try {
      const config = await load();
      await running.reload(config);
      logger.level = config.logLevel;
      logger.info('the configuration was read again');
    } catch (error) {
      const { message, facts } = toQflError(error);
      logger.error(
        { faults: facts?.['faults'] ?? null, reason: message },
        'the configuration was not changed',
      );
    }
  };
  // One after another: two signals close together must not mix two configurations.
  let turn: Promise<void> = Promise.resolve();
  process.on('SIGHUP', () => {
    turn = turn.then(reload);
  });
};

/**
 * Runs until a signal comes, then closes. A second signal, or a close that takes longer than the deadline, ends the process at once;
 * whatever that loses was not acknowledged.
 */
export const runUntilSignal = (close: () => Promise<void>, deadlineMs = 15_000): Promise<void> =>
  new Promise((resolve, reject) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) process.exit(1);
      stopping = true;
      process.stdin.destroy();
      setTimeout(() => process.exit(1), deadlineMs).unref();
      close().then(resolve, reject);
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    // Started by "qfl up": when that process is gone, however it went, its end of the pipe closes.
    if (process.env['QFL_STOP_WITH_STDIN'] === '1') process.stdin.resume().once('end', stop);
  });
