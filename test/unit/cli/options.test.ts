/** Options that would quietly lose one another are refused before anything is asked or written. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { registerAuditExport } from '../../../shared/cli/audit-export.ts';
import { registerKeys } from '../../../shared/cli/keys.ts';
import { registerRound } from '../../../shared/cli/round.ts';
import { requestOf } from '../../../shared/cli/training-request.ts';

const quiet = (command: Command): Command => {
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  for (const below of command.commands) quiet(below);
  return command;
};

/** What the commander says of these words; nothing reaches an action. */
const refusalOf = (register: (program: Command) => void, words: string): string => {
  const program = new Command('qfl');
  register(program);
  try {
    quiet(program).parse(words.split(' '), { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.code;
    throw error;
  }
  return 'taken';
};

describe('a person’s file', () => {
  it.each(['--for age1x', '--from 24h', '--to 24h', '--filter action=x', '--since FILE'])(
    'is not written in clear and whole where %s asks for something else',
    (option) => {
      const words = `export --person anna --out /nonexistent/file ${option}`;
      expect(refusalOf(registerAuditExport, words)).toBe('commander.conflictingOption');
    },
  );
});

describe('a rotation', () => {
  it.each(['--master --emergency', '--master --identity', '--new-master FILE --emergency'])(
    'is of one thing: not %s',
    (options) =>
      expect(refusalOf(registerKeys, `keys rotate ${options}`)).toBe('commander.conflictingOption'),
  );

  it('is of the master key where a new one is named', () => {
    const program = new Command('qfl');
    registerKeys(program);
    const rotate = program.commands[0]?.commands.find((command) => command.name() === 'rotate');
    let master: unknown;
    rotate?.action((options: { master?: boolean }) => void ({ master } = options));
    program.parse(['keys', 'rotate', '--new-master', 'FILE'], { from: 'user' });
    expect(master).toBe(true);
  });
});

describe('a training from a file', () => {
  it('takes what the file says where no option says otherwise', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'qfl-options-')), 'training.json');
    const data = { target: '44054006', features: [{ kind: 'age' }] };
    await writeFile(file, JSON.stringify({ data, rounds: 3, epsilon: 2, silenceMs: 5_000, rule: 'median' }));
    const given = (words: readonly string[]) => {
      const program = new Command('qfl');
      registerRound(program);
      const start = program.commands[0]?.commands.find((command) => command.name() === 'start');
      let options: Parameters<typeof requestOf>[0] = {};
      start?.action((parsed: typeof options) => void (options = parsed));
      program.parse(['round', 'start', '--file', file, ...words], { from: 'user' });
      return requestOf(options);
    };
    expect(await given([])).toMatchObject({ rounds: 3, epsilon: 2, silenceMs: 5_000, rule: 'median' });
    expect(await given(['--rounds', '7', '--patience', '9'])).toMatchObject({ rounds: 7, silenceMs: 9_000 });
    const measured = ['observation=4548-4:3..20:mean:%', 'is=cp:4'];
    expect(
      await given(['--target', 'num>0.5', '--feature', ...measured, '--model', 'cfc', '--no-evaluate']),
    ).toMatchObject({
      data: {
        target: { code: 'num', above: 0.5 },
        features: [
          { kind: 'observation', code: '4548-4', low: 3, high: 20, take: 'mean', unit: '%' },
          { kind: 'is', code: 'cp', value: 4 },
        ],
      },
      model: { kind: 'liquid', cell: 'cfc' },
      evaluate: null,
    });
    await expect(given(['--model', 'oracle'])).rejects.toThrow(/there is no model oracle/);
    expect(await given(['--feature', 'sex=male', '--target', '1'])).toMatchObject({
      data: { target: '1', features: [{ kind: 'sex', is: 'male' }] },
    });
  });
});
