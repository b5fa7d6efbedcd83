import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { freshLedger, request, reserved, spentUnits } from './fixture.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

const acceptedUntilRefused = async (department: string, sameUser: boolean, epsilon = '0.1') => {
  const { ledger } = await freshLedger({ ...DEFAULT_LIMITS, rule: 'rdp_fixed_order' });
  let accepted = 0;
  for (;;) {
    try {
      await reserved(ledger, { query: accepted, user: sameUser ? 0 : accepted, department, epsilon });
      accepted += 1;
    } catch (error) {
      const spent = spentUnits(ledger, { department });
      await ledger.close();
      return { accepted, error, spent };
    }
  }
};

describe('over budget', () => {
  test.each([
    ['research', false, 48, 'department_day'],
    ['general', false, 250, 'department_day'],
    ['icu', true, 361, 'user_day'],
    ['surgery', false, 485, 'department_day'],
  ])(
    '%s (one user: %s) stops after %i counts of epsilon 0.1, at %s',
    async (department, sameUser, count, kind) => {
      const { accepted, error } = await acceptedUntilRefused(department, sameUser);
      expect(accepted).toBe(count);
      expect(error).toEqual(code('budget_exceeded'));
      expect(error).toHaveProperty('facts.ledger', kind);
    },
  );

  test('the refusal names ledger, budget, spent, remaining, cost and renewal, and charges nothing', async () => {
    const { ledger } = await freshLedger();
    for (let query = 0; query < 48; query += 1) await reserved(ledger, { query, department: 'research' });
    const spent = spentUnits(ledger, { department: 'research' });
    const records = ledger.head().counter;
    await expect(ledger.reserve(request({ query: 99, department: 'research' }))).rejects.toMatchObject({
      code: 'budget_exceeded',
      facts: {
        ledger: 'department_day',
        budgetMicroEpsilon: 3_000_000,
        renewsAtMs: 20_001 * 86_400_000,
        spentUnits: String(spent['department_day']),
      },
    });
    expect(spentUnits(ledger, { department: 'research' })).toEqual(spent);
    expect(ledger.head().counter).toBe(records);
    const quote = ledger.quote(request({ department: 'research' }), request().mechanisms);
    expect(quote.fits).toBe(false);
    await ledger.close();
  });

  test('users and departments invented by a site do not get past its cap, another site still asks', async () => {
    const department = { ...DEFAULT_LIMITS.departmentDay };
    const { ledger } = await freshLedger({
      ...DEFAULT_LIMITS,
      departmentDay: department,
      askingSiteDay: {
        ...DEFAULT_LIMITS.askingSiteDay,
        microEpsilon:
          DEFAULT_LIMITS.departmentDay[request({ department: 'research' }).department]!.microEpsilon,
      },
    });
    const names = Object.keys(department).filter((name) => name !== 'research');
    let accepted = 0;
    const charge = () =>
      reserved(ledger, {
        query: accepted,
        user: accepted,
        department: names[accepted % names.length]!,
      });
    await expect(
      (async () => {
        for (;;) {
          await charge();
          accepted += 1;
        }
      })(),
    ).rejects.toMatchObject({ code: 'budget_exceeded', facts: { ledger: 'asking_site_day' } });
    expect(accepted).toBe(48);
    expect((await reserved(ledger, { query: 1, sender: 'west' })).status).toBe('reserved');
    await ledger.close();
  });

  test('the lifetime ledger does not renew', async () => {
    const lifetime = {
      ...DEFAULT_LIMITS.siteLifetime,
      microEpsilon:
        DEFAULT_LIMITS.departmentDay[request({ department: 'research' }).department]!.microEpsilon,
      delta: '1e-5',
    };
    const fixture = await freshLedger({ ...DEFAULT_LIMITS, siteLifetime: lifetime });
    for (let query = 0; query < 48; query += 1) await reserved(fixture.ledger, { query, user: query });
    fixture.clock.advance(3 * 86_400_000);
    await expect(fixture.ledger.reserve(request({ query: 99 }))).rejects.toMatchObject({
      code: 'budget_exceeded',
      facts: { ledger: 'site_lifetime', renewsAtMs: null },
    });
    await fixture.ledger.close();
  });

  test('a department without a budget cannot ask', async () => {
    const { ledger } = await freshLedger();
    await expect(ledger.reserve(request({ department: 'cafeteria' }))).rejects.toThrow(code('forbidden'));
    expect(ledger.head().counter).toBe(0);
    await ledger.close();
  });
});
