/**
 * `channel`: round trips a second of an echo over real Socket.IO on loopback, client and server in two processes, bytes back and
 * forth: plain Socket.IO (its default parser, a Buffer and an acknowledgement), the same bytes through our parser, and a call over
 * the sealed channel (both ways padded and sealed, through the programs' own link, transport and peer). The three take turns in
 * every round, so that a busy machine slows all of them; a ratio is the median over the rounds. Beside it the handshake, both sides
 * together in one thread, in milliseconds.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Server } from 'socket.io';
import { io, type Socket } from 'socket.io-client';
import { z } from 'zod';
import { openSession } from '../../agent/federation/session.ts';
import { openSocket } from '../../agent/federation/socket.ts';
import type { HandshakeDesk } from '../../coordinator/sites/handshakes.ts';
import { acceptSocket } from '../../coordinator/sites/link.ts';
import { createPresence } from '../../coordinator/sites/presence.ts';
import { attachSocketServer, SOCKET_BUFFER_BYTES_MAX } from '../../coordinator/sites/socket.ts';
import { utf8 } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { answerHandshake, STATEMENT_LABEL, startHandshake } from '../../shared/crypto/handshake.ts';
import { createIdentity, verifySignature } from '../../shared/crypto/signature.ts';
import { createHedge, xwingKeyPair } from '../../shared/crypto/xwing.ts';
import { SiteId } from '../../shared/ids.ts';
import { silentLogger } from '../../shared/log.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { FRAME_EVENT, frameParser } from '../../shared/wire/socketio-parser.ts';

const KINDS = ['plain', 'parser', 'sealed'] as const;
type Kind = (typeof KINDS)[number];
const CASES = [
  { payloadBytes: 1_024, inFlight: 1 },
  { payloadBytes: 1_024, inFlight: 32 },
  { payloadBytes: 65_536, inFlight: 1 },
  { payloadBytes: 65_536, inFlight: 32 },
] as const;
const TARGETS: Readonly<Record<number, number>> = { 1_024: 0.75, 65_536: 0.5 };
const ROUNDS = 7;
const ROUND_MS = 300;
const HANDSHAKES = 60;
const HANDSHAKE_TARGET_MS = 6;
const CALL_TIMEOUT_MS = 30_000;

// The keys of a bench are public: both processes derive them.
const hedge = createHedge(new Uint8Array(32), secureRandomBytes);
const coordinatorKem = xwingKeyPair(Buffer.alloc(32, 1));
const siteKem = xwingKeyPair(Buffer.alloc(32, 2));
const identity = createIdentity(Buffer.alloc(32, 3));
const leafHash = Buffer.alloc(32, 4);
const logOrigin = 'qfl/bench/keys';
const site = SiteId.parse('bench');
const welcome = (): Uint8Array =>
  utf8(JSON.stringify({ sessionId: '0'.repeat(32), serverTimeMs: 0, rehandshakeMs: 3_600_000 }));

/** The desk without stores: what is measured is the connection. */
const desk: HandshakeDesk = {
  answer: (first, socketId) =>
    answerHandshake(first, {
      keys: [coordinatorKem],
      logOrigin,
      socketId,
      hedge,
      keyOfLeaf: () => Promise.resolve(siteKem.publicKey),
      pskOfToken: () => Promise.resolve(undefined),
      welcome,
    }),
  verify(_introduction, statement, transcriptHash) {
    if (!verifySignature(identity.publicKeys, STATEMENT_LABEL, transcriptHash, statement))
      throw new Error('the statement of the bench does not hold');
    return site;
  },
  admit: () => Promise.resolve(),
};

const attach: Readonly<Record<Kind, (http: ReturnType<typeof createServer>) => void>> = {
  plain: (http) => {
    new Server(http, { transports: ['websocket'], perMessageDeflate: false }).on('connection', (socket) =>
      socket.on('echo', (bytes: Uint8Array, answer: (bytes: Uint8Array) => void) => answer(bytes)),
    );
  },
  parser: (http) => {
    new Server(http, {
      transports: ['websocket'],
      perMessageDeflate: false,
      parser: frameParser,
      maxHttpBufferSize: SOCKET_BUFFER_BYTES_MAX,
    }).on('connection', (socket) =>
      socket.on(FRAME_EVENT, (bytes: Uint8Array) => void socket.emit(FRAME_EVENT, bytes)),
    );
  },
  sealed: (http) => {
    const presence = createPresence(systemClock, () => undefined);
    attachSocketServer(http, {
      clock: systemClock,
      connectionsPerMinute: 1_000,
      accept: (wire, socketId) =>
        acceptSocket(wire, socketId, {
          desk,
          presence,
          clock: systemClock,
          logger: silentLogger,
          handlersFor: () => ({
            echo: { kind: 'plain', answer: ({ payload }) => Promise.resolve({ payload }) },
          }),
        }),
    });
  },
};

const serve = async (): Promise<void> => {
  const ports: Record<string, number> = {};
  for (const kind of KINDS) {
    const http = createServer();
    attach[kind](http);
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const address: AddressInfo = z.custom<AddressInfo>((value) => value !== null).parse(http.address());
    ports[kind] = address.port;
  }
  process.send?.(ports);
  process.on('disconnect', () => process.exit());
};

interface Echo {
  call(payload: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

const connected = async (socket: Socket): Promise<Socket> => {
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
};

const connect: Readonly<Record<Kind, (url: string) => Promise<Echo>>> = {
  plain: async (url) => {
    const socket = await connected(io(url, { transports: ['websocket'], forceNew: true }));
    return {
      call: (payload) => new Promise((resolve) => void socket.emit('echo', payload, resolve)),
      close: () => void socket.disconnect(),
    };
  },
  parser: async (url) => {
    const socket = await connected(
      io(url, { transports: ['websocket'], forceNew: true, parser: frameParser }),
    );
    const waiting: ((bytes: Uint8Array) => void)[] = [];
    socket.on(FRAME_EVENT, (bytes: Uint8Array) => waiting.shift()?.(bytes));
    return {
      call(payload) {
        const answer = new Promise<Uint8Array>((resolve) => void waiting.push(resolve));
        socket.emit(FRAME_EVENT, payload);
        return answer;
      },
      close: () => void socket.disconnect(),
    };
  },
  sealed: async (url) => {
    const socket = await openSocket({
      url,
      pinnedFingerprint: undefined,
      ca: undefined,
      env: {},
      connectTimeoutMs: CALL_TIMEOUT_MS,
    });
    const session = await openSession(
      socket,
      () =>
        Promise.resolve({
          coordinatorKey: coordinatorKem.publicKey,
          logOrigin,
          staticKey: siteKem,
          leafHash,
          checkpoint: { size: 0n, root: new Uint8Array(32) },
          statement: (hash) => identity.sign(STATEMENT_LABEL, hash),
        }),
      {},
      { clock: systemClock, hedge, logger: silentLogger },
    );
    return {
      call: async (payload) =>
        (await session.peer.request('echo', { payload }, { timeoutMs: CALL_TIMEOUT_MS })).payload,
      close: () => session.close(),
    };
  },
};

/** Round trips a second with `inFlight` calls under way all the time. */
const measure = async (echo: Echo, payload: Uint8Array, inFlight: number): Promise<number> => {
  const begunMs = performance.now();
  const endMs = begunMs + ROUND_MS;
  let done = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const back = await echo.call(payload);
      if (back.byteLength !== payload.byteLength) throw new Error('the echo has another length');
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (done * 1_000) / (performance.now() - begunMs);
};

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[values.length >> 1] ?? Number.NaN;

export interface ChannelBenchRow {
  readonly payloadBytes: number;
  readonly inFlight: number;
  readonly plainPerSecond: number;
  readonly parserPerSecond: number;
  readonly sealedPerSecond: number;
  readonly parserRatio: number;
  readonly sealedRatio: number;
  readonly targetRatio: number;
}

const measureCase = async (
  echoes: Readonly<Record<Kind, Echo>>,
  { payloadBytes, inFlight }: { readonly payloadBytes: number; readonly inFlight: number },
): Promise<ChannelBenchRow> => {
  const payload = Buffer.from(secureRandomBytes(payloadBytes));
  const rates: Record<Kind, number[]> = { plain: [], parser: [], sealed: [] };
  for (const kind of KINDS) await measure(echoes[kind], payload, inFlight);
  for (let round = 0; round < ROUNDS; round += 1)
    for (const kind of KINDS) rates[kind].push(await measure(echoes[kind], payload, inFlight));
  const ratio = (kind: Kind): number =>
    median(rates[kind].map((rate, round) => rate / (rates.plain[round] ?? Number.NaN)));
  return {
    payloadBytes,
    inFlight,
    plainPerSecond: median(rates.plain),
    parserPerSecond: median(rates.parser),
    sealedPerSecond: median(rates.sealed),
    parserRatio: ratio('parser'),
    sealedRatio: ratio('sealed'),
    targetRatio: TARGETS[payloadBytes] ?? Number.NaN,
  };
};

/** One handshake, M1 to M3 with its signature made and checked, both sides in this thread; milliseconds. */
const handshakeOnce = async (): Promise<number> => {
  const begunMs = performance.now();
  const socketId = 'bench';
  const started = startHandshake({
    coordinatorKey: coordinatorKem.publicKey,
    logOrigin,
    socketId,
    checkpoint: { size: 0n, root: new Uint8Array(32) },
    versions: 'fed-hs/1',
    softwareVersion: '0.1.0',
    staticKey: siteKem,
    leafHash,
    hedge,
  });
  const answered = await desk.answer(started.message, socketId);
  const finished = started.finish(answered.message, (hash) => identity.sign(STATEMENT_LABEL, hash));
  const { statement, keys } = answered.finish(finished.message);
  desk.verify(answered.introduction, statement, keys.transcriptHash);
  const tookMs = performance.now() - begunMs;
  for (const side of [keys, finished.keys]) {
    side.send.close();
    side.receive.close();
  }
  return tookMs;
};

const handshakeMs = async (): Promise<number> => {
  const times: number[] = [];
  for (let index = 0; index < HANDSHAKES; index += 1) times.push(await handshakeOnce());
  return median(times.slice(HANDSHAKES / 4));
};

const startServer = async (): Promise<{ child: ChildProcess; ports: Readonly<Record<Kind, number>> }> => {
  const child = fork(fileURLToPath(import.meta.url), ['serve-echo']);
  const [message]: unknown[] = await once(child, 'message');
  return { child, ports: z.record(z.enum(KINDS), z.int()).parse(message) };
};

const table = (rows: readonly ChannelBenchRow[], handshake: number): string => {
  const head = ['bytes', 'in flight', 'plain/s', 'parser/s', 'sealed/s', 'parser', 'sealed', 'target'];
  const lines = rows.map((row) => [
    String(row.payloadBytes),
    String(row.inFlight),
    row.plainPerSecond.toFixed(0),
    row.parserPerSecond.toFixed(0),
    row.sealedPerSecond.toFixed(0),
    `${row.parserRatio.toFixed(2)}x`,
    `${row.sealedRatio.toFixed(2)}x`,
    `${row.targetRatio.toFixed(2)}x`,
  ]);
  const body = [head, ...lines].map((cells) => cells.map((cell) => cell.padStart(11)).join('')).join('\n');
  return (
    `echo round trips a second, two processes, loopback; ratios to plain Socket.IO of the same round\n${body}\n` +
    `handshake, both sides together: ${handshake.toFixed(2)} ms (target ${HANDSHAKE_TARGET_MS})`
  );
};

/** Prints a table, or one JSON object with `json`. */
export const run = async ({ json }: { readonly json: boolean }): Promise<readonly ChannelBenchRow[]> => {
  const { child, ports } = await startServer();
  try {
    const open = (kind: Kind): Promise<Echo> => connect[kind](`http://127.0.0.1:${ports[kind]}`);
    const echoes = { plain: await open('plain'), parser: await open('parser'), sealed: await open('sealed') };
    const rows: ChannelBenchRow[] = [];
    for (const one of CASES) rows.push(await measureCase(echoes, one));
    const handshake = await handshakeMs();
    for (const kind of KINDS) echoes[kind].close();
    console.log(
      json ? JSON.stringify({ bench: 'channel', rows, handshakeMs: handshake }) : table(rows, handshake),
    );
    return rows;
  } finally {
    child.disconnect();
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === 'serve-echo') await serve();
