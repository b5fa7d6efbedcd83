/**
 * The one place where the command reaches the two programs: by path, at run time. `shared` imports neither, so each installs without
 * the other.
 */
import type { Command } from 'commander';
import { z } from 'zod';
import type { ProgramBackups } from '../backup/program.ts';
import { QflError } from '../errors.ts';

const ProgramModule = z.looseObject({
  register: z.custom<(command: Command) => void>((value) => typeof value === 'function'),
  backups: z.custom<ProgramBackups>((value) => typeof value === 'object' && value !== null),
});
type ProgramModule = z.infer<typeof ProgramModule>;

const load = async (name: 'agent' | 'coordinator'): Promise<ProgramModule> => {
  const here = import.meta.url;
  const url = new URL(`../../${name}/main${here.endsWith('.ts') ? '.ts' : '.js'}`, here);
  try {
    return ProgramModule.parse(await import(url.href));
  } catch (cause) {
    throw new QflError('internal', { detail: `the ${name} is not installed here`, cause });
  }
};

export const loadProgram = async (name: 'agent' | 'coordinator'): Promise<(command: Command) => void> =>
  (await load(name)).register;

export const loadBackups = async (name: 'agent' | 'coordinator'): Promise<ProgramBackups> =>
  (await load(name)).backups;
