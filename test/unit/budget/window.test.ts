/** The clock may say anything: what is spent in one window never passes its cap. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decideWindow } from '../../../agent/budget/window.ts';
import { DAY_MS, HOUR_MS } from '../../../shared/clock.ts';
import { QflError } from '../../../shared/errors.ts';
import { answer, freshLedger, openWith, request, reserved, START_MS } from './fixture.ts';

const YEARS_10_MS = 3_652 * DAY_MS;
const DAY = START_MS / DAY_MS - 0.5;
const decision = { by: 'admin', reason: 'the clock was wrong' };

/** Charges the research department (48 a day) until it is refused; how many, and with what. */
const drain = async (ledger: Awaited<ReturnType<typeof freshLedger>>['ledger'], tag: number) => {
  for (let count = 0; ; count += 1) {
    try {
      await reserved(ledger, { query: tag * 1_000 + count, user: count, department: 'research' });
    } catch (error) {
      return { count, code: error instanceof QflError ? error.code : String(error) };
    }
  }
};

describe('without the coordinator', () => {
  test('the next day opens after 24 hours of uptime, not before', async () => {
    const { ledger, clock } = await freshLedger();
    expect(await drain(ledger, 1)).toEqual({ count: 48, code: 'budget_exceeded' });
    clock.advance(23 * HOUR_MS);
    expect(await drain(ledger, 2)).toEqual({ count: 0, code: 'clock_refused' });
    clock.advance(HOUR_MS);
    expect(await drain(ledger, 3)).toEqual({ count: 48, code: 'budget_exceeded' });
    expect(ledger.status().day).toBe(DAY + 1);
    await ledger.close();
  });

  test.each([DAY_MS, YEARS_10_MS])('a jump of %i ms ahead opens nothing', async (jumpMs) => {
    const { ledger, clock } = await freshLedger();
    await drain(ledger, 1);
    clock.wallMs += jumpMs;
    expect(await drain(ledger, 2)).toEqual({ count: 0, code: 'clock_refused' });
    expect(ledger.status().day).toBe(DAY);
    await ledger.close();
  });

  test.each([DAY_MS, YEARS_10_MS])('a jump of %i ms back keeps the open day', async (jumpMs) => {
    const fixture = await freshLedger();
    await drain(fixture.ledger, 1);
    fixture.clock.wallMs -= jumpMs;
    expect(await drain(fixture.ledger, 2)).toEqual({ count: 0, code: 'clock_refused' });
    await fixture.ledger.close();
    const again = await openWith(fixture);
    expect(again.status().day).toBe(DAY);
    expect(await drain(again, 3)).toEqual({ count: 0, code: 'clock_refused' });
    await again.close();
  });

  test('restarts do not shorten the 24 hours', async () => {
    const fixture = await freshLedger();
    await drain(fixture.ledger, 1);
    let { ledger } = fixture;
    for (let restart = 1; restart <= 5; restart += 1) {
      await ledger.close();
      fixture.clock.advance(20 * HOUR_MS);
      ledger = await openWith(fixture);
      expect((await drain(ledger, restart + 1)).count).toBe(0);
    }
    await ledger.close();
  });
});

describe('with the coordinator', () => {
  test('the day opens when both clocks say so, at once', async () => {
    const fixture = await freshLedger();
    await fixture.ledger.close();
    let confirmed: number | undefined = DAY;
    const ledger = await openWith(fixture, { confirmedDay: () => confirmed });
    await drain(ledger, 1);
    fixture.clock.wallMs += DAY_MS;
    expect((await drain(ledger, 2)).code).toBe('clock_refused');
    confirmed = DAY + 1;
    expect(await drain(ledger, 3)).toEqual({ count: 48, code: 'budget_exceeded' });
    confirmed = DAY + 3_652;
    expect(await drain(ledger, 4)).toEqual({ count: 0, code: 'budget_exceeded' });
    expect(ledger.status().day).toBe(DAY + 1);
    await ledger.close();
  });

  test.each([
    [{ clockDay: 5, confirmedDay: undefined, sinceOpenedMs: 0 }, { step: 'stay' }],
    [{ clockDay: 4, confirmedDay: 9, sinceOpenedMs: DAY_MS }, { step: 'stay' }],
    [{ clockDay: 9, confirmedDay: 5, sinceOpenedMs: DAY_MS }, { step: 'wait' }],
    [
      { clockDay: 9, confirmedDay: 7, sinceOpenedMs: 0 },
      { step: 'open', day: 7, cause: 'confirmed' },
    ],
    [
      { clockDay: 6, confirmedDay: 7, sinceOpenedMs: 0 },
      { step: 'open', day: 6, cause: 'confirmed' },
    ],
    [{ clockDay: 6, confirmedDay: undefined, sinceOpenedMs: DAY_MS - 1 }, { step: 'wait' }],
    [
      { clockDay: 6, confirmedDay: undefined, sinceOpenedMs: DAY_MS },
      { step: 'open', day: 6, cause: 'uptime' },
    ],
  ] as const)('on day 5, %o gives %o', (input, expected) => {
    expect(decideWindow({ day: 5, ...input })).toEqual(expected);
  });
});

describe('a jump taken back', () => {
  test('goes on where it was, with everything spent since; the later day keeps what was spent on it', async () => {
    const fixture = await freshLedger();
    const { ledger, clock } = fixture;
    await answer(ledger, { query: 1, department: 'research' });
    clock.upMs += DAY_MS;
    clock.wallMs += YEARS_10_MS;
    await answer(ledger, { query: 2, department: 'research' });
    expect(ledger.status().day).toBe(DAY + 3_652);
    clock.wallMs -= YEARS_10_MS;
    const pending = await reserved(ledger, { query: 3, department: 'research' });
    await ledger.undoWindow(DAY, decision);
    const day = () =>
      ledger.readings(request({ department: 'research' })).find((one) => one.ledger === 'department_day')!;
    expect(day().spentUnits).toBe(3n * pending.costs.department_day);
    expect(day().day).toBe(DAY);
    // The charge was made on the far day; given back, it still counts on this one.
    await pending.refund('queue_full');
    expect(day().spentUnits).toBe(3n * pending.costs.department_day);
    await ledger.close();
    const again = await openWith(fixture);
    expect(again.status().day).toBe(DAY);
    expect(again.readings(request({ department: 'research' })).map((one) => one.spentUnits)[2]).toBe(
      3n * pending.costs.department_day,
    );
    clock.upMs += DAY_MS;
    clock.wallMs += YEARS_10_MS;
    expect((await drain(again, 9)).count).toBe(47);
    await again.close();
  });

  test('not before a confirmed day, not ahead, not without a name; charges meanwhile are not lost', async () => {
    const fixture = await freshLedger();
    await fixture.ledger.close();
    const ledger = await openWith(fixture, { confirmedDay: () => DAY + 1 });
    fixture.clock.advance(DAY_MS);
    await reserved(ledger, { query: 1 });
    for (const day of [DAY, DAY + 1, DAY + 2])
      await expect(ledger.undoWindow(day, decision)).rejects.toMatchObject({ code: 'conflict' });
    await ledger.close();
    const other = await freshLedger();
    other.clock.advance(DAY_MS);
    await reserved(other.ledger, { query: 1 });
    await expect(other.ledger.undoWindow(DAY, { by: '', reason: 'x' })).rejects.toMatchObject({
      code: 'invalid_request',
    });
    const [undone, charged] = await Promise.allSettled([
      other.ledger.undoWindow(DAY, decision),
      reserved(other.ledger, { query: 2 }),
    ]);
    expect([undone.status, charged.status]).toEqual(['fulfilled', 'fulfilled']);
    const user = other.ledger.readings(request()).find((one) => one.ledger === 'user_day')!;
    expect(user.spentUnits).toBe(2n * other.ledger.quote(request(), request().mechanisms).costs.user_day);
    await other.ledger.close();
  });
});

describe('any clock', () => {
  const move = fc.oneof(
    fc.record({ type: fc.constant('up' as const), ms: fc.integer({ min: 1, max: 30 * HOUR_MS }) }),
    fc.record({
      type: fc.constant('wall' as const),
      ms: fc.integer({ min: -YEARS_10_MS, max: YEARS_10_MS }),
    }),
    fc.record({ type: fc.constant('confirm' as const), ms: fc.integer({ min: -3, max: 3 }) }),
    fc.record({ type: fc.constant('restart' as const), ms: fc.constant(0) }),
  );

  test('per day number at most the cap is spent, and no more new days than the rules allow', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(move, { minLength: 1, maxLength: 12 }), async (moves) => {
        const fixture = await freshLedger();
        let { ledger } = fixture;
        let confirmed: number | undefined;
        let upMs = 0;
        let confirmedOpened = 0;
        const byDay = new Map<number, number>();
        for (const [at, { type, ms }] of moves.entries()) {
          if (type === 'up') {
            fixture.clock.advance(ms);
            upMs += ms;
          } else if (type === 'wall') fixture.clock.wallMs += ms;
          else if (type === 'confirm') confirmed = ms === 0 ? undefined : DAY + ms;
          else {
            await ledger.close();
            ledger = await openWith(fixture, { confirmedDay: () => confirmed });
          }
          const before = ledger.status().day;
          // Epsilon 1 against a budget of 3: one or two fit.
          for (let query = 0; query < 4; query += 1) {
            const accepted = await reserved(ledger, {
              query: at * 10 + query,
              department: 'research',
              epsilon: '1',
            }).then(
              () => 1,
              () => 0,
            );
            const day = ledger.status().day;
            byDay.set(day, (byDay.get(day) ?? 0) + accepted);
          }
          expect(ledger.status().day).toBeGreaterThanOrEqual(before);
          if (ledger.status().day > before && confirmed !== undefined) confirmedOpened += 1;
        }
        await ledger.close();
        for (const accepted of byDay.values()) expect(accepted).toBeLessThanOrEqual(3);
        expect(byDay.size - 1 - confirmedOpened).toBeLessThanOrEqual(Math.floor(upMs / DAY_MS));
      }),
      { numRuns: 40 },
    );
  });
});
