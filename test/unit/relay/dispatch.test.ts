import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { relayChat } from '../../../coordinator/relay/dispatch.ts';
import { createLivePlanner } from '../../../coordinator/planning/live.ts';
import type { Connection, Presence } from '../../../coordinator/sites/presence.ts';
import type { AuditLog } from '../../../shared/audit/audit-log.ts';
import { utf8 } from '../../../shared/bytes.ts';
import { encodeSealedQuery, sealQuery } from '../../../shared/crypto/sealed-query.ts';
import { createIdentity } from '../../../shared/crypto/signature.ts';
import { encapsulate } from '../../../shared/crypto/xwing.ts';
import { QflError } from '../../../shared/errors.ts';
import { Pseudonym, QueryId, SiteId } from '../../../shared/ids.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { systemClock } from '../../../shared/clock.ts';
import { PrekeyId } from '../../../shared/wire/envelope.ts';
import type { Peer, Received, Reply } from '../../../shared/wire/peer.ts';
import type { RelayedPart, Telemetry } from '../../../shared/wire/session.ts';
import { freshKem, hedge } from '../../fixtures/crypto.ts';

const [asker, near, far] = ['asker', 'near', 'far'].map((name) => SiteId.parse(name)) as [
  SiteId,
  SiteId,
  SiteId,
];
const identity = createIdentity(randomBytes(32));

const sealedFor = (
  sites: readonly SiteId[],
  overrides: { sender?: SiteId; createdMs?: number; expiresMs?: number } = {},
): Uint8Array => {
  const nowMs = Date.now();
  return encodeSealedQuery(
    sealQuery({
      envelope: {
        queryId: QueryId.parse(randomBytes(16).toString('hex')),
        kind: 'chat',
        sender: asker,
        createdMs: nowMs,
        expiresMs: nowMs + 60_000,
        microEpsilon: 0,
        model: 'm',
        sizeBucketBytes: 256,
        priority: 5,
        ...overrides,
      },
      recipients: sites.map((site) => ({
        site,
        prekey: PrekeyId.parse('0'.repeat(16)),
        encapsulation: encapsulate(freshKem().publicKey, hedge, 'test', utf8(site)),
      })),
      content: {
        purpose: 'test',
        legalBasis: 'test',
        dataClass: 'internal',
        asker: Pseudonym.parse('0'.repeat(32)),
        role: 'doctor',
        department: 'icu',
        query: {},
        checkpoint: { size: 0, root: '' },
      },
      replyKey: freshKem().publicKey,
      identity,
      random: secureRandomBytes,
    }),
  );
};

type Behaviour = (signal: AbortSignal | undefined) => AsyncGenerator<Received>;
const piece = (text: string): Received => ({ header: undefined, payload: utf8(text) });

/** Sites as the coordinator sees them, each with its way of serving. */
const presenceOf = (
  sites: ReadonlyMap<
    SiteId,
    { behaviour: Behaviour; slots?: number; firstTokenMs?: number; inFlight?: number }
  >,
): Presence => {
  const telemetry = (slots: number, firstTokenMs: number | null, inFlight: number): Telemetry => ({
    atMs: 0,
    source: 'measured',
    draining: false,
    records: false,
    budgetTenths: null,
    models: [{ id: 'm', slots, inFlight, waiting: 0, firstTokenMs }],
  });
  const connection = (site: SiteId): Connection | undefined => {
    const known = sites.get(site);
    if (known === undefined) return undefined;
    const peer: Partial<Peer> = { stream: (_method, _message, { signal }) => known.behaviour(signal) };
    return { site, peer: peer as Peer, connectedMs: 0, close: () => undefined };
  };
  return {
    arrived: () => undefined,
    left: () => undefined,
    of: connection,
    online: () => [...sites.keys()],
    report: () => undefined,
    telemetry: (site) => {
      const known = sites.get(site);
      return known === undefined
        ? undefined
        : telemetry(known.slots ?? 4, known.firstTokenMs ?? null, known.inFlight ?? 0);
    },
    telemetryAgeMs: () => 0,
    disconnect: () => undefined,
    closeAll: () => undefined,
  };
};

const relayOver = (presence: Presence) => {
  const recorded: string[] = [];
  const audit: Pick<AuditLog, 'record'> = {
    record: ({ action, outcome }) => {
      recorded.push(`${action} ${outcome}`);
      return Promise.resolve({ index: recorded.length, leafHash: new Uint8Array(32), id: '' });
    },
  };
  const planner = createLivePlanner({
    presence,
    clock: systemClock,
    meters: { planned: () => undefined },
    tuning: () => ({ strategy: 'balanced', queueFactor: 1 }),
  });
  const relay = relayChat({
    presence,
    planner,
    audit: audit as AuditLog,
    clock: systemClock,
    policy: { check: () => undefined },
    meters: { relayed: () => undefined, firstPiece: () => undefined },
  });
  const ask = async (
    payload: Uint8Array,
    signal = new AbortController().signal,
  ): Promise<{ parts: RelayedPart[]; texts: string[] }> => {
    const parts: RelayedPart[] = [];
    const texts: string[] = [];
    for await (const reply of relay({ header: undefined, payload, signal }, asker) as AsyncIterable<Reply>) {
      parts.push(reply.header as RelayedPart);
      texts.push(Buffer.from(reply.payload ?? []).toString());
    }
    return { parts, texts };
  };
  return { ask, recorded, planner };
};

const answers = (name: string): Behaviour =>
  async function* serve() {
    yield piece(`${name} 1`);
    yield piece(`${name} 2`);
  };
const refuses = (code: 'overloaded' | 'forbidden' | 'backend_failed'): Behaviour =>
  // eslint-disable-next-line require-yield
  async function* serve() {
    throw new QflError(code, { detail: 'no' });
  };
const breaks: Behaviour = async function* serve() {
  yield piece('half');
  throw new QflError('not_connected');
};

describe('a relayed chat', () => {
  test('goes to the cheapest allowed site and carries its plan, whose bound is proven', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: answers('near') }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    const { parts, texts } = await ask(sealedFor([far, near]));
    expect(texts).toEqual(['near 1', 'near 2']);
    expect(parts[0]).toMatchObject({
      site: near,
      plan: { site: near, solver: 'flow', candidates: 2, refusals: [] },
    });
    expect(parts[0]?.plan?.boundMs).toBe(parts[0]?.plan?.costMs);
    expect(parts[1]?.plan).toBeUndefined();
  });

  test('moves on when a site refuses before its first piece, and says so', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: refuses('overloaded') }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    const { parts, texts } = await ask(sealedFor([far, near]));
    expect(texts).toEqual(['far 1', 'far 2']);
    expect(parts[0]?.plan?.refusals).toEqual([{ site: near, code: 'overloaded' }]);
  });

  test('does not shop around for a yes: what the asker may not do ends the query', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: refuses('forbidden') }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    await expect(ask(sealedFor([far, near]))).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('never moves on after the first piece: the asker hears of a cut', async () => {
    const { ask, recorded } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: breaks }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    await expect(ask(sealedFor([far, near]))).rejects.toMatchObject({ code: 'cut' });
    expect(recorded).toEqual(['relay.dispatched begun', 'relay.dispatched failed']);
  });

  test('says who refused when all do', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: refuses('overloaded') }],
          [far, { behaviour: refuses('backend_failed') }],
        ]),
      ),
    );
    await expect(ask(sealedFor([far, near]))).rejects.toMatchObject({
      code: 'site_unavailable',
      facts: { refusals: [{}, {}] },
    });
  });

  test('goes only to sites the query is sealed to', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [near, { behaviour: answers('near') }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    expect((await ask(sealedFor([far]))).texts).toEqual(['far 1', 'far 2']);
  });

  test('comes back to the asker when its own site is the best place', async () => {
    const { ask } = relayOver(
      presenceOf(
        new Map([
          [asker, { behaviour: answers('asker') }],
          [far, { behaviour: answers('far'), inFlight: 3 }],
        ]),
      ),
    );
    const { parts, texts } = await ask(sealedFor([asker, far]));
    expect(texts).toEqual(['']);
    expect(parts[0]).toMatchObject({ site: asker });
  });

  test('is refused in another name, out of time, or malformed', async () => {
    const { ask } = relayOver(presenceOf(new Map([[near, { behaviour: answers('near') }]])));
    await expect(ask(sealedFor([near], { sender: far }))).rejects.toMatchObject({ code: 'forbidden' });
    await expect(ask(sealedFor([near], { createdMs: 1, expiresMs: 2 }))).rejects.toMatchObject({
      code: 'expired',
    });
    await expect(ask(sealedFor([near], { expiresMs: Date.now() + 10 ** 9 }))).rejects.toMatchObject({
      code: 'expired',
    });
    await expect(ask(randomBytes(500))).rejects.toMatchObject({ code: 'protocol' });
  });

  test('frees its slot however it ends', async () => {
    const sites = new Map([[near, { behaviour: breaks, slots: 1 }]]);
    const { ask } = relayOver(presenceOf(sites));
    for (let run = 0; run < 3; run += 1)
      await expect(ask(sealedFor([near]))).rejects.toMatchObject({ code: 'cut' });
  });
});

describe('the live planner', () => {
  test('spreads a burst over the slots there are, then over the queues, and says no when those are full', async () => {
    const presence = presenceOf(
      new Map([
        [near, { behaviour: answers('near'), slots: 2 }],
        [far, { behaviour: answers('far'), slots: 1 }],
      ]),
    );
    const { planner } = relayOver(presence);
    const request = { model: 'm', candidates: [near, far], priority: 5, sizeBucketBytes: 256 };
    const burst = async (count: number) => {
      const placements = await Promise.all(Array.from({ length: count }, () => planner.place(request)));
      for (const placement of placements) placement?.done(null);
      const sites = placements.map((placement) => placement?.site);
      return [near, far, undefined].map((one) => sites.filter((site) => site === one).length);
    };
    expect(await burst(3)).toEqual([2, 1, 0]);
    // Four places behind every slot.
    expect(await burst(17)).toEqual([10, 5, 2]);
    expect(await planner.place(request)).toBeDefined();
  });

  test('learns from what it measures', async () => {
    const presence = presenceOf(
      new Map([
        [near, { behaviour: answers('near') }],
        [far, { behaviour: answers('far') }],
      ]),
    );
    const { planner } = relayOver(presence);
    const request = { model: 'm', candidates: [near, far], priority: 5, sizeBucketBytes: 256 };
    planner.predictor.observe(near, 'm', 2_000);
    planner.predictor.observe(far, 'm', 20);
    expect((await planner.place(request))?.site).toBe(far);
  });
});
