/** A proxy that opens TLS and records everything: what it can find in the record of an enrolment, a session and its calls. */
import { beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../../shared/bytes.ts';
import type { Handlers } from '../../../shared/wire/peer.ts';
import { createTestCoordinator, createTestSite, type TestSite } from '../../fixtures/link.ts';
import type { PipeFrame } from '../../fixtures/pipe.ts';

const CALL = { timeoutMs: 5_000 };
const SITE = 'saint-elsewhere';
const PROMPT = 'Ms Quillfeather, born 1961, dizzy since Tuesday';
const FRAME_SIZES = [256, 1_024, 4_096, 16_384, 65_536, 262_144].map((size) => size + 64 + 17 + 1);

const echo: Handlers = {
  echo: { kind: 'plain', answer: ({ header, payload }) => Promise.resolve({ header, payload }) },
  board: { kind: 'event', accept: () => undefined },
  dismissed: { kind: 'event', accept: () => undefined },
};

const record: PipeFrame[] = [];
let site: TestSite;
let tokenText: string;

beforeAll(async () => {
  const coordinator = await createTestCoordinator({ handlers: echo });
  site = await createTestSite(SITE, coordinator);
  ({ token: tokenText } = await coordinator.invitations.create(site.site, true));
  for (const options of [{ token: tokenText }, {}, {}]) {
    const { session, pipe } = await site.connect(coordinator, { ...options, handlers: echo });
    await session.peer.request('hello', {}, CALL);
    await session.peer.request('echo', { header: { prompt: PROMPT }, payload: utf8(PROMPT.repeat(9)) }, CALL);
    const down = coordinator.presence.of(site.site);
    await down!.peer.request('echo', { payload: utf8(PROMPT.repeat(9_000)) }, CALL);
    session.close();
    await session.ended;
    record.push(...pipe.record);
  }
});

const everyForm = (text: Uint8Array): Buffer[] => {
  const bytes = Buffer.from(text);
  const inBase64 = bytes.toString('base64').slice(0, -4);
  // Four characters of base64 stand somewhere in a megabyte of noise; twelve do not.
  return [
    bytes,
    Buffer.from(bytes.toString('hex')),
    ...(inBase64.length < 12 ? [] : [Buffer.from(inBase64)]),
  ];
};
const finds = (needle: Uint8Array): boolean =>
  everyForm(needle).some((form) => record.some(({ bytes }) => Buffer.from(bytes).includes(form)));

describe('the record of a proxy', () => {
  test('is not empty, and a search of it finds what is there', () => {
    expect(record.length).toBeGreaterThan(20);
    expect(finds(utf8('fed-hs/1'))).toBe(true);
    expect(finds(record.at(-1)!.bytes.subarray(10, 40))).toBe(true);
  });

  test('holds no site name, no prompt, no method, no version of the software', () => {
    for (const text of [SITE, 'elsewhere', PROMPT, 'Quillfeather', 'echo', 'hello', 'prompt', '0.1.0'])
      expect({ text, found: finds(utf8(text)) }).toEqual({ text, found: false });
  });

  test('holds no key of the site, no part of the token, no directory record', async () => {
    const [kem] = await site.vault.kemKeys();
    const token = Buffer.from(tokenText.slice('qfljoin1.'.length), 'base64url');
    const secrets = [
      site.vault.identity.publicKeys.ed25519,
      site.vault.identity.publicKeys.mldsa65.subarray(0, 64),
      kem!.pair.publicKey.subarray(0, 64),
      kem!.pair.publicKey.subarray(1_184),
      kem!.pair.seed,
      token.subarray(0, 16),
      token.subarray(16, 48),
      site.leaf.subarray(20, 80),
    ];
    for (const secret of secrets) expect(finds(secret)).toBe(false);
  });

  test('shows data frames of six sizes only, and no two alike', () => {
    const data = record.filter(({ bytes }) => bytes[0]! >= 16);
    expect(data.length).toBeGreaterThan(12);
    for (const { bytes } of data) expect(FRAME_SIZES).toContain(bytes.byteLength);
    expect(new Set(data.map(({ bytes }) => Buffer.from(bytes).toString('base64'))).size).toBe(data.length);
  });

  test('nothing of two sessions of the same site tells that it is the same', () => {
    const firsts = record.filter(({ direction, bytes }) => direction === 'up' && bytes[0] === 1).slice(1);
    expect(firsts).toHaveLength(2);
    const [left, right] = firsts.map(({ bytes }) => Buffer.from(bytes));
    // Beyond the clear head (mac, length, 49 bytes) every 16-byte piece differs.
    for (let at = 96; at + 16 <= left!.byteLength; at += 16)
      expect(left!.subarray(at, at + 16).equals(right!.subarray(at, at + 16))).toBe(false);
  });
});
