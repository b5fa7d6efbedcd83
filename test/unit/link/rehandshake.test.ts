/** Fresh handshakes on a busy connection: keys change, no message is lost, doubled or reordered. */
import { describe, expect, test } from 'vitest';
import { u32 } from '../../../shared/bytes.ts';
import type { Handlers, Peer } from '../../../shared/wire/peer.ts';
import { TAG_FIRST, TAG_THIRD } from '../../../shared/wire/transport.ts';
import { createTestCoordinator, enrolledSite, until } from '../../fixtures/link.ts';
import { type PipeOptions, type Tap } from '../../fixtures/pipe.ts';

const CALL = { timeoutMs: 5_000 };
const REHANDSHAKE_MS = 25;
/** Tag of a data frame of the first session. */
const DATA = 16;

/** Collects the numbers of `note` events; every hundredth travels in several frames. */
const collector = () => {
  const numbers: number[] = [];
  const handlers: Handlers = {
    note: {
      kind: 'event',
      accept: ({ payload }) => void numbers.push(Buffer.from(payload).readUInt32BE()),
    },
    echo: { kind: 'plain', answer: ({ payload }) => Promise.resolve({ payload }) },
    count: {
      kind: 'stream',
      async *answer() {
        for (let index = 0; index < 100; index += 1) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          yield { header: index };
        }
      },
    },
    dismissed: { kind: 'event', accept: () => undefined },
  };
  return { numbers, handlers };
};
const sendNumbers = async (peer: Peer, count: number): Promise<void> => {
  for (let index = 0; index < count; index += 1) {
    const padding = index % 100 === 99 ? 700_000 : 10;
    peer.notify('note', { payload: Buffer.concat([u32(index), new Uint8Array(padding)]) });
    if (index % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
    if (index % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
const busyPair = async (pipeOptions: PipeOptions = {}) => {
  const above = collector();
  const below = collector();
  const coordinator = await createTestCoordinator({
    rehandshakeMs: REHANDSHAKE_MS,
    handlers: above.handlers,
  });
  const north = await enrolledSite('north', coordinator);
  const { session, pipe } = await north.connect(coordinator, { handlers: below.handlers, ...pipeOptions });
  await session.peer.request('hello', {}, CALL);
  const down = coordinator.presence.of(north.site)?.peer;
  if (down === undefined) throw new Error('the site is not present');
  const handshakes = () => pipe.record.filter(({ bytes }) => bytes[0] === TAG_THIRD).length;
  return { above, below, coordinator, north, session, pipe, down, handshakes };
};

describe.each([
  ['a fast network', {}],
  ['a slow network', { delayMs: 7 }],
])('on %s', (_, pipeOptions) => {
  test('traffic both ways, calls and streams go on through many handshakes', async () => {
    const { above, below, session, down, handshakes } = await busyPair(pipeOptions);
    const COUNT = 1_000;
    const streamed: unknown[] = [];
    const readStream = async (): Promise<void> => {
      for await (const { header } of session.peer.stream('count', {}, CALL)) streamed.push(header);
    };
    const calls = async (): Promise<void> => {
      for (let index = 0; index < 50; index += 1) {
        const { payload } = await session.peer.request('echo', { payload: u32(index) }, CALL);
        expect(Buffer.from(payload).readUInt32BE()).toBe(index);
      }
    };
    await Promise.all([sendNumbers(session.peer, COUNT), sendNumbers(down, COUNT), readStream(), calls()]);
    await until('everything arrived', () => above.numbers.length + below.numbers.length >= 2 * COUNT);
    const expected = Array.from({ length: COUNT }, (__, index) => index);
    expect(above.numbers).toEqual(expected);
    expect(below.numbers).toEqual(expected);
    expect(streamed).toEqual(expected.slice(0, 100));
    expect(handshakes()).toBeGreaterThan(3);
    session.close();
    await session.ended;
  });
});

describe('a fresh handshake', () => {
  test('more than sixteen of them: generations come round', async () => {
    const { above, session, handshakes } = await busyPair();
    const begun = performance.now();
    let sent = 0;
    while (handshakes() < 20 && performance.now() - begun < 10_000) {
      session.peer.notify('note', { payload: u32(sent) });
      sent += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until('all arrived', () => above.numbers.length === sent);
    expect(handshakes()).toBeGreaterThanOrEqual(20);
    session.close();
    await session.ended;
  });

  test('is logged with the site’s statement, and leaves the connection the same', async () => {
    const { coordinator, north, session, handshakes } = await busyPair();
    const present = coordinator.presence.of(north.site);
    await until('three handshakes', () => handshakes() >= 3);
    await session.peer.request('hello', {}, CALL);
    expect(coordinator.presence.of(north.site)).toBe(present);
    let opened = 0;
    for await (const { action } of coordinator.audit.entries()) if (action === 'session.opened') opened += 1;
    expect(opened).toBeGreaterThanOrEqual(3);
    session.close();
    await session.ended;
  });

  test('of a site revoked meanwhile ends the connection', async () => {
    const { coordinator, north, session } = await busyPair();
    await coordinator.registry.revoke(north.site, 'left');
    expect((await session.ended).code).toBe('not_connected');
    await until('it is forgotten', () => coordinator.presence.of(north.site) === undefined);
  });

  test.each([
    ['M1 lost', TAG_FIRST],
    ['M3 lost', TAG_THIRD],
  ])('with its %s ends the connection in time, never the order of messages', async (_, tag) => {
    let seen = 0;
    const secondOfItsKind: Tap = ({ bytes }) => {
      if (bytes[0] === tag) seen += 1;
      return bytes[0] === tag && seen === 2 ? [] : [bytes];
    };
    const times = { handshakeMs: 1_000, sessionMs: 1_500 };
    const above = collector();
    const coordinator = await createTestCoordinator({
      rehandshakeMs: REHANDSHAKE_MS,
      handlers: above.handlers,
      times,
    });
    const north = await enrolledSite('north', coordinator);
    const { session } = await north.connect(coordinator, { tap: secondOfItsKind });
    const sending = sendNumbers(session.peer, 1_000).catch(() => undefined);
    await session.ended;
    await sending;
    expect(above.numbers).toEqual(above.numbers.map((__, index) => index));
  });

  test.each(['up', 'down'] as const)(
    'the end of the old session cut off %s is noticed: the new one cannot hide it',
    async (direction) => {
      // In the quiet time before the second handshake the final frame is the only data frame of its direction.
      let seen = 0;
      const cutTail: Tap = (frame) => {
        const isData = frame.direction === direction && frame.bytes[0] === DATA;
        if (isData) seen += 1;
        return isData && seen > 1 ? [] : [frame.bytes];
      };
      const { session, above, pipe, handshakes } = await busyPair({ tap: cutTail });
      await until('the second handshake', () => handshakes() > 1);
      // The first frame that comes down in the new session shows that the old one never ended.
      await session.peer.request('hello', {}, { timeoutMs: 500 }).catch(() => undefined);
      expect((await session.ended).code).toMatch(/^(protocol|not_connected)$/);
      expect(seen).toBeGreaterThan(1);
      expect(above.numbers).toEqual([]);
      expect(pipe.record.some(({ bytes }) => bytes[0] === DATA + 2)).toBe(false);
    },
  );
});
