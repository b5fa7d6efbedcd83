/** What a hostile or broken network does to a connection: each fault ends it, nothing is accepted twice, nothing useful leaks. */
import { beforeAll, describe, expect, test } from 'vitest';
import { openSession } from '../../../agent/federation/session.ts';
import type { HandshakeDesk } from '../../../coordinator/sites/handshakes.ts';
import { createDeferred } from '../../../shared/deferred.ts';
import { toQflError } from '../../../shared/errors.ts';
import { silentLogger as logger } from '../../../shared/log.ts';
import type { Handlers } from '../../../shared/wire/peer.ts';
import { TAG_FIRST, TAG_SECOND, TAG_THIRD } from '../../../shared/wire/transport.ts';
import {
  createTestCoordinator,
  createTestSite,
  enrolledSite,
  type TestCoordinator,
  type TestSite,
  until,
} from '../../fixtures/link.ts';
import {
  createPipe,
  doubleAt,
  dropAt,
  flipAt,
  type Pipe,
  replaceAt,
  swapAt,
  type Tap,
} from '../../fixtures/pipe.ts';

const CALL = { timeoutMs: 5_000 };
/** Short enough to wait for, long enough that a busy machine finishes a good handshake. */
const IMPATIENT = { handshakeMs: 700, sessionMs: 60_000 };
const DATA = 16;

let coordinator: TestCoordinator;
let north: TestSite;
let impatient: TestCoordinator;
let south: TestSite;
const noted: number[] = [];
const handlers: Handlers = {
  note: { kind: 'event', accept: ({ header }) => void noted.push(Number(header)) },
};

beforeAll(async () => {
  coordinator = await createTestCoordinator({ handlers });
  north = await enrolledSite('north', coordinator);
  impatient = await createTestCoordinator({ times: IMPATIENT });
  south = await enrolledSite('south', impatient);
});

const tags = ({ record }: Pipe, direction: 'up' | 'down'): (number | undefined)[] =>
  record.filter((frame) => frame.direction === direction).map(({ bytes }) => bytes[0]);
const firstMessage = async (site: TestSite, to: TestCoordinator): Promise<Uint8Array> => {
  const { session, pipe } = await site.connect(to);
  session.close();
  return pipe.record[0]!.bytes;
};

describe('a handshake', () => {
  const damages: [string, Tap][] = [
    ['M1 flipped', flipAt('up', 0, 1_500)],
    ['M1 cut short', replaceAt('up', 0, Uint8Array.of(TAG_FIRST, 1, 2, 3))],
    ['M1 doubled', doubleAt('up', 0)],
    ['M1 lost', dropAt('up', 0)],
    ['M2 flipped', flipAt('down', 0, 1_500)],
    ['M2 lost', dropAt('down', 0)],
    ['M2 doubled', doubleAt('down', 0)],
    ['M3 flipped', flipAt('up', 1, 60)],
    ['M3 lost', dropAt('up', 1)],
    ['M3 doubled', doubleAt('up', 1)],
    ['M3 behind the first call', swapAt('up', 1)],
  ];
  test.each(damages)('with %s never becomes a session that answers', async (_, tap) => {
    const outcome = await south
      .connect(impatient, { tap })
      .then(({ session }) => session.peer.request('hello', {}, CALL))
      .catch(toQflError);
    expect(outcome).toHaveProperty('code');
    await until('the connection is forgotten', () => impatient.presence.of(south.site) === undefined);
  });

  test('that stops after M2 is dropped in time, with nothing kept', async () => {
    const pipe = impatient.open();
    const gone = pipe.socket.gone;
    pipe.inject('up', await firstMessageOf(pipe.socket.socketId));
    expect(await gone).toBe('the coordinator closed');
    expect(tags(pipe, 'down')).toEqual([TAG_SECOND]);
  });

  test('that never starts is dropped in time, without a byte', async () => {
    const pipe = impatient.open();
    expect(await pipe.socket.gone).toBe('the coordinator closed');
    expect(pipe.record).toEqual([]);
  });

  test('M1 replayed on another connection gets no answer', async () => {
    const first = await firstMessage(north, coordinator);
    const pipe = coordinator.open();
    pipe.inject('up', first);
    expect(await pipe.socket.gone).toBe('the coordinator closed');
    expect(pipe.record).toEqual([]);
  });

  test('M1 replayed even under its own socket id yields M2 alone, which opens nothing', async () => {
    const { session, pipe: original } = await north.connect(coordinator);
    await session.peer.request('hello', {}, CALL);
    session.close();
    await session.ended;
    const entries = coordinator.audit.log.size;
    const replay = coordinator.open({ socketId: original.socket.socketId });
    for (const { direction, bytes } of original.record) if (direction === 'up') replay.inject('up', bytes);
    expect(await replay.socket.gone).toBe('the coordinator closed');
    expect(tags(replay, 'down').filter((tag) => tag !== TAG_SECOND)).toEqual([]);
    expect(coordinator.presence.of(north.site)).toBeUndefined();
    expect(coordinator.audit.log.size).toBe(entries);
  });

  test('a second M1 while one is answered ends the connection', async () => {
    const held = createDeferred<void>();
    const slow = await createTestCoordinator({
      wrapDesk: (desk) => ({
        ...desk,
        answer: async (first, socketId) => {
          await held.promise;
          return desk.answer(first, socketId);
        },
      }),
    });
    const pipe = slow.open();
    pipe.inject('up', Uint8Array.of(TAG_FIRST, 1));
    pipe.inject('up', Uint8Array.of(TAG_FIRST, 1));
    expect(await pipe.socket.gone).toBe('the coordinator closed');
    held.resolve();
    expect(pipe.record).toEqual([]);
  });

  test('a fresh one on an open session that stops after M2 ends the session too', async () => {
    const secondAnswer: Tap = ({ direction, index, bytes }) =>
      direction === 'down' && index > 0 && bytes[0] === TAG_SECOND ? [] : [bytes];
    const { session, pipe } = await south.connect(impatient, { tap: secondAnswer });
    await session.peer.request('hello', {}, CALL);
    pipe.inject('up', await firstMessageOf(pipe.socket.socketId));
    expect((await session.ended).detail).toBe('the coordinator closed the connection');
    expect(impatient.presence.of(south.site)).toBeUndefined();
  });

  /** An M1 of the same site that is made for one connection. */
  const firstMessageOf = async (socketId: string): Promise<Uint8Array> => {
    const captured = createDeferred<Uint8Array>();
    const pipe = createPipe(() => ({ receive: (bytes) => captured.resolve(bytes), gone: () => undefined }), {
      socketId,
    });
    const opening = openSession(
      pipe.socket,
      () => south.identity(),
      {},
      {
        clock: impatient.clock,
        hedge: south.vault.hedge,
        logger,
      },
    );
    opening.catch(() => undefined);
    const first = await captured.promise;
    pipe.cut();
    return first;
  };
});

describe('a frame that does not belong', () => {
  const frames: [string, Uint8Array][] = [
    ['empty', new Uint8Array(0)],
    ['of an unknown kind', Uint8Array.of(9, 1, 2)],
    ['of a session that never was', Uint8Array.of(DATA + 7, ...new Uint8Array(400))],
    ['M2 at the coordinator', Uint8Array.of(TAG_SECOND, 1, 2)],
    ['M3 without M2', Uint8Array.of(TAG_THIRD, 1, 2)],
    ['M1 of garbage', new Uint8Array(9_000).fill(TAG_FIRST)],
    ['sealed by nobody', new Uint8Array(400).fill(DATA)],
    ['far too long', new Uint8Array(1_000_000).fill(DATA)],
  ];
  test.each(frames)(
    '%s ends a connection at the coordinator, before and after it is open',
    async (_, bytes) => {
      const fresh = coordinator.open();
      fresh.inject('up', bytes);
      expect(await fresh.socket.gone).toBe('the coordinator closed');
      expect(fresh.record).toEqual([]);
      const { session, pipe } = await north.connect(coordinator);
      await session.peer.request('hello', {}, CALL);
      pipe.inject('up', bytes);
      await session.ended;
      await until('it is forgotten', () => coordinator.presence.of(north.site) === undefined);
    },
  );
  test.each(frames)('%s ends a session at the agent', async (_, bytes) => {
    const { session, pipe } = await north.connect(coordinator);
    await session.peer.request('hello', {}, CALL);
    pipe.inject('down', bytes);
    expect((await session.ended).code).toBe('protocol');
  });
});

describe('a session under a bad network', () => {
  const MESSAGES = 20;
  const faults: [string, Tap, number][] = [
    ['a lost frame', dropAt('up', 10), 7],
    ['a doubled frame', doubleAt('up', 10), 8],
    ['a flipped frame', flipAt('up', 10, 100), 7],
    ['a flipped generation', flipAt('up', 10, 0), 7],
    ['two frames swapped', swapAt('up', 10), 7],
  ];
  test.each(faults)('%s: what arrived is a prefix, and the connection ends', async (_, tap, expected) => {
    noted.length = 0;
    const { session } = await north.connect(coordinator, { tap });
    await session.peer.request('hello', {}, CALL);
    // Frames 0 to 2 are M1, M3 and the call before, so frame 10 carries message 7.
    for (let index = 0; index < MESSAGES; index += 1) session.peer.notify('note', { header: index });
    expect((await session.ended).code).toBe('not_connected');
    expect(noted).toEqual(Array.from({ length: expected }, (__, index) => index));
  });

  test.each([
    ['an unknown event', (peer: Peerish) => peer.notify('nonsense', {})],
    ['an event called as a method', (peer: Peerish) => peer.notify('hello', {})],
  ])('%s ends the connection', async (_, act) => {
    const { session } = await north.connect(coordinator);
    await session.peer.request('hello', {}, CALL);
    act(session.peer);
    expect((await session.ended).code).toBe('not_connected');
  });

  test('an unknown method, an inherited name and an event as a method are refused; the connection stays', async () => {
    const { session } = await north.connect(coordinator);
    for (const method of ['nonsense', 'toString', '__proto__', 'telemetry'])
      await expect(session.peer.request(method, {}, CALL)).rejects.toMatchObject({ code: 'not_found' });
    await expect(
      session.peer.request('directory.leaves', { header: { from: -1 } }, CALL),
    ).rejects.toMatchObject({ code: 'protocol' });
    await session.peer.request('hello', {}, CALL);
    session.close();
    await session.ended;
  });
});
type Peerish = { notify(event: string, message: object): void };

describe('the list of who is here', () => {
  const slowDesk = async (): Promise<{
    slow: TestCoordinator;
    site: TestSite;
    admitting: () => number;
    release: () => void;
  }> => {
    const gate = createDeferred<void>();
    let admitting = 0;
    let hold = false;
    const wrapDesk = (desk: HandshakeDesk): HandshakeDesk => ({
      ...desk,
      admit: async (...facts) => {
        admitting += 1;
        if (hold) await gate.promise;
        return desk.admit(...facts);
      },
    });
    const slow = await createTestCoordinator({ wrapDesk });
    const site = await enrolledSite('north', slow);
    admitting = 0;
    hold = true;
    return { slow, site, admitting: () => admitting, release: () => gate.resolve() };
  };

  test('does not take in a socket that went while its session was being logged', async () => {
    const { slow, site, admitting, release } = await slowDesk();
    const { pipe } = await site.connect(slow);
    await until('the coordinator logs the session', () => admitting() === 1);
    pipe.cut();
    await new Promise((resolve) => setTimeout(resolve, 10));
    release();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(slow.presence.online()).toEqual([]);
    const { session } = await site.connect(slow);
    await session.peer.request('hello', {}, CALL);
    expect(slow.presence.online()).toEqual(['north']);
  });

  test('calls that come before the session is logged wait for it; too many end the connection', async () => {
    const { slow, site, release } = await slowDesk();
    const patient = await site.connect(slow);
    const answers = Array.from({ length: 20 }, () => patient.session.peer.request('hello', {}, CALL));
    await new Promise((resolve) => setTimeout(resolve, 20));
    release();
    expect(await Promise.all(answers)).toHaveLength(20);

    const again = await slowDesk();
    const hasty = await again.site.connect(again.slow);
    const many = Array.from({ length: 100 }, () => hasty.session.peer.request('hello', {}, CALL));
    const outcomes = await Promise.allSettled(many);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    again.release();
  });

  test('the late end of an old connection does not mark the newer one offline', async () => {
    const own: Handlers = { dismissed: { kind: 'event', accept: () => undefined } };
    // The old connection's frames, its end among them, travel slowly.
    const old = await north.connect(coordinator, { delayMs: 15, handlers: own });
    await old.session.peer.request('hello', {}, CALL);
    const newer = await north.connect(coordinator, { handlers: own });
    await newer.session.peer.request('hello', {}, CALL);
    const present = coordinator.presence.of(north.site);
    await old.session.ended;
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(coordinator.presence.of(north.site)).toBe(present);
    await newer.session.peer.request('hello', {}, CALL);
    newer.session.close();
    await until('the newest leaves', () => coordinator.presence.of(north.site) === undefined);
  });

  test('a session that is not renewed in time ends', async () => {
    const strict = await createTestCoordinator({ times: { handshakeMs: 5_000, sessionMs: 700 } });
    const made = await createTestSite('north', strict);
    const { token } = await strict.invitations.create(made.site, true);
    const { session } = await made.connect(strict, { token });
    await session.peer.request('hello', {}, CALL);
    expect((await session.ended).code).toBe('not_connected');
    await until('it is forgotten', () => strict.presence.online().length === 0);
  });
});
