/** A ledger over a simulated disk, and queries to charge it with. */
import {
  createLedger,
  DEFAULT_LIMITS,
  type Ledger,
  type LedgerLimits,
  openLedger,
} from '../../../agent/budget/ledger.ts';
import type { ChargeRequest, Reservation } from '../../../agent/budget/ledger.ts';
import { type Clock, DAY_MS, HOUR_MS } from '../../../shared/clock.ts';
import { DepartmentId, Pseudonym, QueryId, SiteId } from '../../../shared/ids.ts';
import { parseEpsilon } from '../../../shared/privacy/epsilon.ts';
import { laplaceForEpsilon } from '../../../shared/privacy/mechanism.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import type { OpenOptions } from '../../../agent/budget/open.ts';
import { createSimulatedDisk, type SimulatedDisk } from './simulated-disk.ts';

export const DATA_KEY = new Uint8Array(32).fill(5);
export const SITE = SiteId.parse('north');
export const SENDER = SiteId.parse('south');
/** Noon of a day. */
export const START_MS = 20_000 * DAY_MS + 12 * HOUR_MS;

export interface TestClock extends Clock {
  wallMs: number;
  upMs: number;
  /** Both clocks move on. */
  advance(ms: number): void;
}

export const testClock = (): TestClock => ({
  wallMs: START_MS,
  upMs: 0,
  nowMs() {
    return this.wallMs;
  },
  monotonicMs() {
    return this.upMs;
  },
  advance(ms) {
    this.wallMs += ms;
    this.upMs += ms;
  },
});

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

export interface RequestShape {
  readonly query?: number;
  readonly user?: number;
  readonly department?: string;
  readonly sender?: string;
  readonly epsilon?: string;
}

export const request = ({
  query = 0,
  user = 0,
  department = 'general',
  sender = SENDER,
  epsilon = '0.1',
}: RequestShape = {}): ChargeRequest => ({
  sender: SiteId.parse(sender),
  queryId: QueryId.parse(hex(query, 32)),
  envelopeHash: hex(query + 7, 64),
  asker: Pseudonym.parse(hex(user, 32)),
  department: DepartmentId.parse(department),
  mechanisms: [
    laplaceForEpsilon(
      { epsilon: parseEpsilon(epsilon), sensitivity: 1n },
      { microEpsilonPerQueryMax: DEFAULT_LIMITS.microEpsilonPerQueryMax },
    ),
  ],
});

export interface Fixture {
  readonly disk: SimulatedDisk;
  readonly clock: TestClock;
  readonly store: Store;
}

export const newFixture = async (
  disk = createSimulatedDisk(),
  limits: LedgerLimits = DEFAULT_LIMITS,
): Promise<Fixture> => {
  const clock = testClock();
  await createLedger({ folder: disk, dataKey: DATA_KEY, clock, site: SITE, limits });
  return { disk, clock, store: createMemoryStore() };
};

export const openWith = (fixture: Fixture, more: Partial<OpenOptions> = {}): Promise<Ledger> =>
  openLedger({
    folder: fixture.disk,
    store: fixture.store,
    dataKey: DATA_KEY,
    clock: fixture.clock,
    site: SITE,
    freeBytesFloor: 0,
    reserveBytes: 64,
    ...more,
  });

/** A fresh ledger, open. */
export const freshLedger = async (
  limits: LedgerLimits = DEFAULT_LIMITS,
): Promise<Fixture & { readonly ledger: Ledger }> => {
  const fixture = await newFixture(createSimulatedDisk(), limits);
  return { ...fixture, ledger: await openWith(fixture) };
};

/** The reservation; a failure when the query was not charged anew. */
export const reserved = async (ledger: Ledger, shape: RequestShape = {}): Promise<Reservation> => {
  const result = await ledger.reserve(request(shape));
  if (result.status !== 'reserved') throw new Error(`expected a reservation, got ${result.status}`);
  return result;
};

/** Charges and answers with `answer`. */
export const answer = async (
  ledger: Ledger,
  shape: RequestShape,
  bytes = Buffer.from(`answer ${shape.query ?? 0}`),
) => {
  const reservation = await reserved(ledger, shape);
  reservation.startComputing();
  return await reservation.commit(bytes);
};

export const spentUnits = (ledger: Ledger, shape: RequestShape = {}): Record<string, bigint> =>
  Object.fromEntries(ledger.readings(request(shape)).map((reading) => [reading.ledger, reading.spentUnits]));
