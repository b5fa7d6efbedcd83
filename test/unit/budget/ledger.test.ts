import { describe, expect, test } from 'vitest';
import { createLedger, DEFAULT_LIMITS } from '../../../agent/budget/ledger.ts';
import { fromUtf8 } from '../../../shared/bytes.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import {
  answer,
  DATA_KEY,
  freshLedger,
  newFixture,
  openWith,
  request,
  reserved,
  SITE,
  spentUnits,
} from './fixture.ts';

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('a charge', () => {
  test('falls on four ledgers together, and is there after a restart', async () => {
    const fixture = await freshLedger();
    const { ledger } = fixture;
    const result = await answer(ledger, { query: 1 });
    const spent = spentUnits(ledger);
    expect(spent).toEqual(result.costs);
    expect(Object.values(spent).every((units) => units > 0n)).toBe(true);
    expect(result.spendUnits).toBe(spent['site_lifetime']);
    await ledger.close();
    const again = await openWith(fixture);
    expect(spentUnits(again)).toEqual(spent);
    expect(again.head().counter).toBe(2);
    await again.close();
  });

  test('repeated after its end gives the same bytes and spends nothing, also after a restart', async () => {
    const fixture = await freshLedger();
    const first = await answer(fixture.ledger, { query: 1 }, Buffer.from('sealed'));
    const spent = spentUnits(fixture.ledger);
    const repeat = await fixture.ledger.reserve(request({ query: 1 }));
    expect(repeat).toEqual({
      ...first,
      sealedAnswer: repeat.status === 'answered' ? repeat.sealedAnswer : undefined,
    });
    await fixture.ledger.close();
    for (const store of [fixture.store, createMemoryStore()]) {
      const again = await openWith({ ...fixture, store });
      const later = await again.reserve(request({ query: 1 }));
      expect(later.status).toBe('answered');
      if (later.status !== 'answered') return;
      expect(fromUtf8(later.sealedAnswer)).toBe('sealed');
      expect(later.recordHash).toEqual(first.recordHash);
      expect(later.costs).toEqual(first.costs);
      expect(spentUnits(again)).toEqual(spent);
      await again.close();
    }
  });

  test('repeated while it runs joins the run', async () => {
    const { ledger } = await freshLedger();
    const [first, ...others] = await Promise.all(
      Array.from({ length: 50 }, () => ledger.reserve(request({ query: 1 }))),
    );
    expect(others.map(({ status }) => status)).toEqual(Array.from({ length: 49 }, () => 'running'));
    if (first?.status !== 'reserved') throw new Error('the first is charged');
    expect(spentUnits(ledger)).toEqual(first.costs);
    first.startComputing();
    await first.commit(Buffer.from('one answer'));
    for (const other of others) {
      if (other.status !== 'running') throw new Error('the others join');
      const outcome = await other.settled;
      expect(outcome.status === 'answered' ? fromUtf8(outcome.sealedAnswer) : outcome.status).toBe(
        'one answer',
      );
    }
    expect(spentUnits(ledger)).toEqual(first.costs);
    await ledger.close();
  });

  test('another envelope under the same query id is another charge', async () => {
    const { ledger } = await freshLedger();
    const first = await answer(ledger, { query: 1 });
    const other = await ledger.reserve({ ...request({ query: 1 }), envelopeHash: 'ab'.repeat(32) });
    expect(other.status).toBe('reserved');
    expect(spentUnits(ledger)['site_lifetime']).toBe(2n * first.spendUnits);
    await ledger.close();
  });

  test('open at a crash becomes outcome_unknown, its charge kept, for good', async () => {
    const fixture = await freshLedger();
    const running = await reserved(fixture.ledger, { query: 1 });
    running.startComputing();
    await reserved(fixture.ledger, { query: 2 });
    await fixture.ledger.close();
    let ledger = await openWith(fixture);
    for (let restart = 0; restart < 2; restart += 1) {
      for (const query of [1, 2])
        await expect(ledger.reserve(request({ query }))).rejects.toThrow(code('outcome_unknown'));
      expect(spentUnits(ledger)['user_day']).toBe(2n * running.costs.user_day);
      await ledger.close();
      ledger = await openWith(fixture);
    }
    expect(ledger.status().openReservations).toBe(0);
    await ledger.close();
  });

  test('a run that failed keeps its charge; who joined it is told', async () => {
    const { ledger } = await freshLedger();
    const run = await reserved(ledger, { query: 1 });
    const joined = await ledger.reserve(request({ query: 1 }));
    run.startComputing();
    await run.abandon();
    if (joined.status !== 'running') throw new Error('the second joins');
    await expect(joined.settled).rejects.toThrow(code('outcome_unknown'));
    await expect(ledger.reserve(request({ query: 1 }))).rejects.toThrow(code('outcome_unknown'));
    expect(spentUnits(ledger)).toEqual(run.costs);
    await ledger.close();
  });
});

describe('refunds', () => {
  test('before the start give everything back, and the query may be sent again', async () => {
    const fixture = await freshLedger();
    const run = await reserved(fixture.ledger, { query: 1 });
    const joined = await fixture.ledger.reserve(request({ query: 1 }));
    await run.refund('backend_absent');
    if (joined.status !== 'running') throw new Error('the second joins');
    expect(await joined.settled).toEqual({ status: 'refunded', reason: 'backend_absent' });
    expect(Object.values(spentUnits(fixture.ledger))).toEqual([0n, 0n, 0n, 0n]);
    const anew = await answer(fixture.ledger, { query: 1 });
    await fixture.ledger.close();
    const again = await openWith(fixture);
    expect(spentUnits(again)).toEqual(anew.costs);
    await again.close();
  });

  test('after the start, twice, or after the end stop the program', async () => {
    const { ledger } = await freshLedger();
    const started = await reserved(ledger, { query: 1 });
    started.startComputing();
    await expect(started.refund('backend_absent')).rejects.toThrow(/does not allow/);
    const refunded = await reserved(ledger, { query: 2 });
    await refunded.refund('not_permitted');
    await expect(refunded.refund('not_permitted')).rejects.toThrow(/does not allow/);
    await expect(refunded.commit(Buffer.from('x'))).rejects.toThrow(/does not allow/);
    expect(() => refunded.startComputing()).toThrow(/does not allow/);
    expect(spentUnits(ledger)).toEqual(started.costs);
    await ledger.close();
  });

  test('an answer cannot be kept before the run has started', async () => {
    const { ledger } = await freshLedger();
    const run = await reserved(ledger);
    await expect(run.commit(Buffer.from('x'))).rejects.toThrow(/does not allow/);
    await ledger.close();
  });
});

describe('folders', () => {
  test('only createLedger makes a ledger, and only once', async () => {
    const fixture = await newFixture();
    const place = {
      folder: fixture.disk,
      dataKey: DATA_KEY,
      clock: fixture.clock,
      site: SITE,
      limits: DEFAULT_LIMITS,
    };
    await expect(createLedger(place)).rejects.toThrow(code('conflict'));
    await fixture.disk.remove('ledger.journal');
    await expect(openWith(fixture)).rejects.toThrow(code('ledger_refuses'));
    const other = await newFixture();
    await other.disk.remove('ledger.mark');
    await expect(openWith(other)).rejects.toThrow(code('ledger_refuses'));
  });

  test('two writers: the second is refused, and may come when the first has gone', async () => {
    const fixture = await freshLedger();
    await expect(openWith(fixture)).rejects.toThrow(code('conflict'));
    await fixture.ledger.close();
    await (await openWith(fixture)).close();
  });

  test('a ledger of another site, or under another key, is refused', async () => {
    const fixture = await newFixture();
    await expect(openWith(fixture, { site: request().sender })).rejects.toThrow(code('ledger_refuses'));
    await expect(openWith(fixture, { dataKey: new Uint8Array(32) })).rejects.toThrow(code('storage_failed'));
    await (await openWith(fixture)).close();
  });

  test('too little space is refused', async () => {
    const fixture = await newFixture();
    fixture.disk.setCapacity(10_000);
    await expect(openWith(fixture, { freeBytesFloor: 1_000_000 })).rejects.toThrow(code('ledger_refuses'));
  });

  test('closed means closed', async () => {
    const { ledger } = await freshLedger();
    await ledger.close();
    await expect(ledger.reserve(request())).rejects.toThrow(code('ledger_refuses'));
  });

  test('nothing readable stands in the journal', async () => {
    const { ledger, disk } = await freshLedger();
    await answer(ledger, { query: 1, department: 'surgery' }, Buffer.from('visible words'));
    await ledger.close();
    const bytes = Buffer.concat([...disk.content().values()].map((content) => Buffer.from(content)));
    for (const text of ['visible words', 'surgery', 'south', 'discrete_laplace', 'genesis'])
      expect(bytes.includes(text)).toBe(false);
  });
});

describe('history and limits', () => {
  test('pages come newest first and together are everything', async () => {
    const { ledger } = await freshLedger();
    for (let query = 0; query < 300; query += 1)
      await answer(ledger, { query, user: query, sender: `site-${query % 7}` });
    const seen: number[] = [];
    let before: number | undefined;
    for (;;) {
      const page = await ledger.history({ limit: 97, ...(before === undefined ? {} : { before }) });
      if (page.length === 0) break;
      seen.push(...page.map(({ counter }) => counter));
      before = page.at(-1)!.counter;
    }
    expect(seen).toEqual(Array.from({ length: 601 }, (_, at) => 600 - at));
    const [last] = await ledger.history({ limit: 1 });
    expect(last?.record.type).toBe('committed');
    await ledger.close();
  });

  test('other budgets come into force at once and stay after a restart; spent sums and orders stay', async () => {
    const fixture = await freshLedger();
    await answer(fixture.ledger, { query: 1, department: 'research' });
    const before = fixture.ledger.readings(request({ department: 'research' }));
    const raised = {
      ...DEFAULT_LIMITS,
      siteLifetime: { ...DEFAULT_LIMITS.siteLifetime, microEpsilon: DEFAULT_LIMITS.userDay.microEpsilon },
    };
    await fixture.ledger.changeLimits(raised, { by: 'steward', reason: 'review of March' });
    await fixture.ledger.close();
    const again = await openWith(fixture);
    const after = again.readings(request({ department: 'research' }));
    expect(after.map(({ spentUnits: units, orderTenths }) => [units, orderTenths])).toEqual(
      before.map(({ spentUnits: units, orderTenths }) => [units, orderTenths]),
    );
    expect(after[0]!.budgetUnits).toBeLessThan(before[0]!.budgetUnits);
    expect(again.limits()).toEqual(raised);
    await expect(
      again.changeLimits({ ...raised, rule: 'basic' }, { by: 'steward', reason: 'no' }),
    ).rejects.toThrow(code('config_invalid'));
    await again.close();
  });

  test('what is spent is shown as a share of the budget, rounded up', async () => {
    const { ledger } = await freshLedger();
    for (let query = 0; query < 361; query += 1) await reserved(ledger, { query, department: 'icu' });
    const user = ledger
      .readings(request({ department: 'icu' }))
      .find((reading) => reading.ledger === 'user_day')!;
    expect(user.spentMicroEpsilon + user.remainingMicroEpsilon).toBe(10_000_000);
    expect(user.remainingMicroEpsilon).toBeLessThan(30_000);
    await ledger.close();
  });
});
