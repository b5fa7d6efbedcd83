/** Faults of the disk that the log has to notice. Each is injected through the store port. */
import { describe, expect, it } from 'vitest';
import type { CheckpointAnchor } from '../../shared/audit/anchor.ts';
import { createAuditLog } from '../../shared/audit/audit-log.ts';
import { AppendLog, type LogOptions } from '../../shared/audit/log.ts';
import { ed25519NoteSigner } from '../../shared/audit/note.ts';
import { utf8 } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { QflError } from '../../shared/errors.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';

const memoryAnchor = (): CheckpointAnchor => {
  let note: Uint8Array | undefined;
  return {
    read: () => Promise.resolve(note),
    write: (next) => {
      note = next;
      return Promise.resolve();
    },
  };
};

const options = (store: Store, rest: Partial<LogOptions> = {}): LogOptions => ({
  store,
  prefix: 'a/',
  signer: ed25519NoteSigner('example.org/log', Buffer.alloc(32, 1)),
  create: true,
  ...rest,
});

const filled = async (count: number, rest: Partial<LogOptions> = {}): Promise<Store> => {
  const store = createMemoryStore();
  const log = await AppendLog.open(options(store, rest));
  await Promise.all(Array.from({ length: count }, (_, at) => log.append({ leaf: utf8(`leaf ${at}`) })));
  await log.close();
  return store;
};

const copy = async (store: Store): Promise<Store> => {
  const twin = createMemoryStore();
  for await (const { key, value } of store.list({ prefix: '' }))
    await twin.write([{ type: 'put', key, value }]);
  return twin;
};

describe('a store that lost or changed something', () => {
  it('is refused at opening: every key deleted, every value flipped', async () => {
    const store = await filled(300);
    const accepted: string[] = [];
    for await (const { key, value } of store.list({ prefix: '' })) {
      for (const at of [0, value.length >> 1, value.length - 1]) {
        const flipped = await copy(store);
        const changed = Buffer.from(value);
        changed[at]! ^= 1;
        await flipped.write([{ type: 'put', key, value: changed }]);
        await AppendLog.open(options(flipped)).then(
          () => accepted.push(`${key} flipped at ${at}`),
          () => undefined,
        );
      }
      const cut = await copy(store);
      await cut.write([{ type: 'del', key }]);
      await AppendLog.open(options(cut)).then(
        () => accepted.push(`${key} deleted`),
        () => undefined,
      );
    }
    // The last checkpoint can be signed again from the rest; everything else is needed.
    expect(accepted).toEqual(['a/c deleted']);
  });

  it('is refused when it went back to an older whole state: the anchor remembers', async () => {
    const anchor = memoryAnchor();
    const store = createMemoryStore();
    const log = await AppendLog.open(options(store, { anchor }));
    await log.append({ leaf: utf8('one') });
    const older = await copy(store);
    await log.append({ leaf: utf8('two') });
    await log.close();
    await expect(AppendLog.open(options(older, { anchor }))).rejects.toMatchObject({
      code: 'storage_failed',
    });
    await expect(AppendLog.open(options(createMemoryStore(), { anchor }))).rejects.toMatchObject({
      code: 'storage_failed',
    });
    await expect(AppendLog.open(options(store, { anchor }))).resolves.toBeInstanceOf(AppendLog);
  });

  it('is refused when it holds another history of the same length', async () => {
    const anchor = memoryAnchor();
    await filled(5, { anchor });
    const store = createMemoryStore();
    const forged = await AppendLog.open(options(store));
    await Promise.all(Array.from({ length: 5 }, () => forged.append({ leaf: utf8('forged') })));
    await forged.close();
    await expect(AppendLog.open(options(store, { anchor }))).rejects.toThrowError(/not those/);
  });
});

describe('no entry, no action', () => {
  it('a failed write stops the action, and nothing is acknowledged after it, even when the disk recovers', async () => {
    const inner = createMemoryStore();
    let full = false;
    const store: Store = {
      ...inner,
      write: (operations) =>
        full
          ? Promise.reject(new QflError('storage_failed', { detail: 'disk full' }))
          : inner.write(operations),
    };
    const log = await AppendLog.open(options(store));
    const audit = createAuditLog({
      log,
      source: 'coordinator',
      clock: systemClock,
      random: secureRandomBytes,
    });
    await audit.record({ action: 'program.start', outcome: 'ok' });
    let acted = 0;
    const act = async () => {
      await audit.record({ action: 'chat.served', outcome: 'begun' });
      acted += 1;
    };
    full = true;
    await expect(act()).rejects.toMatchObject({ code: 'storage_failed' });
    full = false;
    await expect(act()).rejects.toMatchObject({ code: 'storage_failed' });
    await expect(log.checkpoint()).rejects.toMatchObject({ code: 'storage_failed' });
    expect(acted).toBe(0);
    expect(log.size).toBe(1);
    const reopened = await AppendLog.open(options(inner));
    expect(reopened.size).toBe(1);
  });
});
