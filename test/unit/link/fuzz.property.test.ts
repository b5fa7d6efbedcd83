/**
 * Arbitrary bytes and every message type, at every state of a connection, on both sides: it goes on or it ends with a typed error;
 * it never throws, and the coordinator serves the next one as before.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTransport, type Wire } from '../../../shared/wire/transport.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { MESSAGE_TYPES, type MessageType } from '../../../shared/wire/message.ts';
import { createPeer, type Handlers } from '../../../shared/wire/peer.ts';
import { METHODS } from '../../../shared/wire/session.ts';
import { createChannel } from '../../../shared/crypto/channel.ts';
import { answerHandshake, startHandshake } from '../../../shared/crypto/handshake.ts';
import { systemClock } from '../../../shared/clock.ts';
import { outcomeOf } from '../../fixtures/outcome.ts';
import { handshakeFixture } from '../../fixtures/crypto.ts';
import {
  createTestCoordinator,
  enrolledSite,
  type TestCoordinator,
  type TestSite,
} from '../../fixtures/link.ts';

const CALL = { timeoutMs: 5_000 };
const RUNS = process.env['QFL_NIGHTLY'] === '1' ? 2_000 : 60;
const frames = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .tuple(fc.constantFrom(1, 2, 3, 16, 17, 31), fc.uint8Array({ maxLength: 3_000 }))
      .map(([tag, bytes]) => Uint8Array.of(tag, ...bytes)),
  ),
  { minLength: 1, maxLength: 5 },
);
const names = fc.oneof(fc.constantFrom(...Object.values(METHODS), 'toString', '__proto__', ''), fc.string());
const messages = fc.array(
  fc.record({
    type: fc.constantFrom<MessageType>(...MESSAGE_TYPES),
    id: fc.integer({ min: 0, max: 4 }),
    header: fc.oneof(
      fc.record({ m: names, h: fc.jsonValue() }),
      fc.record({ m: names }),
      fc.jsonValue(),
      fc.constant(undefined),
    ),
    payload: fc.uint8Array({ maxLength: 100 }),
  }),
  { minLength: 1, maxLength: 8 },
);

let coordinator: TestCoordinator;
let north: TestSite;
const crashes: unknown[] = [];
const onCrash = (error: unknown): void => void crashes.push(error);
beforeAll(async () => {
  process.on('uncaughtException', onCrash);
  process.on('unhandledRejection', onCrash);
  coordinator = await createTestCoordinator();
  north = await enrolledSite('north', coordinator);
});
afterAll(() => {
  process.off('uncaughtException', onCrash);
  process.off('unhandledRejection', onCrash);
});
const quiet: Handlers = {
  [METHODS.dismissed]: { kind: 'event', accept: () => undefined },
  [METHODS.board]: { kind: 'event', accept: () => undefined },
};

test('bytes on a fresh socket of the coordinator', async () => {
  await fc.assert(
    fc.asyncProperty(frames, async (sent) => {
      const pipe = coordinator.open();
      for (const bytes of sent) pipe.inject('up', bytes);
      expect(await pipe.socket.gone).toBe('the coordinator closed');
      expect(pipe.record).toEqual([]);
    }),
    { numRuns: RUNS },
  );
});

test('bytes into an open session, to either side', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('up' as const, 'down' as const), frames, async (direction, sent) => {
      const { session, pipe } = await north.connect(coordinator, { handlers: quiet });
      await session.peer.request('hello', {}, CALL);
      for (const bytes of sent) pipe.inject(direction, bytes);
      expect(await session.ended).toBeInstanceOf(QflError);
    }),
    { numRuns: RUNS / 2 },
  );
});

/** A site with good keys that says whatever it likes: the transport under our own hand, without a peer above. */
const hostileSite = async () => {
  const pipe = coordinator.open();
  const identity = await north.identity();
  const opened = await new Promise<ReturnType<typeof createTransport>>((resolve) => {
    const started = startHandshake({
      ...identity,
      socketId: pipe.socket.socketId,
      versions: 'fed-hs/1',
      softwareVersion: '0.1.0',
      hedge: north.vault.hedge,
    });
    const transport = createTransport(pipe.socket.wire, 'agent', systemClock, {
      handshake(_tag, bytes) {
        const { keys, message } = started.finish(bytes, (hash) => identity.statement(hash));
        transport.install(keys, () => transport.sendHandshake(3, message));
        resolve(transport);
      },
      message: () => undefined,
      ended: () => undefined,
    });
    pipe.socket.onFrame((bytes) => transport.receive(bytes));
    transport.sendHandshake(1, started.message);
  });
  return { pipe, transport: opened };
};

test('every message type, method and header from a site with good keys', async () => {
  await fc.assert(
    fc.asyncProperty(messages, async (sent) => {
      const { transport } = await hostileSite();
      for (const message of sent) transport.send(message);
      await new Promise((resolve) => setTimeout(resolve, 3));
      transport.close();
    }),
    { numRuns: RUNS },
  );
  const { session } = await north.connect(coordinator, { handlers: quiet });
  expect((await session.peer.request('hello', {}, CALL)).header).toMatchObject({ status: 'approved' });
  session.close();
  expect(crashes).toEqual([]);
});

test('every message type to an agent: its peer goes on or throws a QflError', () => {
  fc.assert(
    fc.property(messages, (sent) => {
      const peer = createPeer(() => undefined, quiet, silentLogger);
      peer.request('a', {}, { timeoutMs: 10 }).catch(() => undefined);
      const stream = peer.stream('b', {}, { timeoutMs: 10 })[Symbol.asyncIterator]();
      stream.next().catch(() => undefined);
      const outcome = outcomeOf(() => sent.forEach((message) => peer.receive(message)));
      expect(['done', 'protocol']).toContain(outcome);
      peer.close(new QflError('not_connected'));
    }),
    { numRuns: RUNS * 5 },
  );
});

test('opened frames of any content: the transport ends with a QflError or goes on', async () => {
  const fixture = handshakeFixture();
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 6 }), async (contents) => {
      const started = startHandshake(fixture.agent);
      const answered = await answerHandshake(started.message, fixture.coordinator);
      const agent = started.finish(answered.message, () => new Uint8Array(64));
      const { keys } = answered.finish(agent.message);
      const channel = createChannel(agent.keys, 'agent', systemClock);
      const endings: QflError[] = [];
      const wire: Wire = { send: () => undefined, close: () => undefined };
      const transport = createTransport(wire, 'coordinator', systemClock, {
        handshake: () => undefined,
        message: () => undefined,
        ended: (error) => void endings.push(error),
      });
      transport.install(keys);
      for (const content of contents)
        transport.receive(Buffer.concat([Uint8Array.of(16), channel.seal(content)]));
      expect(endings.length).toBeLessThanOrEqual(1);
      transport.close();
      expect(endings).toHaveLength(1);
      channel.close();
    }),
    { numRuns: RUNS },
  );
});

test('in all of this nothing was thrown past us', async () => {
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(crashes).toEqual([]);
});
