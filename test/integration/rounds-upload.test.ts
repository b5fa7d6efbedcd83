/**
 * A masked vector over a narrow line that is cut every minute: it arrives, and hardly any of it is sent twice. Three sites and a coordinator in this
 * process, with the agents' shelves, the link that comes back and the coordinator's spool as they ship; 40 MB always, 800 MB out of LevelDB by night.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Ledger } from '../../agent/budget/ledger.ts';
import { type Link, startLink } from '../../agent/federation/link.ts';
import { createSiteRounds, type SiteRounds } from '../../agent/rounds/rounds.ts';
import { type RoundWorker, workersOf } from '../../agent/rounds/work.ts';
import { createRounds, type Rounds } from '../../coordinator/rounds/rounds.ts';
import type { Connection } from '../../coordinator/sites/presence.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import { systemClock } from '../../shared/clock.ts';
import { always, createIdentity } from '../../shared/crypto/signature.ts';
import { DepartmentId, Pseudonym, type RoundId, SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import { silentLogger } from '../../shared/log.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { CHUNK_BYTES } from '../../shared/rounds/messages.ts';
import { addWords, bytesOf, centred, mask, toWords, type Words } from '../../shared/rounds/words.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';
import type { Call, Peer, Reply } from '../../shared/wire/peer.ts';
import { METHODS } from '../../shared/wire/session.ts';
import { hedge } from '../fixtures/crypto.ts';
import { createThrottledLine, type ThrottledLine } from '../fixtures/throttled-line.ts';

const IS_NIGHTLY = process.env['QFL_NIGHTLY'] === '1';
const WORDS = IS_NIGHTLY ? 200_000_000 : 10_000_000;
const VECTOR_BYTES = WORDS * 4;
/** As the design promises it: 10 Mbit/s, a cut every minute; the short vector is cut as often for its length as a long one. */
const LINE = { bitsPerSecond: 10_000_000, latencyMs: 40, cutEveryMs: IS_NIGHTLY ? 60_000 : 15_000 };
const CUTS_MIN = IS_NIGHTLY ? 3 : 2;
const RESENT_MAX = 0.02;
/** A start costs what was on its way: four chunks, for each of both programs. */
const STARTS = 2;
const IN_FLIGHT_BYTES = 4 * CHUNK_BYTES;
const TEST_MS = IS_NIGHTLY ? 1_800_000 : 120_000;

const NAMES = ['east', 'north', 'west'].map((name) => SiteId.parse(name));
const coordinator = createIdentity(Buffer.alloc(32, 99));
const identities = new Map(NAMES.map((site, at) => [site, createIdentity(Buffer.alloc(32, at + 1))]));
const keys = (site: SiteId) => identities.get(site)?.publicKeys;
const audit = { record: () => Promise.resolve({}) } as unknown as AuditLog;

const inputOf = (at: number, count: number): Words => {
  const words = new Uint32Array(count);
  mask(words, { plus: [Buffer.alloc(32, 50 + at)], minus: [] });
  return words;
};
const workerOf = (at: number): RoundWorker => ({
  kind: 'test',
  priceOf: ({ privacy }) => privacy,
  compute: ({ words }) => Promise.resolve(centred(inputOf(at, words))),
});

/** Charges everything: budgets are not what is tested. */
const ledger = (): Ledger => {
  const reservation = {
    status: 'reserved',
    spendUnits: 1n,
    startComputing: () => undefined,
    commit: () => Promise.resolve({}),
    refund: () => Promise.resolve(),
    abandon: () => Promise.resolve(),
  };
  return { reserve: () => Promise.resolve(reservation) } as unknown as Ledger;
};

let folder: string;
const stores: Store[] = [];
const storeOf = async (name: string): Promise<Store> => {
  const store = IS_NIGHTLY ? await openLevelStore(join(folder, name)) : unordered(createMemoryStore());
  stores.push(store);
  return store;
};
/** Answers in another order than it was asked in, as a store on a disk may. */
const unordered = (store: Store): Store => {
  let asked = 0;
  return {
    ...store,
    async get(key) {
      asked += 1;
      for (let turns = 4 - (asked % 4); turns > 0; turns -= 1)
        await new Promise((resolve) => setImmediate(resolve));
      return store.get(key);
    },
  };
};

const callOf = ({ header, payload = new Uint8Array(0) }: Reply): Call => ({
  header: header === undefined ? undefined : JSON.parse(JSON.stringify(header)),
  payload,
  signal: new AbortController().signal,
});

interface Site {
  rounds: SiteRounds;
  readonly link: Link;
  readonly line: ThrottledLine;
  readonly store: Store;
}
let rounds: Rounds;
const sites = new Map<SiteId, Site>();

/** The coordinator reaches sites at once: what is measured is the way up. */
const presenceOf = (site: SiteId): Connection | undefined => {
  const handlers = sites.get(site)?.rounds.handlers;
  if (handlers === undefined) return undefined;
  const request: Peer['request'] = async (method, message) => {
    const handler = handlers[method];
    if (handler?.kind !== 'plain') throw new Error(`no such call: ${method}`);
    const { header, payload = new Uint8Array(0) } = await handler.answer(callOf(message));
    return { header, payload };
  };
  return { peer: { request, notify: () => undefined } as unknown as Peer } as Connection;
};

/** The agent's program, on what it kept. */
const startAgent = async (at: number, { store, link }: Pick<Site, 'store' | 'link'>): Promise<SiteRounds> => {
  const self = NAMES[at]!;
  const made = createSiteRounds({
    self,
    federation: 'test',
    store,
    vault: { identity: identities.get(self)!, hedge } as Vault,
    keys,
    restores: 0,
    audit,
    ledger: ledger(),
    clock: systemClock,
    random: secureRandomBytes,
    logger: silentLogger,
    workers: workersOf(workerOf(at)),
    policy: () => ({
      minCohort: null,
      onlyCompared: false,
      allowsUnmasked: false,
      allowsSiteUnit: false,
    }),
    isCompared: () => true,
    coordinatorAt: always(coordinator.publicKeys),
    directoryReady: () => Promise.resolve(),
    blocks: () => undefined,
    caller: () => link,
  });
  await made.resume();
  return made;
};
const startSite = async (at: number): Promise<void> => {
  const self = NAMES[at]!;
  const line = createThrottledLine({
    ...LINE,
    answer: (method, message) => rounds.calls[method]!(callOf(message), self),
  });
  const link = startLink({
    connect: () => line.connect(),
    onOpen: () => Promise.resolve(),
    clock: systemClock,
    random: secureRandomBytes,
    logger: silentLogger,
    rules: { backoffMinMs: 1, backoffMaxMs: 5 },
  });
  const store = await storeOf(self);
  sites.set(self, { rounds: await startAgent(at, { store, link }), link, line, store });
};
let coordinatorStore: Store;
const startCoordinator = async (): Promise<void> => {
  rounds = createRounds({
    home: folder,
    federation: 'test',
    store: coordinatorStore,
    presence: { of: presenceOf },
    identity: () => coordinator,
    identityOf: keys,
    audit,
    clock: systemClock,
    random: secureRandomBytes,
    logger: silentLogger,
  });
  await rounds.resume();
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-rounds-upload-'));
  coordinatorStore = await storeOf('coordinator');
  await startCoordinator();
  for (const at of NAMES.keys()) await startSite(at);
});
afterAll(async () => {
  for (const site of sites.values()) await site.rounds.close();
  for (const { link } of sites.values()) await link.close();
  await rounds.close();
  for (const store of stores.toReversed()) await store.close();
  await rm(folder, { recursive: true, force: true });
});

const begin = (words = WORDS): Promise<RoundId> =>
  rounds.start(
    {
      sites: NAMES,
      words,
      work: { kind: 'test', settings: {} },
      privacy: {
        unit: 'patient',
        mechanisms: [{ kind: 'discrete_gaussian', sensitivitySquared: ['1', '1'], sigmaSquared: ['1', '1'] }],
      },
      model: null,
      masked: true,
      rule: 'sum',
      minCohort: 3,
      silenceMs: TEST_MS,
      asker: Pseudonym.parse('0'.repeat(32)),
      department: DepartmentId.parse('research'),
      task: null,
    },
    new AbortController().signal,
  );
const expectSum = async (id: RoundId, words = WORDS): Promise<void> => {
  const { sum, survivors } = await rounds.sum(id);
  expect(survivors).toEqual(NAMES);
  const plain = new Uint32Array(words);
  for (const at of NAMES.keys()) addWords(plain, inputOf(at, words));
  // Not `toEqual`, which walks a long array word by word.
  expect(Buffer.compare(bytesOf(toWords(Int32Array.from(sum))), bytesOf(plain))).toBe(0);
};
const chunkBytes = ({ line }: Site): number => line.sentBytes(METHODS.roundChunk);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a vector over a line that is cut every so often', () => {
  it(
    `of ${VECTOR_BYTES / 1e6} MB arrives with at most ${RESENT_MAX * 100} % of it sent twice`,
    { timeout: TEST_MS },
    async () => {
      await expectSum(await begin());
      for (const [name, site] of sites) {
        expect([name, site.line.cuts >= CUTS_MIN]).toEqual([name, true]);
        const resent = chunkBytes(site) / VECTOR_BYTES - 1;
        // Something was lost at each cut, or it was none.
        expect(resent).toBeGreaterThan(0);
        expect(resent).toBeLessThanOrEqual(RESENT_MAX);
      }
    },
  );

  it(
    'goes on where it was after the agent, and then the coordinator, is started again',
    { timeout: TEST_MS },
    async () => {
      const north = sites.get(NAMES[1]!)!;
      const before = chunkBytes(north);
      const sent = async (share: number): Promise<void> => {
        while (chunkBytes(north) - before < share * VECTOR_BYTES) await turn();
      };
      const id = await begin();
      await sent(1 / 3);
      await north.line.pull();
      await north.rounds.close();
      north.rounds = await startAgent(1, north);
      north.line.plug();
      await sent(2 / 3);
      for (const { line } of sites.values()) await line.pull();
      await rounds.close();
      await startCoordinator();
      for (const { line } of sites.values()) line.plug();
      await expectSum(id);
      const resentBytes = chunkBytes(north) - before - VECTOR_BYTES;
      expect(resentBytes).toBeLessThanOrEqual(RESENT_MAX * VECTOR_BYTES + STARTS * IN_FLIGHT_BYTES);
    },
  );

  it(
    'whose last chunk is short enough to overtake the others is still sent once',
    { timeout: TEST_MS },
    async () => {
      const words = 1_000_000;
      const lines = [...sites.values()];
      const before = lines.map((site) => ({ bytes: chunkBytes(site), cuts: site.line.cuts }));
      await expectSum(await begin(words), words);
      for (const [at, site] of lines.entries()) {
        // 4 MB take three seconds of the line: at most one cut comes in between.
        const lost = (site.line.cuts - before[at]!.cuts) * IN_FLIGHT_BYTES;
        const sent = chunkBytes(site) - before[at]!.bytes - lost;
        expect(sent / (words * 4)).toBeLessThan(1.005);
      }
    },
  );
});
