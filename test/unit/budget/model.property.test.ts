/** Random histories against a model that keeps exact fractions and knows nothing of journals. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS, type Ledger, type Reservation } from '../../../agent/budget/ledger.ts';
import { QflError } from '../../../shared/errors.ts';
import { microEpsilon } from '../../../shared/privacy/epsilon.ts';
import { type Fixture, freshLedger, openWith, request } from './fixture.ts';

const small = (epsilon: number) => ({ microEpsilon: microEpsilon(epsilon * 1e6), delta: '1e-5' });
/** Basic composition: costs are plain decimals, so the model can count in tenths. */
const LIMITS = {
  ...DEFAULT_LIMITS,
  rule: 'basic' as const,
  userDay: small(1),
  askingSiteDay: small(3),
  departmentDay: { [request().department]: small(2) },
  siteLifetime: small(4),
};
const CAPS = { user_day: 10, asking_site_day: 30, department_day: 20, site_lifetime: 40 };

type Step =
  | { readonly type: 'reserve'; readonly query: number; readonly tenths: number }
  | { readonly type: 'start' | 'commit' | 'refund' | 'abandon'; readonly query: number }
  | { readonly type: 'restart' };

const query = fc.integer({ min: 0, max: 9 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('reserve' as const),
      query,
      tenths: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constantFrom('start' as const, 'commit' as const, 'refund' as const, 'abandon' as const),
      query,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'restart' as const }) },
);

interface ModelQuery {
  state: 'reserved' | 'computing' | 'answered' | 'unknown';
  readonly tenths: number;
}

const USERS = 3;
const SENDERS = ['south', 'west'];
const shapeOf = (number: number) => ({ query: number, user: number % USERS, sender: SENDERS[number % 2]! });

const spentTenths = (queries: ReadonlyMap<number, ModelQuery>, chosen: (number: number) => boolean): number =>
  [...queries].reduce((sum, [number, one]) => sum + (chosen(number) ? one.tenths : 0), 0);

const modelSums = (
  queries: ReadonlyMap<number, ModelQuery>,
  number: number,
): Record<keyof typeof CAPS, number> => {
  const sameSite = (other: number): boolean => other % 2 === number % 2;
  return {
    site_lifetime: spentTenths(queries, () => true),
    asking_site_day: spentTenths(queries, sameSite),
    department_day: spentTenths(queries, sameSite),
    user_day: spentTenths(queries, (other) => sameSite(other) && other % USERS === number % USERS),
  };
};

const expectedOfReserve = (
  queries: ReadonlyMap<number, ModelQuery>,
  number: number,
  tenths: number,
): string => {
  const known = queries.get(number);
  if (known?.state === 'answered') return 'answered';
  if (known?.state === 'unknown') return 'outcome_unknown';
  if (known !== undefined) return 'running';
  const sums = modelSums(queries, number);
  const fits = (Object.keys(CAPS) as (keyof typeof CAPS)[]).every(
    (kind) => sums[kind] + tenths <= CAPS[kind],
  );
  return fits ? 'reserved' : 'budget_exceeded';
};

/** A tenth of epsilon in the units of basic composition. */
const UNITS_PER_TENTH = 10n ** 11n;

interface World {
  readonly fixture: Fixture;
  ledger: Ledger;
  readonly queries: Map<number, ModelQuery>;
  readonly seats: Map<number, Reservation>;
  /** Where ledger and model differ. */
  readonly differences: string[];
}

const isPending = ({ state }: ModelQuery): boolean => state === 'reserved' || state === 'computing';

const restart = async (world: World): Promise<void> => {
  await world.ledger.close();
  world.ledger = await openWith(world.fixture);
  for (const known of world.queries.values()) if (isPending(known)) known.state = 'unknown';
  world.seats.clear();
};

const reserve = async (world: World, number: number, tenths: number): Promise<void> => {
  const expected = expectedOfReserve(world.queries, number, tenths);
  const shape = { ...shapeOf(number), epsilon: `0.${tenths}` };
  try {
    const result = await world.ledger.reserve(request(shape));
    if (result.status !== expected) world.differences.push(`${number}: ${result.status}, not ${expected}`);
    if (result.status !== 'reserved') return;
    world.seats.set(number, result);
    world.queries.set(number, { state: 'reserved', tenths });
  } catch (error) {
    const code = error instanceof QflError ? error.code : String(error);
    if (code !== expected) world.differences.push(`${number}: ${code}, not ${expected}`);
  }
};

const goOn = async (
  world: World,
  type: 'start' | 'commit' | 'refund' | 'abandon',
  number: number,
): Promise<void> => {
  const known = world.queries.get(number);
  const seat = world.seats.get(number);
  if (known === undefined || seat === undefined) return;
  if (type === 'start' && known.state === 'reserved') {
    seat.startComputing();
    known.state = 'computing';
  } else if (type === 'commit' && known.state === 'computing') {
    await seat.commit(Buffer.from('answer'));
    known.state = 'answered';
  } else if (type === 'refund' && known.state === 'reserved') {
    await seat.refund('queue_full');
    world.queries.delete(number);
  } else if (type === 'abandon' && isPending(known)) {
    await seat.abandon();
    known.state = 'unknown';
  }
};

const compareSums = ({ ledger, queries, differences }: World, number: number): void => {
  const sums = modelSums(queries, number);
  for (const { ledger: kind, spentUnits } of ledger.readings(request(shapeOf(number)))) {
    const expected = BigInt(sums[kind]) * UNITS_PER_TENTH;
    if (spentUnits !== expected) differences.push(`${kind}: ${spentUnits}, not ${expected}`);
  }
};

const play = async (world: World, one: Step): Promise<void> => {
  if (one.type === 'restart') return await restart(world);
  if (one.type === 'reserve') await reserve(world, one.query, one.tenths);
  else await goOn(world, one.type, one.query);
  compareSums(world, one.query);
};

describe('random histories', () => {
  test('every outcome and every sum is what the exact model says, across restarts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const { ledger, ...fixture } = await freshLedger(LIMITS);
        const world: World = { fixture, ledger, queries: new Map(), seats: new Map(), differences: [] };
        for (const one of steps) await play(world, one);
        await world.ledger.close();
        expect(world.differences).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});
