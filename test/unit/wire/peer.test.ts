/** Calls over a channel, peer to peer, without a channel: messages are handed over in later turns. */
import { describe, expect, test } from 'vitest';
import { createDeferred } from '../../../shared/deferred.ts';
import { QflError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import type { Message } from '../../../shared/wire/message.ts';
import {
  createPeer,
  DEFAULT_PEER_LIMITS,
  type Handlers,
  type Peer,
  type PeerLimits,
} from '../../../shared/wire/peer.ts';

const CALL = { timeoutMs: 5_000 };
const turn = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const pair = (handlers: Handlers, limits: PeerLimits = DEFAULT_PEER_LIMITS) => {
  const sent: Message[] = [];
  const faults: unknown[] = [];
  let far: Peer | undefined;
  const hand = (to: () => Peer | undefined) => (message: Message) => {
    sent.push(message);
    setImmediate(() => {
      try {
        to()?.receive(message);
      } catch (error) {
        faults.push(error);
      }
    });
  };
  const near: Peer = createPeer(
    hand(() => far),
    {},
    silentLogger,
    limits,
  );
  far = createPeer(
    hand(() => near),
    handlers,
    silentLogger,
    limits,
  );
  return { near, far, sent, faults };
};
const plain = (answer: () => Promise<object>): Handlers => ({ call: { kind: 'plain', answer } });
const typesOf = (sent: readonly Message[]): string[] => sent.map(({ type }) => type);

describe('a call', () => {
  test('that times out tells the other side, which stops', async () => {
    const stopped = createDeferred<void>();
    const { near, sent } = pair({
      call: {
        kind: 'plain',
        answer: async ({ signal }) => {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          stopped.resolve();
          return {};
        },
      },
    });
    await expect(near.request('call', {}, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'timeout' });
    await stopped.promise;
    await turn();
    expect(typesOf(sent)).toEqual(['request', 'cancel']);
  });

  test('that is cancelled tells the other side; a late answer is ignored', async () => {
    const { near, faults } = pair(plain(() => turn(10).then(() => ({ header: 'late' }))));
    const caller = new AbortController();
    const call = near.request('call', {}, { ...CALL, signal: caller.signal });
    await turn(1);
    caller.abort();
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    await expect(near.request('call', {}, { ...CALL, signal: caller.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    await turn(20);
    expect(faults).toEqual([]);
    await expect(near.request('call', {}, CALL)).resolves.toMatchObject({ header: 'late' });
  });

  test('keeps code, detail, next and facts of an error; anything else becomes internal, unseen', async () => {
    const facts = { ledger: 'user-day', remaining: 0.25 };
    const typed = pair(
      plain(() => Promise.reject(new QflError('budget_exceeded', { detail: 'd', next: 'n', facts }))),
    );
    await expect(typed.near.request('call', {}, CALL)).rejects.toMatchObject({
      code: 'budget_exceeded',
      detail: 'd',
      next: 'n',
      facts,
    });
    const untyped = pair(plain(() => Promise.reject(new Error('patient Smith is missing'))));
    const error = await untyped.near.request('call', {}, CALL).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'internal' });
    expect(JSON.stringify(untyped.sent)).not.toContain('Smith');
  });

  test('an error that JSON cannot hold, or too long to send, still arrives', async () => {
    const big = pair(plain(() => Promise.reject(new QflError('conflict', { facts: { at: 5n } }))));
    await expect(big.near.request('call', {}, CALL)).rejects.toMatchObject({ code: 'conflict' });
    const long = pair(plain(() => Promise.reject(new QflError('conflict', { detail: 'x'.repeat(9_999) }))));
    await expect(long.near.request('call', {}, CALL)).rejects.toMatchObject({
      code: 'conflict',
      detail: 'x'.repeat(1_000),
    });
  });

  test('an error of an unknown code is internal', async () => {
    const { near } = pair({});
    const call = near.request('call', {}, CALL);
    near.receive({ type: 'error', id: 1, header: { code: 'nonsense' }, payload: new Uint8Array(0) });
    await expect(call).rejects.toMatchObject({ code: 'internal' });
  });

  test('too many at once are refused, and the others go on', async () => {
    const gate = createDeferred<void>();
    const { near } = pair(
      plain(() => gate.promise.then(() => ({}))),
      { callsMax: 3, bufferedMax: 10 },
    );
    const calls = Array.from({ length: 5 }, () => near.request('call', {}, CALL));
    const settled = Promise.allSettled(calls);
    await turn();
    gate.resolve();
    const outcomes = await settled;
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect(outcomes[4]).toMatchObject({ reason: { code: 'overloaded' } });
  });

  test('that cannot be sent fails, and nothing of it stays', async () => {
    let sends = 0;
    const peer = createPeer(
      () => {
        sends += 1;
        throw new QflError('too_large');
      },
      {},
      silentLogger,
    );
    await expect(peer.request('call', {}, CALL)).rejects.toMatchObject({ code: 'too_large' });
    const stream = peer.stream('call', {}, CALL)[Symbol.asyncIterator]();
    await expect(stream.next()).rejects.toMatchObject({ code: 'too_large' });
    expect(sends).toBe(2);
    peer.close(new QflError('not_connected'));
    expect(sends).toBe(2);
  });
});

describe('a stream', () => {
  const counting = (count: number, returned: { was: boolean }): Handlers => ({
    call: {
      kind: 'stream',
      async *answer() {
        try {
          for (let index = 0; index < count; index += 1) {
            yield { header: index };
            await turn(0);
          }
        } finally {
          returned.was = true;
        }
      },
    },
  });

  test('left early cancels at the other side, whose generator is closed', async () => {
    const returned = { was: false };
    const { near, sent } = pair(counting(10_000, returned));
    for await (const { header } of near.stream('call', {}, CALL)) if (header === 3) break;
    await turn(20);
    expect(returned.was).toBe(true);
    expect(typesOf(sent)).toContain('cancel');
    expect(typesOf(sent)).not.toContain('end');
  });

  test('that is silent too long times out', async () => {
    const { near } = pair({
      call: {
        kind: 'stream',
        async *answer() {
          yield { header: 1 };
          await new Promise(() => undefined);
        },
      },
    });
    const seen: unknown[] = [];
    const read = async (): Promise<void> => {
      for await (const { header } of near.stream('call', {}, { timeoutMs: 300 })) seen.push(header);
    };
    await expect(read()).rejects.toMatchObject({ code: 'timeout' });
    expect(seen).toEqual([1]);
  });

  test('whose reader is too slow ends with overloaded, at both ends', async () => {
    const { near, sent } = pair(
      {
        call: {
          kind: 'stream',
          async *answer({ signal }) {
            for (let index = 0; !signal.aborted && index < 1_000; index += 1) {
              yield { header: index };
              if (index % 5 === 0) await turn(0);
            }
          },
        },
      },
      { callsMax: 10, bufferedMax: 20 },
    );
    const reader = near.stream('call', {}, CALL)[Symbol.asyncIterator]();
    await reader.next();
    await turn(150);
    await expect(
      (async () => {
        for (;;) await reader.next();
      })(),
    ).rejects.toMatchObject({ code: 'overloaded' });
    expect(typesOf(sent)).toContain('cancel');
    expect(typesOf(sent).filter((type) => type === 'chunk').length).toBeLessThan(900);
  });

  test('an error in the middle comes after what was sent before', async () => {
    const { near } = pair({
      call: {
        kind: 'stream',
        async *answer() {
          yield { header: 1 };
          throw new QflError('cut');
        },
      },
    });
    const seen: unknown[] = [];
    const read = async (): Promise<void> => {
      for await (const { header } of near.stream('call', {}, CALL)) seen.push(header);
    };
    await expect(read()).rejects.toMatchObject({ code: 'cut' });
    expect(seen).toEqual([1]);
  });
});

describe('the end of a connection', () => {
  test('fails every open call, aborts every running one, and lets nothing begin', async () => {
    const aborted = createDeferred<void>();
    const { near, far } = pair({
      call: {
        kind: 'plain',
        answer: ({ signal }) => {
          signal.addEventListener('abort', () => aborted.resolve());
          return new Promise(() => undefined);
        },
      },
    });
    const open = [
      near.request('call', {}, CALL),
      near.stream('call', {}, CALL)[Symbol.asyncIterator]().next(),
    ];
    const settled = Promise.allSettled(open);
    await turn();
    far.close(new QflError('not_connected'));
    await aborted.promise;
    near.close(new QflError('not_connected', { detail: 'gone' }));
    near.close(new QflError('internal'));
    for (const outcome of await settled)
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: 'not_connected', detail: 'gone' },
      });
    await expect(near.request('call', {}, CALL)).rejects.toMatchObject({ code: 'not_connected' });
    near.notify('event', {});
  });
});

describe('what breaks the protocol', () => {
  const message = (type: Message['type'], id: number, header?: unknown): Message => ({
    type,
    id,
    header,
    payload: new Uint8Array(0),
  });
  const hang: Handlers = {
    call: { kind: 'plain', answer: () => new Promise(() => undefined) },
    note: { kind: 'event', accept: () => undefined },
  };
  test.each<[string, Message[]]>([
    ['a request without a method', [message('request', 1, { h: 1 })]],
    ['a request with more than a method', [message('request', 1, { m: 'call', x: 1 })]],
    [
      'an id used twice at once',
      [message('request', 1, { m: 'call' }), message('request', 1, { m: 'call' })],
    ],
    ['an unknown event', [message('event', 0, { m: 'toString' })]],
    ['a method called as an event', [message('event', 0, { m: 'call' })]],
  ])('%s is an error that ends the connection', (_, messages) => {
    const peer = createPeer(() => undefined, hang, silentLogger);
    expect(() => messages.forEach((one) => peer.receive(one))).toThrowError(
      expect.objectContaining({ code: 'protocol' }),
    );
  });

  test('a stream where one answer was due, and the other way round', () => {
    const peer = createPeer(() => undefined, hang, silentLogger);
    peer.request('call', {}, CALL).catch(() => undefined);
    expect(() => peer.receive(message('chunk', 1))).toThrowError(
      expect.objectContaining({ code: 'protocol' }),
    );
    const stream = peer.stream('call', {}, CALL)[Symbol.asyncIterator]();
    stream.next().catch(() => undefined);
    expect(() => peer.receive(message('response', 2))).toThrowError(
      expect.objectContaining({ code: 'protocol' }),
    );
    peer.close(new QflError('not_connected'));
  });

  test('answers to nothing, and cancels of nothing, are ignored', () => {
    const peer = createPeer(() => undefined, hang, silentLogger);
    for (const type of ['response', 'chunk', 'end', 'error', 'cancel'] as const)
      expect(() => peer.receive(message(type, 77))).not.toThrow();
  });
});
