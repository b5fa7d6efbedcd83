/** `qfl agent directory`: the key directory as this hospital has it, for a coordinator that was restored from an older backup. */
import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { printJson, run, say } from '../../shared/cli/output.ts';

export const registerDirectoryCopy = (agent: Command): void => {
  withTarget(
    agent.command('directory').description('write the key directory as this site mirrors it'),
    'agent',
  )
    .requiredOption('--out <FILE>', 'file to write')
    .action((options: TargetOptions & { out: string }) =>
      run(async () => {
        await withClient(connect(options, 'agent'), (client) =>
          pipeline(
            client.bytes('GET', '/v1/directory/leaves'),
            createWriteStream(options.out, { mode: 0o600 }),
          ),
        );
        if (options.json === true) return printJson({ file: options.out });
        say(
          `Written to ${options.out}. A restored coordinator takes it: qfl restore FILE --directory ${options.out}`,
        );
      }, options.json ?? false),
    );
};
