/** The countersigned head, agent and coordinator together, without a network. */
import { describe, expect, test } from 'vitest';
import {
  createLedgerWitness,
  type HeadCaller,
  type WitnessRules,
} from '../../../agent/federation/ledger-witness.ts';
import type { Ledger } from '../../../agent/budget/ledger.ts';
import { createLedgerHeads, type LedgerHeads } from '../../../coordinator/sites/ledger-heads.ts';
import { createAuditLog } from '../../../shared/audit/audit-log.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { ed25519NoteSigner } from '../../../shared/audit/note.ts';
import { SECOND_MS } from '../../../shared/clock.ts';
import { always, createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger as logger } from '../../../shared/log.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { LedgerHeadRequest, signHead } from '../../../shared/wire/ledger-head.ts';
import {
  answer,
  type Fixture,
  freshLedger,
  openWith,
  request,
  SITE,
  type TestClock,
  testClock,
} from './fixture.ts';
import { COORDINATOR, IDENTITY } from './outside.ts';
import { createSimulatedDisk } from './simulated-disk.ts';

const RULES: WitnessRules = { everyMs: 60 * SECOND_MS, everyRecords: 10, pauseMs: 5 * SECOND_MS };

const newCoordinator = async (clock: TestClock = testClock()) => {
  const log = await AppendLog.open({
    store: createMemoryStore(),
    prefix: 'log/',
    signer: ed25519NoteSigner('test', new Uint8Array(32).fill(4)),
    create: true,
  });
  const audit = createAuditLog({ log, source: 'coordinator', clock, random });
  const heads = createLedgerHeads({
    store: createMemoryStore(),
    audit,
    identity: COORDINATOR,
    clock,
    identitiesOf: () => always(IDENTITY.publicKeys),
  });
  const caller: HeadCaller = {
    async request(_method, { header }) {
      const { signed } = LedgerHeadRequest.parse(header);
      const newest = signed === null ? await heads.newest(SITE) : await heads.take(SITE, signed);
      return {
        header: JSON.parse(JSON.stringify({ newest: newest ?? null })) as unknown,
        payload: new Uint8Array(),
      };
    },
  };
  const entries = async () => {
    const found = [];
    for await (const entry of audit.entries()) found.push(entry);
    return found;
  };
  return { heads, caller, entries, clock };
};

const witnessOf = (ledger: Ledger, clock: TestClock, identity: Identity = IDENTITY) =>
  createLedgerWitness({
    ledger,
    self: SITE,
    identity,
    own: always(identity.publicKeys),
    clock,
    logger,
    rules: RULES,
  });
const connect = (ledger: Ledger, fixture: Fixture, caller: HeadCaller): Promise<void> =>
  witnessOf(ledger, fixture.clock).connected(caller, always(COORDINATOR.publicKeys));

/** A whole home as it was, put back. */
const copyOf = (fixture: Fixture): Fixture => ({
  ...fixture,
  disk: createSimulatedDisk({ files: fixture.disk.content() }),
});

const headOf = (ledger: Ledger, more: object = {}) => {
  const { epoch, lifetimeUnits, head } = ledger.status();
  const hash = Buffer.from(head.hash).toString('hex');
  return signHead(IDENTITY, {
    site: SITE,
    epoch,
    counter: head.counter,
    hash,
    units: String(lifetimeUnits),
    atMs: 1,
    ...more,
  });
};

describe('an agent', () => {
  test('has its head countersigned when it connects, and shows it; the entry is in the log', async () => {
    const { ledger, ...fixture } = await freshLedger();
    const { caller, entries } = await newCoordinator();
    expect(ledger.status().countersigned).toBeNull();
    await answer(ledger, { query: 1 });
    await connect(ledger, fixture, caller);
    expect(ledger.status().countersigned).toMatchObject({ epoch: 0, counter: 2, logIndex: 0 });
    const [entry] = await entries();
    expect(entry).toMatchObject({ action: 'ledger.countersigned', outcome: 'ok' });
    expect(entry?.objects).toContainEqual({ kind: 'ledger-record', id: '2' });
    await ledger.close();
    // It survives a restart without the coordinator.
    const again = await openWith(fixture);
    expect(again.status().countersigned).toMatchObject({ counter: 2 });
    await again.close();
  });

  test('whose whole home is an older copy serves nothing once it hears of its newer head, and not after a restart', async () => {
    const { ledger, ...fixture } = await freshLedger();
    const { caller } = await newCoordinator();
    await answer(ledger, { query: 1 });
    await connect(ledger, fixture, caller);
    const old = copyOf(fixture);
    await answer(ledger, { query: 2 });
    await witnessOf(ledger, fixture.clock).connected(caller, always(COORDINATOR.publicKeys));
    await ledger.close();
    const copy = await openWith(old);
    // Nothing on this disk speaks against it.
    expect((await copy.reserve(request({ query: 3 }))).status).toBe('reserved');
    await connect(copy, old, caller);
    await expect(copy.reserve(request({ query: 4 }))).rejects.toMatchObject({ code: 'ledger_refuses' });
    expect(copy.status().fault).toContain('behind its anchor');
    await copy.close();
    await expect(openWith(old)).rejects.toMatchObject({ code: 'ledger_refuses' });
  });

  test('that went another way from the same past is found as well', async () => {
    const { ledger, ...fixture } = await freshLedger();
    const { caller } = await newCoordinator();
    const twin = copyOf(fixture);
    await answer(ledger, { query: 1 });
    await connect(ledger, fixture, caller);
    const other = await openWith(twin);
    for (const query of [5, 6, 7]) await answer(other, { query });
    await connect(other, twin, caller);
    await expect(other.reserve(request({ query: 9 }))).rejects.toMatchObject({ code: 'ledger_damaged' });
    await other.close();
  });

  test('does not believe a head that is not its own word, or not countersigned by its coordinator', async () => {
    const { ledger, ...fixture } = await freshLedger();
    const { caller } = await newCoordinator();
    await connect(ledger, fixture, caller);
    const stranger = createIdentity(new Uint8Array(32).fill(8));
    await expect(
      witnessOf(ledger, fixture.clock, stranger).connected(caller, always(COORDINATOR.publicKeys)),
    ).rejects.toMatchObject({ code: 'bad_signature' });
    await expect(
      witnessOf(ledger, fixture.clock).connected(caller, always(stranger.publicKeys)),
    ).rejects.toMatchObject({
      code: 'bad_signature',
    });
    expect((await ledger.reserve(request({ query: 1 }))).status).toBe('reserved');
  });

  test('tells its head when it grew enough or long enough ago, never more often than its pause, and at the end', async () => {
    const { ledger, clock } = await freshLedger();
    const { caller, entries } = await newCoordinator();
    const witness = witnessOf(ledger, clock);
    await witness.connected(caller, always(COORDINATOR.publicKeys));
    const logged = async () => (await entries()).length;
    expect(await logged()).toBe(1);
    await answer(ledger, { query: 1 });
    clock.advance(6 * SECOND_MS);
    await witness.look(caller);
    expect(await logged()).toBe(1);
    clock.advance(60 * SECOND_MS);
    await witness.look(caller);
    expect(await logged()).toBe(2);
    for (let query = 2; query < 12; query += 1) await answer(ledger, { query });
    await witness.look(caller);
    expect(await logged()).toBe(2);
    clock.advance(6 * SECOND_MS);
    await witness.look(caller);
    expect(await logged()).toBe(3);
    await answer(ledger, { query: 20 });
    await witness.finish(caller);
    await witness.finish(caller);
    expect(await logged()).toBe(4);
    await ledger.close();
  });

  test('ends without its coordinator too', async () => {
    const { ledger, clock } = await freshLedger();
    const { caller } = await newCoordinator();
    const witness = witnessOf(ledger, clock);
    await witness.connected(caller, always(COORDINATOR.publicKeys));
    await answer(ledger, { query: 1 });
    await witness.finish({ request: () => Promise.reject(new QflError('not_connected')) });
    await ledger.close();
  });
});

describe('a coordinator', () => {
  const refuses = async (
    heads: LedgerHeads,
    signed: ReturnType<typeof headOf>,
    code: string,
  ): Promise<void> => {
    await expect(heads.take(SITE, signed)).rejects.toMatchObject({ code });
  };

  test('refuses a head that goes back or forks, and a restored ledger that spent less; it logs the refusal', async () => {
    const { ledger } = await freshLedger();
    const { heads, entries } = await newCoordinator();
    for (const query of [1, 2, 3]) await answer(ledger, { query });
    await heads.take(SITE, headOf(ledger));
    await refuses(heads, headOf(ledger, { counter: 4 }), 'ledger_refuses');
    await refuses(heads, headOf(ledger, { hash: 'ab'.repeat(32) }), 'ledger_refuses');
    await refuses(
      heads,
      headOf(ledger, { epoch: 1, counter: 2, hash: 'ab'.repeat(32), units: '1' }),
      'ledger_refuses',
    );
    expect((await heads.newest(SITE))?.signed.head.counter).toBe(6);
    expect((await entries()).map(({ outcome }) => outcome)).toEqual(['ok', 'refused', 'refused', 'refused']);
    const restored = headOf(ledger, { epoch: 1, counter: 2, hash: 'ab'.repeat(32), delta: '7' });
    expect((await heads.take(SITE, restored)).signed.head.epoch).toBe(1);
    await refuses(heads, headOf(ledger, { counter: 99, hash: 'cd'.repeat(32) }), 'ledger_refuses');
    // Its delta may not shrink either.
    await refuses(
      heads,
      headOf(ledger, { epoch: 2, counter: 2, hash: 'ab'.repeat(32), delta: '6' }),
      'ledger_refuses',
    );
    await ledger.close();
  });

  test('takes no head of another site or with a signature that does not hold', async () => {
    const { ledger } = await freshLedger();
    const { heads, entries } = await newCoordinator();
    await refuses(heads, headOf(ledger, { site: 'east' }), 'bad_signature');
    const signed = headOf(ledger);
    await refuses(heads, { ...signed, head: { ...signed.head, units: '0', counter: 5 } }, 'bad_signature');
    expect(await entries()).toEqual([]);
    await ledger.close();
  });

  test('is not flooded: the same head is one entry, and new ones come through a bucket that fills slowly', async () => {
    const { ledger } = await freshLedger();
    const { heads, entries, clock } = await newCoordinator();
    const take = (counter: number) =>
      heads.take(SITE, headOf(ledger, { counter, hash: counter.toString(16).padStart(64, '0') }));
    await Promise.all([1, 1, 1, 1].map(take));
    expect(await entries()).toHaveLength(1);
    let taken = 1;
    for (; taken < 1_000; taken += 1) {
      const refusal = await take(taken + 1).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refusal === undefined) continue;
      expect(refusal).toMatchObject({ code: 'rate_limited' });
      break;
    }
    expect(taken).toBeLessThan(50);
    expect(await entries()).toHaveLength(taken);
    clock.advance(30 * SECOND_MS);
    await take(taken + 1);
    await expect(take(taken + 2)).rejects.toMatchObject({ code: 'rate_limited' });
    await ledger.close();
  });
});
