/**
 * `fed-e2e/1`, questions: sealed by one site for a few others, readable by nobody between (design: security, section 4).
 *
 * One body key K seals the body once; each recipient gets K wrapped under an X-Wing encapsulation to its prekey of the
 * day. The header in clear is associated data of both and carries a commitment to K.
 */
import { equalConstantTime, framed, fromUtf8, toBase64, utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import type { SiteId } from '../ids.ts';
import type { RandomBytes } from '../random.ts';
import { Envelope, type PrekeyId, QueryContent } from '../wire/envelope.ts';
import { unframed } from '../wire/framing.ts';
import { blake2b, deriveKey, hashOf } from './hash.ts';
import {
  type HybridSignature,
  type Identity,
  type IdentityPublic,
  verifyHybrid,
  verifySignature,
} from './signature.ts';
import { MLDSA65_SIGNATURE_BYTES } from './lattice/port.ts';
import { sodium } from './sodium.ts';
import { decapsulate, type Encapsulation, XWING_CIPHERTEXT_BYTES, XWING_PUBLIC_BYTES } from './xwing.ts';

const QUERY_LABEL = 'fed-e2e/1 query';
const NONCE_BYTES = 24;
const BODY_KEY_BYTES = 32;
const WRAPPED_BYTES = BODY_KEY_BYTES + 16;
const WRAP_BYTES = XWING_CIPHERTEXT_BYTES + WRAPPED_BYTES;
const HEADER_BYTES_MAX = 16_384;
/** Sealed bodies are multiples of this, so lengths tell little. */
const BODY_STEP_BYTES = 1_024;
export const SEALED_BODY_BYTES_MAX = 2 * 1_048_576;

export interface SealedQuery {
  /** Canonical JSON of the envelope; kept as the bytes that were sealed over. */
  readonly header: Uint8Array;
  /** One per recipient, in the envelope's order; empty where the coordinator cut those meant for others. */
  readonly wraps: readonly Uint8Array[];
  readonly body: Uint8Array;
}

export interface Recipient {
  readonly site: SiteId;
  readonly prekey: PrekeyId;
  /** An encapsulation to that prekey, used once; an empty one for the sender itself, which needs no seal. */
  readonly encapsulation: Encapsulation;
}

const refused = (detail: string): QflError => new QflError('bad_signature', { detail });

/** Names a query for receipts, replies and the ledger: header and body, not who it was wrapped for. */
export const queryHash = (sealed: Pick<SealedQuery, 'header' | 'body'>): Uint8Array =>
  hashOf('fed-e2e/1 query hash', sealed.header, sealed.body);

const commitmentTo = (bodyKey: Uint8Array, queryId: string): Uint8Array =>
  blake2b(32, framed(utf8('fed-e2e/1 commitment'), utf8(queryId)), bodyKey);

const wrapKey = (
  secret: Uint8Array,
  headerHash: Uint8Array,
  sender: string,
  recipient: string,
  prekey: string,
): Uint8Array =>
  deriveKey(secret, framed(utf8(sender), utf8(recipient), utf8(prekey), headerHash), 'fed-e2e/1 wrap');

const ZERO_NONCE = new Uint8Array(NONCE_BYTES);
const aeadSeal = (
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associated: Uint8Array,
): Uint8Array => sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, null, nonce, key);
const aeadOpen = (
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
): Uint8Array => {
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, associated, nonce, key);
  } catch (cause) {
    throw new QflError('protocol', { detail: 'a sealed query does not open', cause });
  }
};

/** u32 length, content, zeros to a multiple of 1 KiB. */
const padBody = (content: Uint8Array): Uint8Array => {
  const padded = Buffer.alloc(Math.ceil((content.byteLength + 4) / BODY_STEP_BYTES) * BODY_STEP_BYTES);
  padded.writeUInt32BE(content.byteLength);
  padded.set(content, 4);
  return padded;
};
const unpadBody = (padded: Uint8Array): Uint8Array => {
  const view = Buffer.from(padded.buffer, padded.byteOffset, padded.byteLength);
  const length = view.byteLength >= 4 ? view.readUInt32BE() : Infinity;
  if (length > view.byteLength - 4)
    throw new QflError('protocol', { detail: 'a sealed body with wrong padding' });
  return padded.subarray(4, 4 + length);
};

/** Canonical enough to be hashed: key order fixed by the caller, no floats by schema. */
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

export interface SealOptions {
  readonly envelope: Omit<Envelope, 'v' | 'commitment' | 'recipients'>;
  readonly recipients: readonly Recipient[];
  readonly content: QueryContent;
  /** X-Wing public key made for this query alone. */
  readonly replyKey: Uint8Array;
  readonly identity: Identity;
  readonly random: RandomBytes;
}

const signedPart = (headerHash: Uint8Array, content: Uint8Array, replyKey: Uint8Array): Uint8Array =>
  framed(headerHash, content, replyKey);

const signBody = (identity: Identity, message: Uint8Array, hybrid: boolean): HybridSignature =>
  hybrid
    ? identity.signHybrid(QUERY_LABEL, message)
    : { ed25519: identity.sign(QUERY_LABEL, message), mldsa65: new Uint8Array(0) };

export const sealQuery = (options: SealOptions): SealedQuery => {
  const bodyKey = options.random(BODY_KEY_BYTES);
  const envelope = Envelope.parse({
    v: 'fed-e2e/1',
    ...options.envelope,
    recipients: options.recipients.map(({ site, prekey }) => ({ site, prekey })),
    commitment: toBase64(commitmentTo(bodyKey, options.envelope.queryId)),
  });
  const header = json(envelope);
  const headerHash = hashOf('fed-e2e/1 header', header);
  const content = json(QueryContent.parse(options.content));
  const signature = signBody(
    options.identity,
    signedPart(headerHash, content, options.replyKey),
    options.content.dataClass === 'restricted',
  );
  const plaintext = padBody(framed(content, options.replyKey, signature.ed25519, signature.mldsa65));
  const nonce = options.random(NONCE_BYTES);
  const body = Buffer.concat([nonce, aeadSeal(bodyKey, nonce, plaintext, headerHash)]);
  const wraps = options.recipients.map(({ site, prekey, encapsulation }) => {
    if (encapsulation.ciphertext.byteLength === 0) return new Uint8Array(0);
    const key = wrapKey(encapsulation.secret, headerHash, envelope.sender, site, prekey);
    return Buffer.concat([encapsulation.ciphertext, aeadSeal(key, ZERO_NONCE, bodyKey, headerHash)]);
  });
  return { header, wraps, body };
};

/** The clear part, checked. @throws QflError `protocol` */
export const readEnvelope = (header: Uint8Array): Envelope => {
  if (header.byteLength > HEADER_BYTES_MAX) throw new QflError('too_large', { detail: 'the query header' });
  try {
    return Envelope.parse(JSON.parse(fromUtf8(header)));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'the query header is not valid', cause });
  }
};

export interface OpenOptions {
  readonly self: SiteId;
  /** The secret seed of a prekey of ours; undefined when it was deleted or never ours. */
  prekeySeed(prekey: PrekeyId): Promise<Uint8Array | undefined>;
  /** The identity of a site as the directory has it. @throws QflError `unknown_key`, `revoked` */
  /** Whose signature counts for that site now. */
  identitiesOf(site: SiteId): readonly IdentityPublic[];
}

export interface OpenedQuery {
  readonly envelope: Envelope;
  readonly content: QueryContent;
  readonly replyKey: Uint8Array;
  readonly hash: Uint8Array;
}

const unwrapBodyKey = async (
  sealed: SealedQuery,
  envelope: Envelope,
  headerHash: Uint8Array,
  options: OpenOptions,
): Promise<Uint8Array> => {
  const index = envelope.recipients.findIndex(({ site }) => site === options.self);
  const wrap = sealed.wraps[index];
  const prekey = envelope.recipients[index]?.prekey;
  if (wrap === undefined || prekey === undefined || wrap.byteLength !== WRAP_BYTES) {
    throw new QflError('protocol', { detail: 'the query is not sealed to this site' });
  }
  const seed = await options.prekeySeed(prekey);
  if (seed === undefined)
    throw new QflError('unknown_key', {
      detail: 'the query is sealed to a prekey that is gone',
      next: 'Ask again: the directory has a newer one.',
    });
  const secret = decapsulate(seed, wrap.subarray(0, XWING_CIPHERTEXT_BYTES));
  const key = wrapKey(secret, headerHash, envelope.sender, options.self, prekey);
  const bodyKey = aeadOpen(key, ZERO_NONCE, wrap.subarray(XWING_CIPHERTEXT_BYTES), headerHash);
  if (
    !equalConstantTime(commitmentTo(bodyKey, envelope.queryId), Buffer.from(envelope.commitment, 'base64'))
  ) {
    throw refused('the body key is not the one the header commits to');
  }
  return bodyKey;
};

const parseContent = (bytes: Uint8Array): QueryContent => {
  try {
    return QueryContent.parse(JSON.parse(fromUtf8(bytes)));
  } catch (cause) {
    throw new QflError('protocol', { detail: 'the sealed content is not valid', cause });
  }
};

const verifyBody = (
  identity: IdentityPublic,
  message: Uint8Array,
  content: QueryContent,
  signature: HybridSignature,
): boolean => {
  if (content.dataClass !== 'restricted')
    return verifySignature(identity, QUERY_LABEL, message, signature.ed25519);
  return (
    signature.mldsa65.byteLength === MLDSA65_SIGNATURE_BYTES &&
    verifyHybrid(identity, QUERY_LABEL, message, signature)
  );
};

/**
 * Opens a query sealed to this site and verifies who asked.
 * @throws QflError `protocol`, `unknown_key`, `revoked`, `bad_signature`
 */
export const openQuery = async (sealed: SealedQuery, options: OpenOptions): Promise<OpenedQuery> => {
  const envelope = readEnvelope(sealed.header);
  const headerHash = hashOf('fed-e2e/1 header', sealed.header);
  const bodyKey = await unwrapBodyKey(sealed, envelope, headerHash, options);
  const nonce = sealed.body.subarray(0, NONCE_BYTES);
  const plaintext = unpadBody(aeadOpen(bodyKey, nonce, sealed.body.subarray(NONCE_BYTES), headerHash));
  const [contentBytes, replyKey, ed25519, mldsa65] = unframed(plaintext);
  if (
    contentBytes === undefined ||
    replyKey === undefined ||
    ed25519 === undefined ||
    mldsa65 === undefined ||
    replyKey.byteLength !== XWING_PUBLIC_BYTES
  ) {
    throw new QflError('protocol', { detail: 'the sealed body lacks a field' });
  }
  const content = parseContent(contentBytes);
  const message = signedPart(headerHash, contentBytes, replyKey);
  const holds = (identity: IdentityPublic): boolean =>
    verifyBody(identity, message, content, { ed25519, mldsa65 });
  if (!options.identitiesOf(envelope.sender).some(holds)) {
    throw refused('the query is not signed by the site it names');
  }
  return { envelope, content, replyKey, hash: queryHash(sealed) };
};

/** One byte string for the wire: framed header, body, wraps. */
export const encodeSealedQuery = (sealed: SealedQuery): Uint8Array =>
  framed(sealed.header, sealed.body, ...sealed.wraps);

/** @throws QflError `protocol`, `too_large` */
export const decodeSealedQuery = (bytes: Uint8Array): SealedQuery => {
  if (bytes.byteLength > SEALED_BODY_BYTES_MAX)
    throw new QflError('too_large', { detail: 'the sealed query' });
  const [header, body, ...wraps] = unframed(bytes);
  if (header === undefined || body === undefined)
    throw new QflError('protocol', { detail: 'a sealed query lacks a part' });
  return { header, body, wraps };
};

/** The same query as one recipient needs it: the wraps of the others are emptied. */
export const forRecipient = (sealed: SealedQuery, envelope: Envelope, site: SiteId): SealedQuery => ({
  ...sealed,
  wraps: sealed.wraps.map((wrap, index) =>
    envelope.recipients[index]?.site === site ? wrap : new Uint8Array(0),
  ),
});
