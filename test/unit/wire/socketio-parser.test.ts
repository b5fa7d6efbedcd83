/** Our Socket.IO parser, alone and under the real server and client. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { io } from 'socket.io-client';
import fc from 'fast-check';
import { z } from 'zod';
import { openSocket } from '../../../agent/federation/socket.ts';
import { attachSocketServer } from '../../../coordinator/sites/socket.ts';
import { systemClock } from '../../../shared/clock.ts';
import { FRAME_EVENT, frameParser, isCongested } from '../../../shared/wire/socketio-parser.ts';
import type { Wire } from '../../../shared/wire/transport.ts';

const { Encoder, Decoder } = frameParser;
const decode = (chunk: unknown): unknown[] => {
  const decoder = new Decoder();
  const packets: unknown[] = [];
  decoder.on('decoded', (packet) => packets.push(packet));
  decoder.add(chunk);
  return packets;
};

const packetsOf = (text: string): unknown[] => {
  try {
    return decode(text);
  } catch {
    return ['refused'];
  }
};

describe('the parser', () => {
  test('a frame is one binary message, and nothing else of an event can be said', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    expect(new Encoder().encode({ type: 2, nsp: '/', data: [FRAME_EVENT, bytes] })).toEqual([bytes]);
    for (const data of [['chat', bytes], [FRAME_EVENT, 'text'], [FRAME_EVENT], [], undefined, { f: bytes }])
      expect(() => new Encoder().encode({ type: 2, nsp: '/', data })).toThrowError('only frames');
    expect(decode(bytes)).toEqual([{ type: 2, nsp: '/', data: [FRAME_EVENT, bytes] }]);
    expect(decode(bytes.buffer)).toEqual([{ type: 2, nsp: '/', data: [FRAME_EVENT, bytes] }]);
  });

  test('control packets are JSON, on the one namespace', () => {
    const connect = { type: 0, nsp: '/', data: { sid: 'x' } };
    expect(decode(new Encoder().encode(connect)[0])).toEqual([connect]);
    for (const text of [
      '{"type":2,"nsp":"/","data":["chat"]}',
      '{"type":3,"nsp":"/","id":1}',
      '{"type":0,"nsp":"/admin"}',
      '{"type":0,"nsp":"/","more":1}',
      '[]',
      'no json',
      `{"type":0,"nsp":"/","data":{"x":"${'x'.repeat(5_000)}"}}`,
    ])
      expect(() => decode(text)).toThrowError(/./);
  });

  test('arbitrary text is a control packet or an error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(
          packetsOf(text).every(
            (packet) =>
              packet === 'refused' || z.looseObject({ nsp: z.literal('/') }).safeParse(packet).success,
          ),
        ).toBe(true);
      }),
    );
  });
});

describe('the real server and client', () => {
  const http = createServer();
  const wires: Wire[] = [];
  const received: Uint8Array[] = [];
  let gone = 0;
  let url = '';
  let sockets: { close(): Promise<void> };
  beforeAll(async () => {
    sockets = attachSocketServer(http, {
      clock: systemClock,
      connectionsPerMinute: 6,
      accept(wire) {
        wires.push(wire);
        return { receive: (bytes) => void received.push(Buffer.from(bytes)), gone: () => void (gone += 1) };
      },
    });
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const address = http.address();
    url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  });
  afterAll(async () => {
    await sockets.close();
    http.close();
  });
  const target = () => ({
    url,
    pinnedFingerprint: undefined,
    ca: undefined,
    env: {},
    connectTimeoutMs: 5_000,
  });
  const settle = (ms = 50): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test('frames travel both ways, in order, up to the limit; a close is seen', async () => {
    const socket = await openSocket(target());
    const down: Uint8Array[] = [];
    socket.onFrame((bytes) => void down.push(Buffer.from(bytes)));
    for (const size of [1, 1_000, 262_300]) {
      socket.wire.send(new Uint8Array(size).fill(7));
      wires.at(-1)!.send(new Uint8Array(size).fill(8));
    }
    await settle(150);
    expect(received.map(({ byteLength }) => byteLength)).toEqual([1, 1_000, 262_300]);
    expect(down.map(({ byteLength }) => byteLength)).toEqual([1, 1_000, 262_300]);
    wires.at(-1)!.close();
    expect(await socket.gone).toContain('disconnect');
    expect(gone).toBe(1);
  });

  test('a frame above the limit ends the connection', async () => {
    const socket = await openSocket(target());
    socket.wire.send(new Uint8Array(1_048_577 + 10));
    await socket.gone;
    expect(received.every(({ byteLength }) => byteLength < 300_000)).toBe(true);
  });

  test('a wire that is behind says so, and no longer once it caught up', async () => {
    const socket = await openSocket(target());
    await settle();
    expect(socket.wire.congested?.()).toBe(false);
    for (let index = 0; index < 40; index += 1) socket.wire.send(new Uint8Array(500_000));
    expect(socket.wire.congested?.()).toBe(true);
    for (let waits = 0; waits < 100 && socket.wire.congested?.() === true; waits += 1) await settle();
    expect(socket.wire.congested?.()).toBe(false);
    expect(isCongested({})).toBe(false);
    wires.at(-1)!.close();
    await socket.gone;
  });

  test('a client with the default parser is thrown out before it can say anything', async () => {
    const before = wires.length;
    const client = io(url, { transports: ['websocket'], forceNew: true, reconnection: false });
    await new Promise<void>((resolve) => client.io.once('close', () => resolve()));
    expect(client.connected).toBe(false);
    expect(wires.length).toBe(before);
  });

  test('long polling and too many connections of one address are refused', async () => {
    const polling = await fetch(`${url}/socket.io/?EIO=4&transport=polling`);
    expect(polling.ok).toBe(false);
    const more = await Promise.allSettled(Array.from({ length: 6 }, () => openSocket(target())));
    expect(more.some(({ status }) => status === 'rejected')).toBe(true);
    for (const one of more) if (one.status === 'fulfilled') one.value.wire.close();
  });
});
