import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { GENERATOR, VERSION } from '../../shared/version.ts';

test('the version that the programs say is that of the package', () => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = z.looseObject({ version: z.string() }).parse(JSON.parse(text));
  expect([VERSION, GENERATOR]).toEqual([version, `qfl ${version}`]);
});
