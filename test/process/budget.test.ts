/** The default budgets through a running agent: what fits is answered, what does not is refused by name, and a kill forgets nothing. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { parseEpsilon } from '../../shared/privacy/epsilon.ts';
import { costUnits, createFilter } from '../../shared/privacy/filter.ts';
import { laplaceForEpsilon } from '../../shared/privacy/mechanism.ts';
import { qfl } from '../fixtures/processes.ts';
import { type Answer, call, type Federation, type Site, startFederation } from './federation.ts';

/** ε = 0.1 each against research's 3 at the default order and δ: what the accountant admits. A plain sum would admit 30. */
const ADMITTED = 48;
/**
 * Counts of ε = 0.1 that each default budget admits (`privacy.md` §3, the column of the randomised-response curve, which a discrete Laplace
 * count has). Plain sums would admit 80, 120, 150, 200; a user 100.
 */
const DEPARTMENTS = { general: 250, surgery: 485, icu: 692, emergency: 1_085 } as const;
const PER_USER = 361;
/** Caps that are not tested are out of the way; those that are have their defaults. */
const SIX_BUDGETS = `
limits: { requests_per_minute: 1000000 }
privacy: { asking_site_daily_budget: 100000, site_lifetime_budget: 100000 }
`;
/** Only the site-lifetime budget, 20 at δ 1e-6, can bite. */
const LIFETIME_ONLY = `
limits: { requests_per_minute: 1000000 }
privacy:
  asking_site_daily_budget: 100000
  max_budget_per_user: 100000
  department_budgets: { general: 100000 }
`;
const IN_FLIGHT = 16;
/** Few: what is tested is what is charged, not what is counted. */
const PATIENTS = '12';
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

const openFederation = async (config: string): Promise<void> => {
  federation = await startFederation({ sites: [{ name: 'solo', config }], logLevel: 'warn' });
  site = federation.site('solo');
  const sample = join(federation.folder, 'sample');
  await qfl(['agent', 'sample', sample, '--site', 'solo', '--patients', PATIENTS]);
  await qfl(['agent', 'import', join(sample, 'fhir'), '--home', site.home]);
};

const refusalOf = ({ body }: Answer): z.infer<typeof Refusal> => Refusal.parse(body);

/** Asks side by side, as each of the users in turn, until a budget refuses; how many were answered, and which budget it was. */
const askUntilRefused = async (users: readonly string[]): Promise<{ answered: number; ledger: string }> => {
  let asked = 0;
  let answered = 0;
  const ledgers = new Set<string>();
  const worker = async (): Promise<void> => {
    while (ledgers.size === 0) {
      const answer = await count(users[asked++ % users.length]!);
      if (answer.status === 200) answered += 1;
      else ledgers.add(ledgerOf(answer));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return { answered, ledger: [...ledgers].join(' ') };
};
/** The one that refused; anything else that went wrong by its code. */
const ledgerOf = (answer: Answer): string => {
  const { code } = refusalOf(answer);
  const named = ['user_day', 'department_day', 'asking_site_day', 'site_lifetime'].find((ledger) =>
    JSON.stringify(answer.body).includes(`the ledger ${ledger} has less left`),
  );
  return code === 'budget_exceeded' ? (named ?? code) : code;
};

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

describe('the default budget of research', () => {
  beforeAll(async () => {
    await openFederation(SIX_BUDGETS);
    key = await site.key('doctor', 'research');
  });
  afterAll(() => federation.close());

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

  test.each(Object.entries(DEPARTMENTS))(
    'another department on the same day: %s takes %i counts in all',
    async (department, admitted) => {
      // The test before asked once in intensive care.
      const before = department === 'icu' ? 1 : 0;
      const users = await Promise.all(
        Array.from({ length: Math.ceil(admitted / PER_USER) + 1 }, (_, at) =>
          site.key('doctor', department, 'confidential', `${department} ${at}`),
        ),
      );
      // One user alone comes to the end of their own budget first, where that is the smaller one.
      const [first, ...others] = users;
      const alone = await askUntilRefused([first!]);
      if (admitted < PER_USER) {
        expect(alone).toEqual({ answered: admitted, ledger: 'department_day' });
        return;
      }
      expect(alone).toEqual({ answered: PER_USER, ledger: 'user_day' });
      expect(await askUntilRefused(others)).toEqual({
        answered: admitted - PER_USER - before,
        ledger: 'department_day',
      });
      expect(ledgerOf(await count(others[0]!))).toBe('department_day');
    },
    60_000,
  );
});

describe('the default budget of the site for ever', () => {
  beforeAll(() => openFederation(LIFETIME_ONLY));
  afterAll(() => federation.close());

  test('stops all users together where the accountant says, and says that it never renews', async () => {
    const budget = { epsilon: parseEpsilon('20'), delta: 1e-6 };
    const filter = createFilter('rdp_fixed_order', budget);
    const mechanism = laplaceForEpsilon(
      { epsilon: parseEpsilon('0.1'), sensitivity: 1n },
      { microEpsilonPerQueryMax: parseEpsilon('1') },
    );
    const admitted = Number(filter.budgetUnits / costUnits(mechanism, filter));
    // Far more than a plain sum admits, and less than at the ten times larger delta of the daily budgets.
    expect(admitted).toBeGreaterThan(200);
    expect(admitted).toBeLessThan(DEPARTMENTS.emergency);
    const users = await Promise.all(
      ['one', 'two', 'three'].map((name) => site.key('doctor', 'general', 'confidential', name)),
    );
    expect(await askUntilRefused(users)).toEqual({ answered: admitted, ledger: 'site_lifetime' });
    const refused = await count(users[0]!);
    expect(ledgerOf(refused)).toBe('site_lifetime');
    expect(JSON.stringify(refused.body)).toContain('"renewsAtMs":null');
  }, 60_000);
});
