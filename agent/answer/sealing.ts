/** Sealing a question to other sites: whom to, with which keys, under which name. */
import { randomHex, type RandomBytes } from '../../shared/random.ts';
import type { Clock } from '../../shared/clock.ts';
import { MINUTE_MS } from '../../shared/clock.ts';
import { toBase64, utf8 } from '../../shared/bytes.ts';
import { queryHash, type Recipient, type SealedQuery, sealQuery } from '../../shared/crypto/sealed-query.ts';
import { encapsulate, ephemeralKeyPair, type XWingKeyPair } from '../../shared/crypto/xwing.ts';
import { currentPrekey, requireSite } from '../../shared/directory/chain.ts';
import { type Pseudonym, QueryId, type SiteId } from '../../shared/ids.ts';
import type { Vault } from '../../shared/keys/vault.ts';
import type { DataClass, Envelope } from '../../shared/wire/envelope.ts';
import type { DirectoryMirror } from '../federation/directory.ts';

export const QUERY_LIFE_MS = 5 * MINUTE_MS;

export interface Asker {
  readonly pseudonym: Pseudonym;
  readonly role: string;
  readonly department: string;
}

/** Blind tokens of what a question belongs to (`affinity.ts`). */
export interface Coupling {
  readonly affinity?: string;
  readonly apart?: string;
}

export interface Question {
  readonly kind: Envelope['kind'];
  readonly asker: Asker;
  readonly dataClass: DataClass;
  readonly purpose: string;
  readonly legalBasis: string;
  readonly query: unknown;
  readonly model: string | null;
  readonly microEpsilon: number;
  readonly sizeBytes: number;
  readonly priority: number;
  readonly coupling?: Coupling;
}

/** A question under way; `reply.seed` opens its answer and is forgotten with this object. */
export interface SentQuestion {
  readonly queryId: QueryId;
  readonly sealed: SealedQuery;
  readonly hash: Uint8Array;
  readonly reply: XWingKeyPair;
}

export interface SealingOptions {
  readonly self: SiteId;
  readonly vault: Vault;
  readonly mirror: DirectoryMirror;
  readonly clock: Clock;
  readonly random: RandomBytes;
}

const EMPTY = { ciphertext: new Uint8Array(0), secret: new Uint8Array(0) };
/** The size class shown to the coordinator: a power of two from 256 bytes on. */
const sizeBucket = (bytes: number): number => 2 ** Math.max(8, Math.ceil(Math.log2(Math.max(1, bytes))));

/** Seals a question to `sites`; the asking site itself may be among them, as a candidate that needs no seal. */
export const sealQuestion = (
  question: Question,
  sites: readonly SiteId[],
  options: SealingOptions,
): SentQuestion => {
  const { self, vault, mirror, clock, random } = options;
  const queryId = QueryId.parse(randomHex(random, 16));
  const nowMs = Math.trunc(clock.nowMs());
  const reply = ephemeralKeyPair(vault.hedge, 'reply', utf8(queryId));
  const recipients = sites.map((site): Recipient => {
    const prekey = currentPrekey(requireSite(mirror.state, site, nowMs), nowMs);
    return {
      site,
      prekey: prekey.id,
      encapsulation:
        site === self ? EMPTY : encapsulate(prekey.key, vault.hedge, 'wrap', utf8(`${queryId} ${site}`)),
    };
  });
  const { asker, dataClass, purpose, legalBasis, query } = question;
  const sealed = sealQuery({
    envelope: {
      queryId,
      kind: question.kind,
      sender: self,
      createdMs: nowMs,
      expiresMs: nowMs + QUERY_LIFE_MS,
      microEpsilon: question.microEpsilon,
      model: question.model,
      sizeBucketBytes: sizeBucket(question.sizeBytes),
      priority: question.priority,
      ...question.coupling,
    },
    recipients,
    content: {
      purpose,
      legalBasis,
      dataClass,
      asker: asker.pseudonym,
      role: asker.role,
      department: asker.department,
      query,
      checkpoint: { size: mirror.checkpoint.size, root: toBase64(mirror.checkpoint.root) },
    },
    replyKey: reply.publicKey,
    identity: vault.identity,
    random,
  });
  return { queryId, sealed, hash: queryHash(sealed), reply };
};
