import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { fromUtf8, toHex, utf8 } from '../../../shared/bytes.ts';
import { openAnswer, sealAnswer } from '../../../shared/crypto/sealed-answer.ts';
import {
  decodeSealedQuery,
  encodeSealedQuery,
  forRecipient,
  openQuery,
  queryHash,
  readEnvelope,
  type SealedQuery,
  sealQuery,
} from '../../../shared/crypto/sealed-query.ts';
import { createIdentity, type Identity } from '../../../shared/crypto/signature.ts';
import { encapsulate, type XWingKeyPair } from '../../../shared/crypto/xwing.ts';
import { Pseudonym, QueryId, SiteId } from '../../../shared/ids.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { PrekeyId } from '../../../shared/wire/envelope.ts';
import { freshKem, hedge } from '../../fixtures/crypto.ts';

const [north, south, west] = ['north', 'south', 'west'].map((name) => SiteId.parse(name)) as [
  SiteId,
  SiteId,
  SiteId,
];
const queryId = QueryId.parse('00112233445566778899aabbccddeeff');
const SECRET_PROMPT = 'Ms Quillfeather, born 1961, dizzy since Tuesday';

interface Site {
  kem: XWingKeyPair;
  prekey: PrekeyId;
}
let identity: Identity;
let sites: Map<SiteId, Site>;
let reply: XWingKeyPair;

beforeEach(() => {
  identity = createIdentity(randomBytes(32));
  sites = new Map(
    [south, west].map((site, index) => [
      site,
      { kem: freshKem(), prekey: PrekeyId.parse(`${index}`.repeat(16)) },
    ]),
  );
  reply = freshKem();
});

const seal = (dataClass: 'internal' | 'restricted' = 'internal'): SealedQuery =>
  sealQuery({
    envelope: {
      queryId,
      kind: 'chat',
      sender: north,
      createdMs: 1,
      expiresMs: 2,
      microEpsilon: 0,
      model: 'm',
      sizeBucketBytes: 64,
      priority: 5,
    },
    recipients: [...sites].map(([site, { kem, prekey }]) => ({
      site,
      prekey,
      encapsulation: encapsulate(kem.publicKey, hedge, 'wrap', utf8(site)),
    })),
    content: {
      purpose: 'care',
      legalBasis: 'consent',
      dataClass,
      asker: Pseudonym.parse('0'.repeat(32)),
      role: 'doctor',
      department: 'icu',
      query: { text: SECRET_PROMPT },
      checkpoint: { size: 1, root: '' },
    },
    replyKey: reply.publicKey,
    identity,
    random: secureRandomBytes,
  });

const open = (sealed: SealedQuery, self: SiteId = south, known: Identity = identity) =>
  openQuery(sealed, {
    self,
    prekeySeed: (prekey) =>
      Promise.resolve(
        [...sites.values()].find((site) => site.prekey === prekey && sites.get(self) === site)?.kem.seed,
      ),
    identitiesOf: () => [known.publicKeys],
  });

describe('a sealed query', () => {
  test('opens at every recipient, to the same content, and nowhere else', async () => {
    const sealed = decodeSealedQuery(encodeSealedQuery(seal()));
    for (const site of sites.keys()) {
      const opened = await open(forRecipient(sealed, readEnvelope(sealed.header), site), site);
      expect(opened.content.query).toEqual({ text: SECRET_PROMPT });
      expect(toHex(opened.replyKey)).toBe(toHex(reply.publicKey));
    }
    await expect(open(sealed, north)).rejects.toMatchObject({ code: 'protocol' });
    await expect(open(forRecipient(sealed, readEnvelope(sealed.header), west), south)).rejects.toMatchObject({
      code: 'protocol',
    });
  });

  test('shows the coordinator its envelope and no word of the prompt', () => {
    const bytes = Buffer.from(encodeSealedQuery(seal()));
    for (const word of ['Quillfeather', 'dizzy', 'doctor', 'icu', 'consent'])
      expect(bytes.includes(word)).toBe(false);
    expect(readEnvelope(seal().header)).toMatchObject({ sender: north, model: 'm' });
  });

  test('does not open after any change to header, wrap or body', async () => {
    const sealed = seal();
    const flip = (bytes: Uint8Array, index: number) => {
      const copy = Buffer.from(bytes);
      copy[index]! ^= 1;
      return copy;
    };
    for (let index = 0; index < sealed.header.byteLength; index += 1)
      await expect(open({ ...sealed, header: flip(sealed.header, index) })).rejects.toThrowError();
    for (let index = 0; index < sealed.body.byteLength; index += 3)
      await expect(open({ ...sealed, body: flip(sealed.body, index) })).rejects.toThrowError();
    const wrap = sealed.wraps[0]!;
    for (let index = 0; index < wrap.byteLength; index += 3)
      await expect(open({ ...sealed, wraps: [flip(wrap, index)] })).rejects.toThrowError();
  });

  test('is refused when another site signed it, or the prekey is gone', async () => {
    await expect(open(seal(), south, createIdentity(randomBytes(32)))).rejects.toMatchObject({
      code: 'bad_signature',
    });
    const sealed = seal();
    sites.delete(south);
    await expect(open(sealed)).rejects.toMatchObject({ code: 'unknown_key' });
  });

  test('a restricted one carries the lattice signature too, and is refused without it', async () => {
    expect((await open(seal('restricted'))).content.dataClass).toBe('restricted');
    const half: Identity = {
      ...identity,
      signHybrid: (label, message) => ({
        ed25519: identity.sign(label, message),
        mldsa65: randomBytes(3309),
      }),
    };
    const real = identity;
    identity = half;
    const sealed = seal('restricted');
    await expect(open(sealed, south, real)).rejects.toMatchObject({ code: 'bad_signature' });
  });
});

describe('a sealed answer', () => {
  const facts = (site: SiteId, sealed: SealedQuery) => ({
    queryId,
    queryHash: queryHash(sealed),
    site,
    asker: north,
    model: 'm',
    policyVersion: 1,
    spend: 7n,
    ledgerHash: null,
  });
  const opener = (site: SiteId, sealed: SealedQuery, signer: Identity) =>
    openAnswer({
      queryId,
      queryHash: queryHash(sealed),
      asker: north,
      site,
      replySeed: reply.seed,
      identities: () => [signer.publicKeys],
    });

  test('arrives whole: start with spend, chunks, signed end', () => {
    const sealed = seal();
    const answer = sealAnswer(facts(south, sealed), reply.publicKey, identity, hedge);
    const reader = opener(south, sealed, identity);
    expect(reader.open(answer.first)).toMatchObject({ kind: 'start', start: { site: 'south', spend: '7' } });
    const parts = ['to', 'ken', ''].map((text) => reader.open(answer.chunk(utf8(text))));
    expect(parts.map((part) => part.kind === 'chunk' && fromUtf8(part.text))).toEqual(['to', 'ken', '']);
    expect(reader.open(answer.end())).toEqual({ kind: 'end' });
  });

  test('a lost, repeated or changed piece is a cut, and no end is no end', () => {
    const sealed = seal();
    for (const mishap of ['lost', 'repeated', 'changed'] as const) {
      const answer = sealAnswer(facts(south, sealed), reply.publicKey, identity, hedge);
      const reader = opener(south, sealed, identity);
      reader.open(answer.first);
      const [one, two] = [answer.chunk(utf8('1')), answer.chunk(utf8('2'))];
      const changed = Buffer.from(one);
      changed[3]! ^= 1;
      const feed = { lost: [two], repeated: [one, one], changed: [changed] }[mishap];
      expect(() => feed.forEach((piece) => reader.open(piece)), mishap).toThrowError(
        expect.objectContaining({ code: 'cut' }),
      );
    }
  });

  test('another candidate, who can read the query too, cannot answer as this one', () => {
    const sealed = seal();
    const impostor = createIdentity(randomBytes(32));
    const answer = sealAnswer(facts(south, sealed), reply.publicKey, impostor, hedge);
    expect(() => opener(south, sealed, identity).open(answer.first)).toThrowError(
      expect.objectContaining({ code: 'bad_signature' }),
    );
    const honestElsewhere = sealAnswer(facts(west, sealed), reply.publicKey, impostor, hedge);
    expect(() => opener(south, sealed, identity).open(honestElsewhere.first)).toThrowError();
  });

  test('the answer to another query does not open', () => {
    const [one, two] = [seal(), seal()];
    const answer = sealAnswer(facts(south, one), reply.publicKey, identity, hedge);
    expect(() => opener(south, two, identity).open(answer.first)).toThrowError(
      expect.objectContaining({ code: 'cut' }),
    );
  });
});
