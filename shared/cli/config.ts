/** `qfl config check`: every fault of a configuration file at once, and what becomes of its keys. */
import type { Command } from 'commander';
import { checkConfig } from '../config/load.ts';
import { printJson, run, say } from './output.ts';

export const registerConfig = (program: Command): void => {
  program
    .command('config')
    .description('configuration files')
    .command('check <FILE>')
    .description('check a file of either program')
    .option('--json', 'print JSON')
    .action((file: string, options: { json?: boolean }) =>
      run(async () => {
        const { program: which, notices } = await checkConfig(file);
        if (options.json === true) return printJson({ file, program: which, notices });
        say(`${file} is valid (${which}).`);
        for (const { kind, path, message } of notices) say(`  ${kind}: ${path}: ${message}`);
      }, options.json ?? false),
    );
};
