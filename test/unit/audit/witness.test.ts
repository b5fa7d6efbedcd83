/** The witness: the published session, the size rules, and what two requests at once may not do. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { checkpointText, openCheckpoint, signCheckpoint } from '../../../shared/audit/checkpoint.ts';
import {
  cosignatureTimeS,
  cosignedMessage,
  ed25519Cosigner,
  mldsa44Cosigner,
} from '../../../shared/audit/cosignature.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { ed25519NoteSigner, parseNote, parseVerifierKey } from '../../../shared/audit/note.ts';
import {
  addCheckpointBody,
  createWitness,
  parseAddCheckpoint,
  type WitnessOptions,
} from '../../../shared/audit/witness.ts';
import { toHex, utf8 } from '../../../shared/bytes.ts';
import { QflError } from '../../../shared/errors.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { missing, readVectors } from './vectors.ts';

const FILE = 'c2sp-notes-and-checkpoints.json';
const T0 = 1_800_000_000_000;
const ORIGIN = 'example.org/log';
const signer = ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 1));
const logKeys = [parseVerifierKey(signer.verifierKey)];
const cosigners = [
  ed25519Cosigner('example.org/witness', Buffer.alloc(32, 2)),
  mldsa44Cosigner('example.org/witness', Buffer.alloc(32, 3)),
];
const witnessOf = (rest: Partial<WitnessOptions> = {}, store: Store = createMemoryStore()) =>
  createWitness({
    store,
    prefix: 'witness/',
    cosigners: () => cosigners,
    keysOf: (origin) => (origin === ORIGIN ? logKeys : undefined),
    nowMs: () => T0,
    ...rest,
  });
const newLog = async (entries: number, salt = ''): Promise<AppendLog> => {
  const log = await AppendLog.open({ store: createMemoryStore(), prefix: 'l/', signer, create: true });
  await grow(log, entries, salt);
  return log;
};
const grow = (log: AppendLog, entries: number, salt = '') =>
  Promise.all(
    Array.from({ length: entries }, () => log.append((index) => ({ leaf: utf8(`${salt}${index}`) }))),
  );
const requestFor = async (log: AppendLog, oldSize: number): Promise<string> => {
  const note = await log.checkpoint();
  const proof = oldSize > 0 && oldSize < log.size ? await log.consistencyProof(oldSize) : [];
  return addCheckpointBody({ oldSize, proof, note });
};

describe.skipIf(missing(FILE))('the published witness session (needs ../shared/vectors)', () => {
  test('every request gets the status that the published test expects', async () => {
    const { witnessSession, notes } = z
      .object({
        notes: z.array(z.object({ vkeys: z.array(z.string()) })),
        witnessSession: z.object({ steps: z.array(z.object({ body: z.string(), status: z.number() })) }),
      })
      .parse(readVectors(FILE));
    const keys = notes[3]!.vkeys.map(parseVerifierKey);
    const witness = witnessOf({ keysOf: (origin) => (origin === keys[0]!.name ? keys : undefined) });
    const statuses: number[] = [];
    for (const { body } of witnessSession.steps) statuses.push((await witness.addCheckpoint(body)).status);
    expect(statuses).toEqual(witnessSession.steps.map(({ status }) => status));
    expect(statuses).toHaveLength(4);
  });
});

describe('a witness', () => {
  test('cosigns what grew, with both keys and the second it signed in', async () => {
    const log = await newLog(3);
    const witness = witnessOf();
    const body = await requestFor(log, 0);
    const reply = await witness.addCheckpoint(body);
    if (reply.status !== 200) throw new Error('refused');
    const cosigned = parseAddCheckpoint(body).note + reply.lines;
    const { note } = openCheckpoint(cosigned, [...logKeys, ...cosigners.map(({ key }) => key)]);
    expect(note.signedBy.map(({ type }) => type)).toEqual([1, 4, 6]);
    for (const { signature } of parseNote(cosigned).signatures.slice(1))
      expect(cosignatureTimeS(signature)).toBe(T0 / 1_000);
    // Any byte of a cosignature changed, and it does not hold.
    for (const line of parseNote(cosigned).signatures.slice(1))
      for (const at of [0, 7, 8, 40, line.signature.byteLength - 1]) {
        const changed = Buffer.from(line.signature);
        changed[at]! ^= 1;
        const text = cosigned.replace(
          Buffer.concat([line.keyHash, line.signature]).toString('base64'),
          Buffer.concat([line.keyHash, changed]).toString('base64'),
        );
        expect(() => openCheckpoint(text, [...logKeys, ...cosigners.map(({ key }) => key)])).toThrowError(
          expect.objectContaining({ code: 'bad_signature' }),
        );
      }
  });

  test('signs the struct of the specification', () => {
    const root = Buffer.alloc(32, 9);
    const message = cosignedMessage('w', 5, { origin: 'log', size: 7, root, extensions: [] });
    expect(toHex(message)).toBe(
      [
        '737562747265652f76310a00',
        '0177',
        '0000000000000005',
        '036c6f67',
        '0000000000000000',
        '0000000000000007',
        '09'.repeat(32),
      ].join(''),
    );
  });

  test('keeps to the rules of the size', async () => {
    const log = await newLog(3);
    const witness = witnessOf();
    const status = async (body: string) => (await witness.addCheckpoint(body)).status;
    const at3 = await requestFor(log, 0);
    expect(await status(at3)).toBe(200);
    // Again from 0: it has seen 3, and says so.
    expect(await witness.addCheckpoint(at3)).toEqual({ status: 409, size: 3 });
    // The same size: no proof, the same root, a new time.
    expect(await status(await requestFor(log, 3))).toBe(200);
    const withProof = parseAddCheckpoint(await requestFor(log, 3));
    expect(await status(addCheckpointBody({ ...withProof, proof: [Buffer.alloc(32)] }))).toBe(422);
    await grow(log, 4);
    // From 0 to 7 with a proof that would hold from 3.
    const from3 = await requestFor(log, 3);
    expect(await status(from3.replace('old 3', 'old 0'))).toBe(409);
    expect(await status(from3.replace('old 3', 'old 8'))).toBe(400);
    expect(await status(from3)).toBe(200);
    const fresh = witnessOf();
    expect((await fresh.addCheckpoint(from3.replace('old 3', 'old 0'))).status).toBe(422);
    expect((await fresh.addCheckpoint(from3)).status).toBe(409);
  });

  test('refuses what is malformed, unknown, unsigned', async () => {
    const log = await newLog(2);
    const good = await requestFor(log, 0);
    const witness = witnessOf();
    const status = async (body: string) => (await witness.addCheckpoint(body)).status;
    for (const bad of [
      '',
      'old 0\n',
      good.replace('old 0', 'old 00'),
      good.replace('old 0', 'older 0'),
      good.replace('\n2\n', '\n02\n'),
      `old 0\n${`${Buffer.alloc(32).toString('base64')}\n`.repeat(64)}\n${parseAddCheckpoint(good).note}`,
    ])
      expect(await status(bad)).toBe(400);
    expect(await status(good.slice(0, -10))).toBe(403);
    expect(await status(good.replaceAll(ORIGIN, 'example.org/other'))).toBe(404);
    const stranger = ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 7));
    const text = { origin: ORIGIN, size: 2, root: await log.rootAt(2), extensions: [] };
    expect(
      await status(addCheckpointBody({ oldSize: 0, proof: [], note: signCheckpoint(text, [stranger]) })),
    ).toBe(403);
    expect(await status(good)).toBe(200);
  });

  test('sees a second history: another root at the same size, or a proof that does not hold', async () => {
    const seen: number[] = [];
    const witness = witnessOf({ forked: (known) => void seen.push(known.size) });
    await witness.addCheckpoint(await requestFor(await newLog(3), 0));
    const other = await newLog(3, 'x');
    expect(await witness.addCheckpoint(await requestFor(other, 3))).toEqual({ status: 409, size: 3 });
    await grow(other, 2, 'x');
    expect((await witness.addCheckpoint(await requestFor(other, 3))).status).toBe(422);
    expect(seen).toEqual([3]);
  });

  test('remembers before it signs, and signs nothing that it could not remember', async () => {
    const store = createMemoryStore();
    const order: string[] = [];
    const watched: Store = {
      ...store,
      async write(operations, options) {
        expect(options?.durable).not.toBe(false);
        await store.write(operations, options);
        order.push('remembered');
      },
    };
    const [first] = cosigners;
    const slow = {
      key: first!.key,
      cosign: (text: string, timeS: number) => (order.push('signed'), first!.cosign(text, timeS)),
    };
    const body = await requestFor(await newLog(3), 0);
    expect((await witnessOf({ cosigners: () => [slow] }, watched).addCheckpoint(body)).status).toBe(200);
    expect(order).toEqual(['remembered', 'signed']);
    const full: Store = {
      ...createMemoryStore(),
      write: () => Promise.reject(new QflError('storage_failed')),
    };
    await expect(witnessOf({ cosigners: () => [slow] }, full).addCheckpoint(body)).rejects.toMatchObject({
      code: 'storage_failed',
    });
    expect(order).toHaveLength(2);
    // Over a restart it knows what it cosigned.
    expect(await witnessOf({}, store).addCheckpoint(body)).toEqual({ status: 409, size: 3 });
  });

  test('never goes back, whatever requests cross', async () => {
    const log = await newLog(1);
    const bodies: string[] = [await requestFor(log, 0)];
    for (let size = 2; size <= 6; size += 1) {
      await grow(log, 1);
      for (let old = 0; old < size; old += 1) bodies.push(await requestFor(log, old));
    }
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(bodies, { minLength: 2 }), async (order) => {
        const store = createMemoryStore();
        const witness = witnessOf({ cosigners: () => [cosigners[0]!] }, store);
        const replies = await Promise.all(order.map((body) => witness.addCheckpoint(body)));
        const sizes = replies.flatMap(({ status }, at) =>
          status === 200 ? [Number(parseNote(parseAddCheckpoint(order[at]!).note).text.split('\n')[1])] : [],
        );
        const known = (await witness.known(ORIGIN))?.size ?? 0;
        expect(known).toBe(Math.max(0, ...sizes));
        expect(new Set(sizes).size).toBe(sizes.length);
      }),
      { numRuns: 100 },
    );
  });

  test('of any bytes is a status', async () => {
    const witness = witnessOf();
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `old 0\n\n${text}`),
        ),
        async (body) => {
          expect([400, 403, 404]).toContain((await witness.addCheckpoint(body)).status);
        },
      ),
    );
    expect(checkpointText({ origin: 'a', size: 0, root: Buffer.alloc(32), extensions: [] })).toContain(
      'a\n0\n',
    );
  });
});
