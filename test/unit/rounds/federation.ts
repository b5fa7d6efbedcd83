/**
 * Hospitals and a coordinator in one process, with the runners as they ship and real epoch keys; between them a line that a test may bend. Ledgers are
 * counters, work adds what it is given.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import pino from 'pino';
import type { RoundPolicy } from '../../../agent/rounds/policy.ts';
import { createSiteRounds, type SiteRounds } from '../../../agent/rounds/rounds.ts';
import { type RoundWorkers, workersOf } from '../../../agent/rounds/work.ts';
import type { ChargeRequest, Ledger, Reservation } from '../../../agent/budget/ledger.ts';
import { createRounds, type RoundRequest, type Rounds } from '../../../coordinator/rounds/rounds.ts';
import type { Connection } from '../../../coordinator/sites/presence.ts';
import type { AuditLog } from '../../../shared/audit/audit-log.ts';
import { systemClock } from '../../../shared/clock.ts';
import { always, createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import { createHedge } from '../../../shared/crypto/xwing.ts';
import { QflError } from '../../../shared/errors.ts';
import { DepartmentId, Pseudonym, SiteId } from '../../../shared/ids.ts';
import type { Vault } from '../../../shared/keys/vault.ts';
import { distributedGaussian, mechanismToText } from '../../../shared/privacy/mechanism.ts';
import { rational } from '../../../shared/privacy/rational.ts';
import type { RoundPrivacy } from '../../../shared/rounds/plan.ts';
import { minCohortOf } from '../../../shared/rounds/tolerance.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import type { Call, Handler, Received, Reply } from '../../../shared/wire/peer.ts';

export interface Hospital {
  readonly site: SiteId;
  readonly identity: Identity;
  store: Store;
  /** How often its home was put back from a backup. */
  restores: number;
  readonly ledger: Ledger;
  readonly charges: ChargeRequest[];
  readonly refunds: string[];
  rounds: SiteRounds;
  online: boolean;
}

export interface Line {
  /** What the coordinator says to a site may be changed, or thrown away with an error. */
  toSite?: (site: SiteId, method: string, message: Reply) => Reply;
  toCoordinator?: (site: SiteId, method: string, message: Reply) => Reply;
}

export interface LocalFederation {
  readonly hospitals: readonly Hospital[];
  rounds: Rounds;
  readonly line: Line;
  readonly policy: { value: RoundPolicy };
  readonly compared: Set<SiteId>;
  readonly folder: string;
  /** The coordinator's. */
  readonly store: Store;
  readonly coordinator: Identity;
  request(rest?: Partial<RoundRequest>): RoundRequest;
  /** The agent ends and starts again from its store. */
  restart(hospital: Hospital): Promise<void>;
  /** The coordinator ends and starts again from its store. */
  restartCoordinator(): Promise<void>;
  close(): Promise<void>;
}

const WORDS = 16;
export const PRIVACY: RoundPrivacy = {
  unit: 'patient',
  mechanisms: [
    mechanismToText(
      distributedGaussian({ sensitivitySquared: 4n, sigmaSquared: rational(100n), shares: 2, words: WORDS }),
    ),
  ],
};
/** What a site adds: known to the test. */
export const inputOf = (at: number): Int32Array<ArrayBuffer> =>
  Int32Array.from({ length: WORDS }, (_, word) => (at + 1) * 1_000 - word * 7);

const logger = pino({ level: 'silent' });
const audit = { record: () => Promise.resolve({ index: 0, size: 1, id: '' }) } as unknown as AuditLog;
const EMPTY = new Uint8Array(0);

const called = async (
  handler: Handler | undefined,
  { header, payload = EMPTY }: Reply,
): Promise<Received> => {
  const kept = header === undefined ? undefined : (JSON.parse(JSON.stringify(header)) as unknown);
  if (handler?.kind !== 'plain') throw new QflError('not_found', { detail: 'unknown method' });
  const call: Call = { header: kept, payload, signal: new AbortController().signal };
  const reply = await handler.answer(call);
  return { header: reply.header, payload: reply.payload ?? EMPTY };
};

const ledgerOf = (hospital: Pick<Hospital, 'charges' | 'refunds'>): Ledger => {
  const outcomes = new Map<string, 'unknown' | 'answered'>();
  const reserve = (request: ChargeRequest): Promise<unknown> => {
    const outcome = outcomes.get(request.queryId);
    if (outcome === 'answered') return Promise.resolve({ status: 'answered' });
    if (outcome === 'unknown') return Promise.reject(new QflError('outcome_unknown'));
    hospital.charges.push(request);
    outcomes.set(request.queryId, 'unknown');
    const reservation: Partial<Reservation> = {
      status: 'reserved',
      spendUnits: 1n,
      startComputing: () => undefined,
      commit() {
        outcomes.set(request.queryId, 'answered');
        return Promise.resolve({} as never);
      },
      abandon: () => Promise.resolve(),
      refund(reason) {
        hospital.refunds.push(reason);
        return Promise.resolve();
      },
    };
    return Promise.resolve(reservation);
  };
  return { reserve } as unknown as Ledger;
};

export interface LocalOptions {
  /** What a hospital computes; adds `inputOf` where left out. */
  readonly workersAt?: (at: number) => RoundWorkers;
  /** Its ledger; a counter where left out. */
  readonly ledgerAt?: (at: number) => Ledger;
  readonly allowsSiteUnit?: boolean;
}

export const startLocalFederation = async (
  count: number,
  { workersAt, ledgerAt, allowsSiteUnit = false }: LocalOptions = {},
): Promise<LocalFederation> => {
  const coordinator = createIdentity(Buffer.alloc(32, 99));
  const sites = Array.from({ length: count }, (_, at) =>
    SiteId.parse(`hospital-${String.fromCharCode(97 + at)}`),
  );
  const identities = sites.map((_, at) => createIdentity(Buffer.alloc(32, at + 1)));
  const identityOf = (site: SiteId) => identities[sites.indexOf(site)]?.publicKeys;
  const line: Line = {};
  const policy = {
    value: {
      minCohort: null,
      onlyCompared: false,
      allowsUnmasked: false,
      allowsSiteUnit,
    } as RoundPolicy,
  };
  const compared = new Set<SiteId>();
  const folder = await mkdtemp(join(tmpdir(), 'qfl-rounds-'));
  const coordinatorStore = createMemoryStore();

  const toCoordinator = async (hospital: Hospital, method: string, message: Reply): Promise<Received> => {
    for (let tries = 0; tries < 400 && !hospital.online; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 5));
    const bent = line.toCoordinator?.(hospital.site, method, message) ?? message;
    const answer = federation.rounds.calls[method];
    return called(
      answer === undefined ? undefined : { kind: 'plain', answer: (call) => answer(call, hospital.site) },
      bent,
    );
  };
  const startSite = (hospital: Hospital, at: number): SiteRounds =>
    createSiteRounds({
      self: hospital.site,
      federation: 'test',
      store: hospital.store,
      vault: {
        identity: hospital.identity,
        hedge: createHedge(Buffer.alloc(32, at + 1), (size) => randomBytes(size)),
      } as unknown as Vault,
      keys: identityOf,
      audit,
      restores: hospital.restores,
      ledger: hospital.ledger,
      clock: systemClock,
      random: (size) => randomBytes(size),
      logger,
      workers:
        workersAt?.(at) ??
        workersOf({
          kind: 'add',
          priceOf: () => PRIVACY,
          compute: () => Promise.resolve(inputOf(at)),
        }),
      policy: () => policy.value,
      isCompared: (site) => compared.has(site),
      coordinatorAt: always(coordinator.publicKeys),
      directoryReady: () => Promise.resolve(),
      blocks: () => undefined,
      caller: () => ({ request: (method, message) => toCoordinator(hospital, method, message) }),
    });
  const hospitals = sites.map((site, at): Hospital => {
    const hospital = {
      site,
      identity: identities[at]!,
      store: createMemoryStore(),
      charges: [],
      refunds: [],
      restores: 0,
      online: true,
    } as unknown as Hospital & { ledger: Ledger };
    hospital.ledger = ledgerAt?.(at) ?? ledgerOf(hospital);
    hospital.rounds = startSite(hospital, at);
    return hospital;
  });

  const connectionOf = (site: SiteId): Connection | undefined => {
    const hospital = hospitals[sites.indexOf(site)];
    if (hospital?.online !== true) return undefined;
    const peer = {
      request: (method: string, message: Reply) =>
        called(hospital.rounds.handlers[method], line.toSite?.(site, method, message) ?? message),
      notify(method: string, message: Reply) {
        const handler = hospital.rounds.handlers[method];
        if (handler?.kind === 'event') handler.accept({ header: message.header, payload: EMPTY });
      },
    };
    return { site, peer, connectedMs: 0, close: () => undefined } as unknown as Connection;
  };
  const startRounds = (): Rounds =>
    createRounds({
      home: folder,
      federation: 'test',
      store: coordinatorStore,
      presence: { of: connectionOf },
      identity: () => coordinator,
      identityOf,
      audit,
      clock: systemClock,
      random: (size) => randomBytes(size),
      logger,
    });

  const federation: LocalFederation = {
    hospitals,
    rounds: startRounds(),
    line,
    policy,
    compared,
    folder,
    store: coordinatorStore,
    coordinator,
    request: (rest = {}) => ({
      sites,
      words: WORDS,
      work: { kind: 'add', settings: {} },
      privacy: PRIVACY,
      model: null,
      masked: true,
      rule: 'sum',
      minCohort: minCohortOf(count),
      silenceMs: 1_000,
      asker: Pseudonym.parse('0'.repeat(32)),
      department: DepartmentId.parse('research'),
      task: null,
      ...rest,
    }),
    async restart(hospital) {
      await hospital.rounds.close();
      hospital.rounds = startSite(hospital, hospitals.indexOf(hospital));
      await hospital.rounds.resume();
    },
    async restartCoordinator() {
      await federation.rounds.close();
      // Nobody is heard before it goes on with what was under way.
      const next = startRounds();
      await next.resume();
      federation.rounds = next;
    },
    async close() {
      await federation.rounds.close();
      for (const hospital of hospitals) await hospital.rounds.close();
    },
  };
  return federation;
};

/** A copy of a store as it is now: a backup, or a snapshot of the machine. */
export const copyOf = async (store: Store): Promise<Store> => {
  const copy = createMemoryStore();
  for await (const { key, value } of store.list({ prefix: '' }))
    await copy.write([{ type: 'put', key, value }]);
  return copy;
};
