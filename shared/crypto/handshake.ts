/**
 * `fed-hs/1`, the mutually authenticated, post-quantum hybrid handshake between an agent and the coordinator
 * (design: security, section 3). It knows bytes, not sockets. Authentication is by the X-Wing keys: only the true
 * coordinator opens M1, only the true site opens M2; M3 adds the site's signed statement.
 */
import { concat, equalConstantTime, fromUtf8, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import {
  decodeFirst,
  decodeHead,
  decodeSecond,
  encodeFirst,
  encodeHead,
  encodeSecond,
  firstMac,
  type HandshakeHead,
  MESSAGE_BYTES_MAX,
  prologue,
} from './handshake-messages.ts';
import { deriveKey } from './hash.ts';
import {
  openPullStream,
  openPushStream,
  type PullStream,
  type PushStream,
  STREAM_HEADER_BYTES,
} from './secretstream.ts';
import { Transcript } from './transcript.ts';
import {
  decapsulate,
  encapsulate,
  ephemeralKeyPair,
  type Hedge,
  XWING_PUBLIC_BYTES,
  type XWingKeyPair,
} from './xwing.ts';

export const TOKEN_ID_BYTES = 16;
export const STATEMENT_LABEL = 'fed-hs/1 session statement';
const SOFTWARE_BYTES = 32;
const SITE_BYTES = 40;

/** The secrets of an open session, one stream for each direction. */
export interface SessionKeys {
  readonly send: PushStream;
  readonly receive: PullStream;
  /** 64 bytes that name the session; safe to log. */
  readonly transcriptHash: Uint8Array;
  /** 32 bytes for other protocols bound to this session. */
  readonly exporter: Uint8Array;
}

const fixed = (text: string, length: number): Uint8Array => {
  const bytes = Buffer.alloc(length);
  if (bytes.write(text, 'utf8') !== Buffer.byteLength(text))
    throw new QflError('invalid_request', { detail: `"${text}" is longer than ${length} bytes` });
  return bytes;
};
const unfixed = (bytes: Uint8Array): string => fromUtf8(bytes).replace(/\0+$/, '');

/** What a one-time token contributes to an enrolment; the token itself is never sent. */
export interface EnrolmentSecret {
  readonly tokenId: Uint8Array;
  readonly psk: Uint8Array;
  readonly site: string;
}

/** The pre-shared key of a 32-byte token: all that the coordinator keeps of it. */
export const enrolmentPsk = (token: Uint8Array): Uint8Array =>
  deriveKey(token, new Uint8Array(0), 'fed-hs/1 enrolment psk');

export interface AgentHandshake {
  readonly coordinatorKey: Uint8Array;
  readonly logOrigin: string;
  readonly socketId: string;
  readonly checkpoint: HandshakeHead['checkpoint'];
  readonly versions: string;
  readonly softwareVersion: string;
  readonly staticKey: XWingKeyPair;
  /** Names the site's key in the directory; an enrolment sends the key itself instead. */
  readonly leafHash: Uint8Array;
  readonly enrolment?: EnrolmentSecret;
  readonly hedge: Hedge;
}

export interface AgentWaiting {
  readonly message: Uint8Array;
  /**
   * Reads M2; `statement` gets the transcript hash and returns the content of M3.
   * @throws QflError `handshake_refused`
   */
  finish(
    second: Uint8Array,
    statement: (transcriptHash: Uint8Array) => Uint8Array,
  ): { message: Uint8Array; welcome: Uint8Array; keys: SessionKeys };
}

const sealIntroduction = (transcript: Transcript, options: AgentHandshake): Uint8Array[] => {
  const software = fixed(options.softwareVersion, SOFTWARE_BYTES);
  if (options.enrolment === undefined) return [transcript.seal(concat(options.leafHash, software))];
  const named = transcript.seal(options.enrolment.tokenId);
  transcript.mix(options.enrolment.psk);
  return [
    named,
    transcript.seal(concat(options.staticKey.publicKey, fixed(options.enrolment.site, SITE_BYTES), software)),
  ];
};

/** The agent's first step: M1, and what to do with the answer. */
export const startHandshake = (options: AgentHandshake): AgentWaiting => {
  const { hedge, coordinatorKey } = options;
  const head = encodeHead({
    kind: options.enrolment ? 'enrolment' : 'session',
    checkpoint: options.checkpoint,
    versions: options.versions,
  });
  const transcript = new Transcript(prologue(options.logOrigin, options.socketId, head));
  const ephemeral = ephemeralKeyPair(hedge, 'm1 e', transcript.hash);
  const first = encapsulate(coordinatorKey, hedge, 'm1 ct1', transcript.hash);
  transcript.absorb(first.ciphertext);
  transcript.absorb(ephemeral.publicKey);
  transcript.mix(first.secret);
  const boxes = sealIntroduction(transcript, options);
  const message = encodeFirst(coordinatorKey, {
    head,
    ciphertext: first.ciphertext,
    ephemeral: ephemeral.publicKey,
    boxes,
  });
  return {
    message,
    finish(second, statement) {
      const { ciphertext, staticBox, welcomeBox } = decodeSecond(second);
      transcript.absorb(ciphertext);
      transcript.mix(decapsulate(ephemeral.seed, ciphertext));
      transcript.mix(decapsulate(options.staticKey.seed, transcript.open(staticBox)));
      const downKey = transcript.split('down');
      const welcome = transcript.open(welcomeBox);
      const send = openPushStream(transcript.split('up'));
      const receive = openPullStream(downKey, welcome.subarray(0, STREAM_HEADER_BYTES));
      const keys = { send, receive, transcriptHash: transcript.hash, exporter: transcript.split('exporter') };
      const third = concat(send.header, send.push(statement(transcript.hash), 'message', utf8('m3')));
      return { message: third, welcome: welcome.subarray(STREAM_HEADER_BYTES), keys };
    },
  };
};

/** Who the peer of M1 says it is, before M3 proves it. */
export type Introduction =
  | { readonly kind: 'session'; readonly leafHash: Uint8Array; readonly softwareVersion: string }
  | {
      readonly kind: 'enrolment';
      readonly tokenId: Uint8Array;
      readonly site: string;
      readonly staticKey: Uint8Array;
      readonly softwareVersion: string;
    };

export interface CoordinatorHandshake {
  /** KEM keys in force: the current epoch, and the one before while they overlap. */
  readonly keys: readonly XWingKeyPair[];
  readonly logOrigin: string;
  readonly socketId: string;
  readonly hedge: Hedge;
  /** The static key of a directory leaf; undefined when unknown, expired or revoked. */
  keyOfLeaf(leafHash: Uint8Array): Promise<Uint8Array | undefined>;
  /** The pre-shared key of an unused, unexpired token. */
  pskOfToken(tokenId: Uint8Array): Promise<Uint8Array | undefined>;
  /** Content of the welcome: session id, time, limits. */
  welcome(introduction: Introduction): Uint8Array;
}

export interface CoordinatorWaiting {
  readonly message: Uint8Array;
  readonly introduction: Introduction;
  readonly head: HandshakeHead;
  /** Reads M3: its content, still to be verified by the caller against the transcript hash. */
  finish(third: Uint8Array): { statement: Uint8Array; keys: SessionKeys };
  /** Frees what is held for a peer that never finished. */
  abandon(): void;
}

const refuse = (detail: string): QflError => new QflError('handshake_refused', { detail });

const readIntroduction = async (
  transcript: Transcript,
  boxes: readonly Uint8Array[],
  head: HandshakeHead,
  options: CoordinatorHandshake,
): Promise<{ introduction: Introduction; staticKey: Uint8Array }> => {
  const [firstBox, secondBox] = boxes;
  if (firstBox === undefined || (head.kind === 'enrolment') !== (secondBox !== undefined))
    throw refuse('wrong number of boxes');
  const opened = transcript.open(firstBox);
  if (secondBox === undefined) {
    if (opened.byteLength !== 32 + SOFTWARE_BYTES) throw refuse('wrong introduction');
    const leafHash = opened.subarray(0, 32);
    const staticKey = await options.keyOfLeaf(leafHash);
    if (staticKey === undefined) throw refuse('the site key is unknown, expired or revoked');
    return {
      introduction: { kind: 'session', leafHash, softwareVersion: unfixed(opened.subarray(32)) },
      staticKey,
    };
  }
  const psk = opened.byteLength === TOKEN_ID_BYTES ? await options.pskOfToken(opened) : undefined;
  if (psk === undefined) throw refuse('the invitation token is unknown, used or expired');
  transcript.mix(psk);
  const described = transcript.open(secondBox);
  if (described.byteLength !== XWING_PUBLIC_BYTES + SITE_BYTES + SOFTWARE_BYTES)
    throw refuse('wrong introduction');
  const staticKey = described.subarray(0, XWING_PUBLIC_BYTES);
  const site = unfixed(described.subarray(XWING_PUBLIC_BYTES, XWING_PUBLIC_BYTES + SITE_BYTES));
  const softwareVersion = unfixed(described.subarray(XWING_PUBLIC_BYTES + SITE_BYTES));
  return {
    introduction: { kind: 'enrolment', tokenId: opened, site, staticKey, softwareVersion },
    staticKey,
  };
};

/**
 * The coordinator's answer to M1. It says nothing to a peer that does not know its key, and keeps nothing but the returned
 * object.
 * @throws QflError `handshake_refused`
 */
export const answerHandshake = async (
  first: Uint8Array,
  options: CoordinatorHandshake,
): Promise<CoordinatorWaiting> => {
  const message = decodeFirst(first);
  const own = options.keys.find((key) =>
    equalConstantTime(firstMac(key.publicKey, message.covered), message.mac),
  );
  if (own === undefined) throw refuse('not addressed to a key of this coordinator');
  const head = decodeHead(message.head);
  const transcript = new Transcript(prologue(options.logOrigin, options.socketId, message.head));
  transcript.absorb(message.ciphertext);
  transcript.absorb(message.ephemeral);
  transcript.mix(decapsulate(own.seed, message.ciphertext));
  const { introduction, staticKey } = await readIntroduction(transcript, message.boxes, head, options);
  const second = encapsulate(message.ephemeral, options.hedge, 'm2 ct2', transcript.hash);
  transcript.absorb(second.ciphertext);
  transcript.mix(second.secret);
  const third = encapsulate(staticKey, options.hedge, 'm2 ct3', transcript.hash);
  const staticBox = transcript.seal(third.ciphertext);
  transcript.mix(third.secret);
  // The down stream's header rides inside the welcome box, so its key is split just before that box is sealed.
  const send = openPushStream(transcript.split('down'));
  const welcomeBox = transcript.seal(concat(send.header, options.welcome(introduction)));
  return {
    message: encodeSecond(second.ciphertext, staticBox, welcomeBox),
    introduction,
    head,
    finish: (bytes) => finishThird(bytes, transcript, send),
    abandon: () => send.close(),
  };
};

const finishThird = (
  bytes: Uint8Array,
  transcript: Transcript,
  send: PushStream,
): { statement: Uint8Array; keys: SessionKeys } => {
  if (bytes.byteLength < STREAM_HEADER_BYTES || bytes.byteLength > MESSAGE_BYTES_MAX * 4) {
    send.close();
    throw refuse('the third message has a wrong length');
  }
  const receive = openPullStream(transcript.split('up'), bytes.subarray(0, STREAM_HEADER_BYTES));
  const pulled = receive.pull(bytes.subarray(STREAM_HEADER_BYTES), utf8('m3'));
  if (pulled === undefined || pulled.tag !== 'message') {
    send.close();
    receive.close();
    throw refuse('the third message does not open');
  }
  const keys = { send, receive, transcriptHash: transcript.hash, exporter: transcript.split('exporter') };
  return { statement: pulled.message, keys };
};
