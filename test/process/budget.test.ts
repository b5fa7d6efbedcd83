/** The default budgets through a running agent: what fits is answered, what does not is refused by name, and a kill forgets nothing. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { qfl } from '../fixtures/processes.ts';
import { type Answer, call, type Federation, type Site, startFederation } from './federation.ts';

/** ε = 0.1 each against research's 3 at the default order and δ: what the accountant admits. A plain sum would admit 30. */
const ADMITTED = 48;
const Refusal = z.looseObject({ code: z.string(), detail: z.string(), ledger: z.string().optional() });
const Budgets = z.looseObject({
  ledgers: z.array(
    z.looseObject({ ledger: z.string(), spentEpsilon: z.number(), remainingEpsilon: z.number() }),
  ),
});
const Answered = z.looseObject({
  complete: z.boolean(),
  sites: z.array(z.looseObject({ status: z.string() })),
});

let federation: Federation;
let site: Site;
let key: string;

const count = (user: string, more: object = {}): Promise<Answer> =>
  call(`${site.url}/v1/stats`, {
    key: user,
    body: { count: 'Condition', where: ['code=38341003'], epsilon: '0.1', ...more },
  });
const spentOf = async (user: string, ledger: string): Promise<number> => {
  const { ledgers } = Budgets.parse((await call(`${site.url}/privacy/budgets`, { key: user })).body);
  return ledgers.find((one) => one.ledger === ledger)?.spentEpsilon ?? Number.NaN;
};
const expectRefused = (answer: Answer): void => {
  expect(answer.status).toBe(403);
  const refusal = Refusal.parse(answer.body);
  expect(refusal.code).toBe('budget_exceeded');
  expect(JSON.stringify(answer.body)).toContain('department_day');
};

beforeAll(async () => {
  federation = await startFederation({ sites: [{ name: 'solo' }] });
  site = federation.site('solo');
  const sample = join(federation.folder, 'sample');
  await qfl(['agent', 'sample', sample, '--site', 'solo', '--patients', '40']);
  await qfl(['agent', 'import', join(sample, 'fhir'), '--home', site.home]);
  key = await site.key('doctor', 'research');
});
afterAll(() => federation.close());

describe('the default budget of research', () => {
  test('a question that cannot be answered as asked charges nothing', async () => {
    const statuses = [
      (await count(key, { confidence: 0.9999999999 })).status,
      (await count(key, { epsilon: '0' })).status,
      (await count(key, { epsilon: '1.5' })).status,
      (await count(key, { epsilon: 'all' })).status,
      (await count(key, { where: ['colour=red'] })).status,
      (await count(key, { count: 'Nonsense' })).status,
    ];
    for (const status of statuses) expect(status).toBeGreaterThanOrEqual(400);
    for (const status of statuses) expect(status).toBeLessThan(500);
    for (const ledger of ['user_day', 'department_day', 'asking_site_day', 'site_lifetime'])
      expect({ ledger, spent: await spentOf(key, ledger) }).toEqual({ ledger, spent: 0 });
  });

  test(`takes ${ADMITTED} counts of ε = 0.1, and refuses the next by the ledger's name`, async () => {
    for (let asked = 1; asked <= ADMITTED; asked += 1) {
      const answer = await count(key);
      expect({ asked, ...answer }).toMatchObject({ asked, status: 200 });
      expect(Answered.parse(answer.body)).toMatchObject({ complete: true, sites: [{ status: 'answered' }] });
    }
    expectRefused(await count(key));
    expectRefused(await count(key));
  });

  test('is still spent after kill -9, for every user of the department; another department has its own', async () => {
    const spent = await spentOf(key, 'department_day');
    const lifetime = await spentOf(key, 'site_lifetime');
    await site.program.kill();
    await site.restart();
    expect(await spentOf(key, 'department_day')).toBe(spent);
    expect(await spentOf(key, 'site_lifetime')).toBe(lifetime);
    expectRefused(await count(key));
    expectRefused(await count(await site.key('doctor', 'research', 'confidential', 'somebody else')));
    expect((await count(await site.key('doctor', 'icu'))).status).toBe(200);
  });

  test('a smaller question that still fits is answered', async () => {
    expect((await count(key, { epsilon: '0.000001' })).status).toBe(200);
    expectRefused(await count(key));
  });
});
