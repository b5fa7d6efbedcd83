/** The rule that keeps every order, and ledgers per data block, through the real ledger. */
import { describe, expect, test } from 'vitest';
import { Block } from '../../../agent/budget/blocks.ts';
import { amountOfScalar, scalarOf } from '../../../agent/budget/filters.ts';
import { DEFAULT_LIMITS, type Ledger, type LedgerLimits } from '../../../agent/budget/ledger.ts';
import { verifyLedger } from '../../../agent/budget/verify.ts';
import { SiteId } from '../../../shared/ids.ts';
import { rhoBudget } from '../../../shared/privacy/conversion.ts';
import {
  createCurveFilter,
  curveAdmits,
  curveCost,
  curveSum,
  noCurveSpent,
} from '../../../shared/privacy/curve-filter.ts';
import { microEpsilon, parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import { discreteGaussian, type Mechanism } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import { answer, DATA_KEY, freshLedger, openWith, request, reserved, SITE } from './fixture.ts';

const ample = { microEpsilon: microEpsilon(100_000 * 1e6), delta: '1e-5' };
const ample4 = { userDay: ample, askingSiteDay: ample, siteLifetime: ample };
const decision = { by: 'Dr Admin', reason: 'a test' };

/** Charges queries until one is refused. */
const chargeUntilRefused = async (
  ledger: Ledger,
  mechanisms: readonly Mechanism[],
  from: number,
): Promise<{ accepted: number; error: unknown }> => {
  for (let accepted = 0; ; accepted += 1) {
    try {
      const query = from + accepted;
      const seat = await ledger.reserve({
        ...request({ query, user: query, department: 'research' }),
        mechanisms,
      });
      if (seat.status !== 'reserved') throw new Error('each query is new');
    } catch (error) {
      return { accepted, error };
    }
  }
};

describe('rdp_curve', () => {
  const limits: LedgerLimits = { ...DEFAULT_LIMITS, ...ample4, rule: 'rdp_curve' };
  const laplace = request().mechanisms;
  const gaussian = [discreteGaussian(rational(1n), rational(400n))];

  test('admits exactly what the pure filter admits, for counts, for Gaussians and for both in turn', async () => {
    const filter = createCurveFilter({ epsilon: parseEpsilon('3'), delta: 1e-5 });
    for (const kinds of [[laplace], [gaussian], [laplace, gaussian]]) {
      const { ledger } = await freshLedger(limits);
      let spent = noCurveSpent;
      let expected = 0;
      for (;;) {
        const cost = curveCost(kinds[expected % kinds.length]![0]!);
        if (!curveAdmits(filter, spent, cost)) break;
        spent = curveSum(spent, cost);
        expected += 1;
      }
      let accepted = 0;
      const refusal = await (async (): Promise<unknown> => {
        for (;;) {
          const asked = request({ query: accepted, user: accepted, department: 'research' });
          try {
            await ledger.reserve({ ...asked, mechanisms: kinds[accepted % kinds.length]! });
          } catch (error) {
            return error;
          }
          accepted += 1;
        }
      })();
      expect(refusal).toMatchObject({ code: 'budget_exceeded', facts: { ledger: 'department_day' } });
      expect(accepted).toBe(expected);
      await ledger.close();
    }
  });

  test('admits at least what zCDP does', async () => {
    const zcdp = await freshLedger({ ...limits, rule: 'zcdp' });
    const curve = await freshLedger(limits);
    const byZcdp = await chargeUntilRefused(zcdp.ledger, laplace, 0);
    const byCurve = await chargeUntilRefused(curve.ledger, laplace, 0);
    expect(byZcdp.accepted).toBe(44);
    expect(byCurve.accepted).toBeGreaterThanOrEqual(44);
    expect(rhoBudget(3, 1e-5)).toBeCloseTo(0.2242, 3);
  });

  test('charges, refunds, repeats and checkpoints are the same after a restart', async () => {
    const { ledger, ...fixture } = await freshLedger(limits);
    for (let query = 0; query < 12; query += 1) await answer(ledger, { query });
    await (await reserved(ledger, { query: 50 })).refund('queue_full');
    const before = ledger.readings(request());
    await ledger.close();
    const again = await openWith(fixture, { checkpointRecords: 4 });
    expect(again.readings(request())).toEqual(before);
    expect((await again.reserve(request({ query: 3 }))).status).toBe('answered');
    await answer(again, { query: 60 });
    await again.close();
    const report = await verifyLedger({
      folder: fixture.disk,
      dataKey: DATA_KEY,
      clock: fixture.clock,
      site: SITE,
    });
    expect(report.faults).toEqual([]);
    expect(report.checkpoints.length).toBeGreaterThan(0);
  });

  test('the one number of an amount stands for at least the whole of it', () => {
    for (const mechanism of [...laplace, ...gaussian]) {
      const amount = [...curveCost(mechanism), 0n];
      const back = amountOfScalar('rdp_curve', scalarOf('rdp_curve', amount));
      expect(back.every((units, at) => units >= amount[at]!)).toBe(true);
    }
    expect(scalarOf('zcdp', [7n, 3n])).toBe(7n);
    expect(amountOfScalar('zcdp', 7n, 3n)).toEqual([7n, 3n]);
  });
});

describe('a cap per named asking site', () => {
  test('holds for that site, the common one for the others', async () => {
    const { ledger } = await freshLedger({
      ...DEFAULT_LIMITS,
      ...ample4,
      departmentDay: { [request().department]: ample },
      askingSiteDay: { microEpsilon: microEpsilon(2_000_000), delta: '1e-5' },
      askingSites: { [SiteId.parse('west')]: { microEpsilon: microEpsilon(1_000_000), delta: '1e-5' } },
    });
    const until = async (sender: string, from: number): Promise<number> => {
      for (let accepted = 0; ; accepted += 1)
        try {
          await reserved(ledger, { query: from + accepted, user: accepted, sender });
        } catch {
          return accepted;
        }
    };
    const common = await until('south', 0);
    const named = await until('west', 1_000);
    expect(named).toBeGreaterThan(0);
    expect(named).toBeLessThan(common);
    expect(await until('east', 2_000)).toBe(common);
    await ledger.close();
  });
});

describe('data blocks', () => {
  const limits: LedgerLimits = {
    ...DEFAULT_LIMITS,
    ...ample4,
    departmentDay: { [request().department]: ample },
    dataBlock: { microEpsilon: microEpsilon(1_000_000), delta: '1e-6' },
  };
  const ask = (ledger: Ledger, query: number, blocks?: readonly string[]) =>
    ledger.reserve({ ...request({ query, user: query }), ...(blocks === undefined ? {} : { blocks }) });

  test('are charged together with the rest or not at all, and only those that are read', async () => {
    const { ledger, ...fixture } = await freshLedger(limits);
    let accepted = 0;
    const refusal = await (async () => {
      for (;;) {
        try {
          await ask(ledger, accepted, ['2026-03']);
          accepted += 1;
        } catch (error) {
          return error;
        }
      }
    })();
    expect(accepted).toBeGreaterThan(3);
    expect(refusal).toMatchObject({
      code: 'budget_exceeded',
      facts: { ledger: 'block/2026-03', renewsAtMs: null },
    });
    const spent = ledger.status().lifetimeUnits;
    await expect(ask(ledger, 500, ['2026-02', '2026-03'])).rejects.toMatchObject({ code: 'budget_exceeded' });
    expect(ledger.status().lifetimeUnits).toBe(spent);
    expect(ledger.quote(request(), request().mechanisms, ['2026-03']).fits).toBe(false);
    expect(ledger.quote(request(), request().mechanisms, ['2026-02']).fits).toBe(true);
    // The refused one charged nothing to the month that had room: a new month takes as many as the first did.
    await ledger.close();
    const again = await openWith(fixture);
    for (let query = 0; query < accepted; query += 1) await ask(again, 1_000 + query, ['2026-02']);
    await expect(ask(again, 3_000, ['2026-02'])).rejects.toMatchObject({
      facts: { ledger: 'block/2026-02' },
    });
    await again.close();
  });

  test('retired are never read again, after a restart neither', async () => {
    const { ledger, ...fixture } = await freshLedger(limits);
    await ledger.retireBlock(Block.parse('2025-12'), decision);
    await expect(ledger.retireBlock(Block.parse('2025-12'), decision)).rejects.toMatchObject({
      code: 'conflict',
    });
    await ledger.close();
    const again = await openWith(fixture);
    await expect(ask(again, 1, ['2025-12'])).rejects.toMatchObject({ facts: { ledger: 'block/2025-12' } });
    expect((await ask(again, 2, ['2026-01'])).status).toBe('reserved');
    await again.close();
  });

  test('must be named where they are kept, once each, and not where they are not', async () => {
    const { ledger } = await freshLedger(limits);
    for (const blocks of [undefined, [], ['2026-13'], ['2026-01', '2026-01']])
      await expect(ask(ledger, 1, blocks)).rejects.toMatchObject({ code: 'invalid_request' });
    const without = await freshLedger();
    await expect(ask(without.ledger, 1, ['2026-01'])).rejects.toMatchObject({ code: 'invalid_request' });
    expect(ledger.head().counter).toBe(0);
  });

  test('that begin later carry what was charged before them', async () => {
    const { dataBlock, ...others } = limits;
    const without = { ...others, siteLifetime: { microEpsilon: microEpsilon(1_200_000), delta: '1e-6' } };
    const { ledger } = await freshLedger(without);
    const fits = async (on: Ledger, from: number): Promise<number> => {
      for (let accepted = 0; ; accepted += 1)
        try {
          await ask(on, from + accepted, ['2026-03']);
        } catch {
          return accepted;
        }
    };
    for (const query of [1, 2, 3]) await answer(ledger, { query, user: query });
    await ledger.changeLimits({ ...without, dataBlock: dataBlock! }, decision);
    const late = await fits(ledger, 100);
    await ledger.close();
    // At the same order, with nothing charged before.
    const early = await freshLedger(without);
    await early.ledger.changeLimits({ ...without, dataBlock: dataBlock! }, decision);
    const all = await fits(early.ledger, 100);
    expect(late).toBe(all - 3);
    expect(all).toBeGreaterThan(3);
    await early.ledger.close();
    // Where the lifetime ledger was made for another scale, it is said rather than guessed.
    const far = await freshLedger(others);
    await expect(far.ledger.changeLimits(limits, decision)).rejects.toMatchObject({ code: 'config_invalid' });
    await far.ledger.close();
  });
});
