import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromUtf8, toHex, utf8 } from '../../../shared/bytes.ts';
import { answerHandshake, startHandshake } from '../../../shared/crypto/handshake.ts';
import { createHedge } from '../../../shared/crypto/xwing.ts';
import { freshKem, handshakeFixture, openChannels } from '../../fixtures/crypto.ts';

const refusal = { code: 'handshake_refused' };

/** Every way one message can be damaged: each byte flipped, cuts at each length, doubled. */
const damaged = (message: Uint8Array, step = 1): Uint8Array[] => {
  const all: Uint8Array[] = [];
  for (let index = 0; index < message.byteLength; index += step) {
    const flipped = Buffer.from(message);
    flipped[index]! ^= 1 << (index % 8);
    all.push(flipped);
  }
  for (let length = 0; length < message.byteLength; length += 37) all.push(message.subarray(0, length));
  all.push(Buffer.concat([message, message]), Buffer.concat([message, Uint8Array.of(0)]));
  return all;
};

describe('a session', () => {
  test('both sides agree on keys, transcript and exporter; the welcome and the statement arrive', async () => {
    const fixture = handshakeFixture();
    const waiting = startHandshake(fixture.agent);
    const answered = await answerHandshake(waiting.message, fixture.coordinator);
    expect(answered.introduction).toMatchObject({ kind: 'session', softwareVersion: '0.1.0' });
    expect(answered.head).toMatchObject({ versions: 'fed-hs/1', checkpoint: { size: 3n } });
    const finished = waiting.finish(answered.message, (hash) => Buffer.concat([utf8('I opened '), hash]));
    expect(fromUtf8(finished.welcome)).toBe('welcome');
    const accepted = answered.finish(finished.message);
    expect(toHex(accepted.keys.transcriptHash)).toBe(toHex(finished.keys.transcriptHash));
    expect(toHex(accepted.keys.exporter)).toBe(toHex(finished.keys.exporter));
    expect(Buffer.from(accepted.statement).subarray(9).equals(finished.keys.transcriptHash)).toBe(true);
  });

  test('no byte of M1 can be flipped, no cut or doubled M1 is answered', async () => {
    const fixture = handshakeFixture();
    const { message } = startHandshake(fixture.agent);
    for (const bad of damaged(message))
      await expect(answerHandshake(bad, fixture.coordinator)).rejects.toMatchObject(refusal);
  });

  test('no byte of M2 can be flipped, cut or doubled', async () => {
    const fixture = handshakeFixture();
    // A fixed generator makes every attempt the very same handshake, so each damaged answer meets the state it belongs to.
    const agent = {
      ...fixture.agent,
      hedge: createHedge(Buffer.alloc(32, 1), (count) => Buffer.alloc(count, 2)),
    };
    const { message } = await answerHandshake(startHandshake(agent).message, fixture.coordinator);
    for (const bad of damaged(message)) {
      expect(() => startHandshake(agent).finish(bad, () => utf8('x'))).toThrowError(
        expect.objectContaining(refusal),
      );
    }
    expect(fromUtf8(startHandshake(agent).finish(message, () => utf8('x')).welcome)).toBe('welcome');
  });

  test('no byte of M3 can be flipped, cut or doubled', async () => {
    const fixture = handshakeFixture();
    const waiting = startHandshake(fixture.agent);
    const answered = await answerHandshake(waiting.message, fixture.coordinator);
    const { message } = waiting.finish(answered.message, () => randomBytes(64));
    for (const bad of damaged(message))
      expect(() => answered.finish(bad)).toThrowError(expect.objectContaining(refusal));
    expect(answered.finish(message).statement.byteLength).toBe(64);
  });

  test('messages of one session do not fit another', async () => {
    const fixture = handshakeFixture();
    const [first, second] = [startHandshake(fixture.agent), startHandshake(fixture.agent)];
    const answeredFirst = await answerHandshake(first.message, fixture.coordinator);
    const answeredSecond = await answerHandshake(second.message, fixture.coordinator);
    expect(() => first.finish(answeredSecond.message, () => utf8('x'))).toThrowError(
      expect.objectContaining(refusal),
    );
    const third = second.finish(answeredSecond.message, () => utf8('x'));
    expect(() => answeredFirst.finish(third.message)).toThrowError(expect.objectContaining(refusal));
  });

  test('a replayed M1 is answered with nothing its sender can use, and refused on another connection', async () => {
    const fixture = handshakeFixture();
    const original = startHandshake(fixture.agent);
    const elsewhere = { ...fixture.coordinator, socketId: 'socket-2' };
    await expect(answerHandshake(original.message, elsewhere)).rejects.toMatchObject(refusal);
    const answeredAgain = await answerHandshake(original.message, fixture.coordinator);
    // Whoever replays has no ephemeral key: nothing they can send is a third message.
    expect(() => answeredAgain.finish(randomBytes(200))).toThrowError(expect.objectContaining(refusal));
  });

  test('a wrong pinned key, another log and an altered version list are refused', async () => {
    const fixture = handshakeFixture();
    const wrongKey = startHandshake({ ...fixture.agent, coordinatorKey: freshKem().publicKey });
    await expect(answerHandshake(wrongKey.message, fixture.coordinator)).rejects.toMatchObject(refusal);
    const { message } = startHandshake(fixture.agent);
    await expect(
      answerHandshake(message, { ...fixture.coordinator, logOrigin: 'evil/keys' }),
    ).rejects.toMatchObject(refusal);
    const noCommon = startHandshake({ ...fixture.agent, versions: 'fed-hs/9' });
    await expect(answerHandshake(noCommon.message, fixture.coordinator)).rejects.toMatchObject(refusal);
  });

  test('an unknown leaf is refused, and so is a site without the secret of its leaf', async () => {
    const fixture = handshakeFixture();
    const unknown = startHandshake({ ...fixture.agent, leafHash: randomBytes(32) });
    await expect(answerHandshake(unknown.message, fixture.coordinator)).rejects.toMatchObject(refusal);
    const impostor = startHandshake({ ...fixture.agent, staticKey: freshKem() });
    const answered = await answerHandshake(impostor.message, fixture.coordinator);
    expect(() => impostor.finish(answered.message, () => utf8('x'))).toThrowError(
      expect.objectContaining(refusal),
    );
  });

  test('the old key of an overlapping epoch still works', async () => {
    const fixture = handshakeFixture();
    const { message } = startHandshake(fixture.agent);
    const answered = await answerHandshake(message, {
      ...fixture.coordinator,
      keys: [freshKem(), ...fixture.coordinator.keys],
    });
    expect(answered.introduction.kind).toBe('session');
  });

  test('arbitrary bytes never crash it', async () => {
    const fixture = handshakeFixture();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 9_000 }), async (bytes) => {
        await expect(answerHandshake(bytes, fixture.coordinator)).rejects.toMatchObject(refusal);
      }),
      { numRuns: 200 },
    );
  });
});

describe('an enrolment', () => {
  test('carries the new key under the token, which is never sent', async () => {
    const fixture = handshakeFixture();
    const waiting = startHandshake({ ...fixture.agent, enrolment: fixture.enrolment });
    expect(Buffer.from(waiting.message).includes(fixture.enrolment.psk)).toBe(false);
    expect(Buffer.from(waiting.message).includes('north')).toBe(false);
    const answered = await answerHandshake(waiting.message, fixture.coordinator);
    expect(answered.introduction).toMatchObject({ kind: 'enrolment', site: 'north' });
    const finished = waiting.finish(answered.message, () => utf8('record'));
    expect(fromUtf8(answered.finish(finished.message).statement)).toBe('record');
  });

  test('a wrong, used or unknown token is refused', async () => {
    const fixture = handshakeFixture();
    const wrong = startHandshake({
      ...fixture.agent,
      enrolment: { ...fixture.enrolment, psk: randomBytes(32) },
    });
    await expect(answerHandshake(wrong.message, fixture.coordinator)).rejects.toMatchObject(refusal);
    const unknown = startHandshake({
      ...fixture.agent,
      enrolment: { ...fixture.enrolment, tokenId: randomBytes(16) },
    });
    await expect(answerHandshake(unknown.message, fixture.coordinator)).rejects.toMatchObject(refusal);
  });

  test('no byte of its M1 can be flipped', async () => {
    const fixture = handshakeFixture();
    const { message } = startHandshake({ ...fixture.agent, enrolment: fixture.enrolment });
    for (const bad of damaged(message))
      await expect(answerHandshake(bad, fixture.coordinator)).rejects.toMatchObject(refusal);
  });
});

describe('the channel', () => {
  test('carries messages both ways and shows an orderly end', async () => {
    const { agent, coordinator } = await openChannels();
    for (const text of ['', 'a', 'x'.repeat(300), 'y'.repeat(262_144)]) {
      expect(fromUtf8(coordinator.open(agent.seal(utf8(text)))!)).toBe(text);
      expect(fromUtf8(agent.open(coordinator.seal(utf8(text)))!)).toBe(text);
    }
    expect(coordinator.open(agent.sealFinal())).toBeUndefined();
    expect(() => agent.seal(utf8('more'))).toThrowError(expect.objectContaining({ code: 'not_connected' }));
  });

  test.each(['repeated', 'lost', 'reordered', 'flipped', 'reflected'] as const)(
    'a %s frame ends it',
    async (how) => {
      const { agent, coordinator } = await openChannels();
      const [one, two] = [agent.seal(utf8('one')), agent.seal(utf8('two'))];
      const flipped = Buffer.from(one);
      flipped[5]! ^= 1;
      const feed = {
        repeated: [one, one],
        lost: [two],
        reordered: [two, one],
        flipped: [flipped],
        reflected: [coordinator.seal(utf8('mine'))],
      }[how];
      expect(() => feed.forEach((frame) => coordinator.open(frame))).toThrowError(
        expect.objectContaining({ code: 'protocol' }),
      );
      expect(() => coordinator.open(one)).toThrowError(expect.objectContaining({ code: 'protocol' }));
    },
  );

  test('frames show six sizes only', async () => {
    const { agent } = await openChannels();
    const sizes = new Set(
      Array.from({ length: 300 }, (_, index) => agent.seal(new Uint8Array(index * 870)).byteLength),
    );
    expect(sizes.size).toBe(6);
    expect(agent.seal(new Uint8Array(65_536)).byteLength).toBeLessThan(66_000);
    expect(() => agent.seal(new Uint8Array(300_000))).toThrowError(
      expect.objectContaining({ code: 'too_large' }),
    );
  });
});
