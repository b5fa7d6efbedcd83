/** SIGHUP: a new configuration comes into force, a faulty one changes nothing, a moved log file is opened anew. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../fixtures/processes.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

let federation: Federation;
let site: Site;
let nurse: string;
let logFile: string;

const config = (nurseMay: string, userBudget: string): string =>
  [
    `log_file: ${JSON.stringify(logFile)}`,
    'privacy:',
    `  max_budget_per_user: ${userBudget}`,
    'security:',
    '  role_permissions:',
    '    doctor: [query, measurement]',
    `    nurse: [${nurseMay}]`,
    '',
  ].join('\n');
const hangUp = (): void => site.program.signal('SIGHUP');
const models = async (): Promise<number> => (await call(`${site.url}/v1/models`, { key: nurse })).status;
const userBudget = async (): Promise<unknown> => {
  const { body } = await call(`${site.url}/privacy/budgets`, { key: nurse });
  const { ledgers } = body as { ledgers: { ledger: string; budgetEpsilon: number }[] };
  return ledgers.find(({ ledger }) => ledger === 'user_day')?.budgetEpsilon;
};

beforeAll(async () => {
  federation = await startFederation({ sites: [{ name: 'north' }] });
  site = federation.site('north');
  logFile = join(federation.folder, 'north-agent.log');
  nurse = await site.key('nurse');
  await writeFile(site.configFile, config('query', '10'));
  await site.program.stop();
  await site.restart();
});
afterAll(() => federation.close());

describe('SIGHUP', () => {
  test('puts new roles and budgets into force', async () => {
    expect([await models(), await userBudget()]).toEqual([200, 10]);
    await writeFile(site.configFile, config('basic_planning', '7.5'));
    hangUp();
    await eventually('the nurse may not ask any more', async () => (await models()) === 403);
    expect(await userBudget()).toBe(7.5);
    await writeFile(site.configFile, config('query', '7.5'));
    hangUp();
    await eventually('the nurse may ask again', async () => (await models()) === 200);
  });

  test('leaves everything as it was when the file is faulty, and says what is wrong', async () => {
    await writeFile(site.configFile, `${config('basic_planning', '3')}nonsense_key: 1\n`);
    hangUp();
    await eventually('the fault is in the log', async () =>
      (await readFile(logFile, 'utf8')).includes('nonsense_key'),
    );
    expect([await models(), await userBudget()]).toEqual([200, 7.5]);
  });

  test('goes on in a new log file after the old one was moved away', async () => {
    await writeFile(site.configFile, config('query', '7.5'));
    await rename(logFile, `${logFile}.1`);
    hangUp();
    await eventually('the new file has entries', async () =>
      (await readFile(logFile, 'utf8').catch(() => '')).includes('read again'),
    );
  });
});
