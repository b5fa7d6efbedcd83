/** The agent's supervisor of its one connection. */
import { describe, expect, test } from 'vitest';
import { type LinkOptions, startLink } from '../../../agent/federation/link.ts';
import type { OpenSession } from '../../../agent/federation/session.ts';
import { systemClock } from '../../../shared/clock.ts';
import { createDeferred } from '../../../shared/deferred.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger as logger } from '../../../shared/log.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import type { Peer, Received } from '../../../shared/wire/peer.ts';
import { createTestCoordinator, enrolledSite, until } from '../../fixtures/link.ts';
import type { Pipe } from '../../fixtures/pipe.ts';

const rules = { backoffMinMs: 5, backoffMaxMs: 40 };
const CALL = { timeoutMs: 3_000 };
const offline = (): Promise<never> => Promise.reject(new QflError('not_connected', { detail: 'no route' }));
const start = (options: Partial<LinkOptions>) =>
  startLink({
    connect: offline,
    onOpen: () => Promise.resolve(),
    clock: systemClock,
    random: secureRandomBytes,
    logger,
    rules,
    ...options,
  });

/** A connection that answers with its own number, until it is ended. */
const fakeSession = (answer: string) => {
  const ended = createDeferred<QflError>();
  const peer: Peer = {
    request: () => Promise.resolve<Received>({ header: answer, payload: new Uint8Array(0) }),
    stream: async function* () {
      yield { header: answer, payload: new Uint8Array(0) };
    },
    notify: () => undefined,
    receive: () => undefined,
    close: () => undefined,
  };
  const session: OpenSession = {
    peer,
    welcome: { sessionId: '0'.repeat(32), serverTimeMs: 0, rehandshakeMs: 3_600_000 },
    ended: ended.promise,
    close: () => ended.resolve(new QflError('not_connected', { detail: 'closed here' })),
  };
  return { session, end: (error: QflError) => ended.resolve(error) };
};

describe('the link', () => {
  test('comes back by itself after cuts; calls wait for it and are asked again', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    const pipes: Pipe[] = [];
    const link = start({
      async connect() {
        const { session, pipe } = await north.connect(coordinator);
        pipes.push(pipe);
        return session;
      },
    });
    for (let round = 0; round < 4; round += 1) {
      expect((await link.request('hello', {}, CALL)).header).toMatchObject({ status: 'approved' });
      pipes.at(-1)!.cut();
      // Asked in the moment of the cut: answered by the next connection.
      expect((await link.request('hello', {}, CALL)).header).toMatchObject({ status: 'approved' });
    }
    expect(pipes.length).toBeGreaterThan(4);
    expect(link.state).toBe('online');
    expect(link.lastError).toBeUndefined();
    await link.close();
    expect(link.state).toBe('closed');
    await until('the coordinator sees it go', () => coordinator.presence.online().length === 0);
  });

  test('tries again with growing pauses, says why it is offline, and calls end in time with the reason', async () => {
    const tries: number[] = [];
    const link = start({
      connect() {
        tries.push(performance.now());
        return offline();
      },
    });
    await expect(link.request('hello', {}, { timeoutMs: 60 })).rejects.toMatchObject({ detail: 'no route' });
    await expect(link.online(30)).rejects.toMatchObject({ code: 'not_connected' });
    expect(link.state).toBe('offline');
    expect(link.lastError?.detail).toBe('no route');
    await until('several tries', () => tries.length >= 5);
    await link.close();
    const count = tries.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(tries.length).toBe(count);
  });

  test('a waiting call is cancelled at once', async () => {
    const link = start({});
    const caller = new AbortController();
    const call = link.request('hello', {}, { timeoutMs: 60_000, signal: caller.signal });
    setTimeout(() => caller.abort(), 10);
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    await link.close();
    await expect(link.request('hello', {}, CALL)).rejects.toBeInstanceOf(QflError);
  });

  test('closes at once while it waits for approval, and while it connects', async () => {
    const { session } = fakeSession('a');
    const waiting = start({
      connect: () => Promise.resolve(session),
      onOpen: () => session.ended.then((error) => Promise.reject(error)),
    });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await waiting.close();
    const late = fakeSession('late');
    const gate = createDeferred<OpenSession>();
    const connecting = start({ connect: () => gate.promise });
    await connecting.close();
    gate.resolve(late.session);
    expect((await late.session.ended).detail).toBe('closed here');
  });

  test('does not use a connection before it is prepared, and drops one whose preparation fails', async () => {
    const [bad, good] = [fakeSession('bad'), fakeSession('good')];
    const sessions = [bad.session, good.session];
    let prepared = 0;
    const link = start({
      connect: () => Promise.resolve(sessions[prepared] ?? good.session),
      onOpen() {
        prepared += 1;
        return prepared === 1 ? Promise.reject(new QflError('revoked')) : Promise.resolve();
      },
    });
    expect((await link.request('hello', {}, CALL)).header).toBe('good');
    expect((await bad.session.ended).detail).toBe('closed here');
    expect(prepared).toBe(2);
    await link.close();
  });

  test('a stream ends with its connection, and is not asked again', async () => {
    const coordinator = await createTestCoordinator({
      handlers: {
        slow: {
          kind: 'stream',
          async *answer() {
            yield { header: 1 };
            await new Promise(() => undefined);
          },
        },
      },
    });
    const north = await enrolledSite('north', coordinator);
    let last: Pipe | undefined;
    const link = start({
      async connect() {
        const { session, pipe } = await north.connect(coordinator);
        last = pipe;
        return session;
      },
    });
    const seen: unknown[] = [];
    const read = async (): Promise<void> => {
      for await (const { header } of link.stream('slow', {}, CALL)) {
        seen.push(header);
        last?.cut();
      }
    };
    await expect(read()).rejects.toMatchObject({ code: 'not_connected' });
    expect(seen).toEqual([1]);
    await link.close();
  });

  test('what is notified offline is dropped, not kept for the next connection', async () => {
    const link = start({});
    expect(() => link.notify('telemetry', {})).not.toThrow();
    await link.close();
  });
});
