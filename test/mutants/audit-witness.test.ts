/** Faults of a witness and of an erasure: what each lets through. */
import { describe, expect, test } from 'vitest';
import { createAuditLog } from '../../shared/audit/audit-log.ts';
import { ed25519Cosigner } from '../../shared/audit/cosignature.ts';
import { AppendLog } from '../../shared/audit/log.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../shared/audit/note.ts';
import { createPersonalDetails } from '../../shared/audit/personal.ts';
import { addCheckpointBody, createWitness, type Witness } from '../../shared/audit/witness.ts';
import { utf8 } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { secureRandomBytes as random } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';

const ORIGIN = 'example.org/log';
const signer = ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 1));
const witnessOf = (store: Store): Witness =>
  createWitness({
    store,
    prefix: 'w/',
    cosigners: () => [ed25519Cosigner('example.org/w', Buffer.alloc(32, 2))],
    keysOf: () => [parseVerifierKey(signer.verifierKey)],
    nowMs: () => 0,
  });
const logOf = async (texts: readonly string[]): Promise<AppendLog> => {
  const log = await AppendLog.open({ store: createMemoryStore(), prefix: 'l/', signer, create: true });
  for (const text of texts) await log.append({ leaf: utf8(text) });
  return log;
};
const requestFor = async (log: AppendLog, oldSize: number): Promise<string> =>
  addCheckpointBody({
    oldSize,
    proof: oldSize === 0 ? [] : await log.consistencyProof(oldSize),
    note: await log.checkpoint(),
  });

describe('a witness', () => {
  test('that does not remember cosigns two histories', async () => {
    const [one, two] = [await logOf(['a', 'b', 'c']), await logOf(['a', 'b', 'x'])];
    const cosignsBoth = async (store: Store): Promise<boolean> => {
      const statuses: number[] = [];
      // A new witness each time: what it knows is what is on its disk.
      for (const log of [one, two])
        statuses.push((await witnessOf(store).addCheckpoint(await requestFor(log, 0))).status);
      return statuses.every((status) => status === 200);
    };
    expect(await cosignsBoth(createMemoryStore())).toBe(false);
    const forgetful: Store = { ...createMemoryStore(), write: () => Promise.resolve() };
    expect(await cosignsBoth(forgetful)).toBe(true);
  });

  test('that compares and remembers in two steps goes back', async () => {
    const log = await logOf(['a', 'b', 'c']);
    const first = await requestFor(log, 0);
    await log.append({ leaf: utf8('d') });
    const four = await requestFor(log, 3);
    await log.append({ leaf: utf8('e') });
    const five = await requestFor(log, 3);
    const both = async (witnesses: (store: Store) => [Witness, Witness]): Promise<number[]> => {
      const [left, right] = witnesses(createMemoryStore());
      await left.addCheckpoint(first);
      const replies = await Promise.all([left.addCheckpoint(five), right.addCheckpoint(four)]);
      return replies.map(({ status }) => status);
    };
    const one = await both((store) => {
      const witness = witnessOf(store);
      return [witness, witness];
    });
    expect(one).toEqual([200, 409]);
    // Two that share a disk and no turn: the second has cosigned less than the first remembered.
    expect(await both((store) => [witnessOf(store), witnessOf(store)])).toEqual([200, 200]);
  });
});

describe('an erasure', () => {
  test('that leaves the key leaves the detail', async () => {
    const readableAfter = async (store: Store): Promise<boolean> => {
      const personal = createPersonalDetails({
        store,
        prefix: 'l/',
        blindingKey: Buffer.alloc(32, 2),
        random,
      });
      const log = await AppendLog.open({ store, prefix: 'l/', signer, create: true });
      const audit = createAuditLog({ log, source: 'coordinator', clock: systemClock, random, personal });
      await audit.record({ action: 'access.refused', outcome: 'refused', person: 'ana', detail: utf8('x') });
      const kept = await store.get('l/p/0000000000000000');
      await personal.erase(personal.subjectOf('ana'));
      // What a backup of the bytes would bring back.
      await store.write([{ type: 'put', key: 'l/p/0000000000000000', value: kept! }]);
      return (await audit.detail(0)) !== undefined;
    };
    expect(await readableAfter(createMemoryStore())).toBe(false);
    const inner = createMemoryStore();
    const keepsKeys: Store = {
      ...inner,
      write: (operations) =>
        inner.write(operations.filter(({ type, key }) => type === 'put' || !key.startsWith('l/k/'))),
    };
    expect(await readableAfter(keepsKeys)).toBe(true);
  });
});
