/** Budgets of a running agent: lowered at once, raised only by two people whose keys were there before. */
import { writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RaisePending, RaiseShown } from '../../shared/wire/budget-raise.ts';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

let federation: Federation;
let site: Site;
let [ann, ben] = ['', ''];

const config = (user: number, lifetime: number): string =>
  `privacy: {max_budget_per_user: ${user}, site_lifetime_budget: ${lifetime}}\n`;
const inForce = async (): Promise<Record<string, number>> => {
  const { body } = await call(`${site.url}/privacy/budgets`, { key: ann });
  const { ledgers } = body as { ledgers: { ledger: string; budgetEpsilon: number }[] };
  return Object.fromEntries(ledgers.map(({ ledger, budgetEpsilon }) => [ledger, budgetEpsilon]));
};
const wish = async (user: number, lifetime: number): Promise<void> => {
  await writeFile(site.configFile, config(user, lifetime));
  site.program.signal('SIGHUP');
};
const pending = async () => {
  const answer = await site.asOperator('/v1/admin/budgets/raise');
  return RaisePending.parse(answer.body).pending;
};

beforeAll(async () => {
  federation = await startFederation({ sites: [{ name: 'north', config: config(10, 20) }] });
  site = federation.site('north');
  [ann, ben] = [
    await site.key('admin', 'icu', 'confidential', 'Ann'),
    await site.key('admin', 'icu', 'confidential', 'Ben'),
  ];
});
afterAll(() => federation.close());

describe('a change of the budgets', () => {
  test('is in force at once where it lowers, and waits where it raises', async () => {
    await wish(8, 30);
    await eventually('the lower budget is in force', async () => (await inForce())['user_day'] === 8);
    expect((await inForce())['site_lifetime']).toBe(20);
    const shown = await qfl(['agent', 'budget', 'show', '--home', site.home]);
    expect(shown.out).toMatch(/siteLifetime +ε 20 +ε 30/);
    expect(shown.out).toContain('approved by 0 of 2');
  });

  test('is raised by two people, not by one twice, not by the machine, not by a key made for it', async () => {
    const { digest } = (await pending())!;
    const approve = (key: string) => ['agent', 'budget', 'approve', digest, '--url', site.url, '--key', key];
    expect(RaiseShown.parse(await qflJson(RaiseShown, approve(ann))).approvedBy).toHaveLength(1);
    expect((await qflError(approve(ann))).code).toBe('conflict');
    const late = await site.key('admin', 'icu', 'confidential', 'Cal');
    expect((await qflError(approve(late))).detail).toContain('made after');
    const machine = await site.asOperator('/v1/admin/budgets/raise/approve', { body: { digest } });
    expect(machine.status).toBe(403);
    const doctor = await site.key('doctor');
    expect((await qflError(approve(doctor))).code).toBe('forbidden');
    // A restart keeps what was approved.
    await site.program.stop();
    await site.restart();
    expect((await pending())?.approvedBy).toHaveLength(1);
    expect((await inForce())['site_lifetime']).toBe(20);
    const done = await qflJson(RaiseShown, [
      'agent',
      'budget',
      'approve',
      digest,
      '--url',
      site.url,
      '--key',
      ben,
    ]);
    expect(done.signature).not.toBeNull();
    expect((await inForce())['site_lifetime']).toBe(30);
    expect(await pending()).toBeNull();
    await site.program.stop();
    await site.restart();
    expect((await inForce())['site_lifetime']).toBe(30);
  });

  test('needs two people again after it was lowered: an approval is used once', async () => {
    await wish(8, 15);
    await eventually('it is lowered', async () => (await inForce())['site_lifetime'] === 15);
    await wish(8, 30);
    await eventually('the raise waits', async () => (await pending()) !== null);
    expect((await pending())?.approvedBy).toEqual([]);
    expect((await inForce())['site_lifetime']).toBe(15);
  });
});
