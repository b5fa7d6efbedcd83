/** Faults of the disk under the directory mirror and the key log. */
import { beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryMirror } from '../../agent/federation/directory.ts';
import { openKeyLog } from '../../coordinator/directory/key-log.ts';
import { signCheckpoint } from '../../shared/audit/checkpoint.ts';
import { AppendLog } from '../../shared/audit/log.ts';
import { CompactRange, leafHash } from '../../shared/audit/merkle.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../shared/audit/note.ts';
import { framed } from '../../shared/bytes.ts';
import { systemClock } from '../../shared/clock.ts';
import { COORDINATOR_NAME } from '../../shared/directory/record.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { createVault } from '../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';
import type { Peer } from '../../shared/wire/peer.ts';
import { LeavesRequest } from '../../shared/wire/session.ts';

const north = SiteId.parse('north');
const signer = ed25519NoteSigner('qfl/test/keys', Buffer.alloc(32, 1));
let leaves: Uint8Array[];
let peer: Peer;

beforeAll(async () => {
  const [coordinator, site] = await Promise.all([
    createVault(createMemoryStore(), secureRandomBytes),
    createVault(createMemoryStore(), secureRandomBytes),
  ]);
  const log = await AppendLog.open({ store: createMemoryStore(), prefix: 'k/', signer, create: true });
  const keyLog = await openKeyLog(log);
  await keyLog.publish(COORDINATOR_NAME, await coordinator.identityLeaf(COORDINATOR_NAME, 0, undefined));
  await keyLog.publish(north, await site.identityLeaf(north, 0, undefined));
  await keyLog.publish(north, await site.prekeyLeaf(0, keyLog.state.get(north)!));
  leaves = [];
  for await (const { leaf } of log.entries()) leaves.push(leaf);
  const range = new CompactRange();
  for (const leaf of leaves) range.append(leafHash(leaf));
  const note = signCheckpoint(
    { origin: 'qfl/test/keys', size: leaves.length, root: range.root(), extensions: [] },
    [signer],
  );
  peer = {
    request(_method, { header }) {
      const { from } = LeavesRequest.parse(header);
      return Promise.resolve({
        header: { checkpoint: note, next: leaves.length },
        payload: framed(...leaves.slice(from)),
      });
    },
    stream: () => {
      throw new Error('not in this test');
    },
    notify: () => undefined,
    receive: () => undefined,
    close: () => undefined,
  };
});

const openMirror = (store: Store) =>
  openDirectoryMirror({
    store,
    self: north,
    federation: 'test',
    logKeys: [parseVerifierKey(signer.verifierKey)],
    clock: systemClock,
  });

const synced = async (): Promise<Store> => {
  const store = createMemoryStore();
  const mirror = await openMirror(store);
  await mirror.sync(peer);
  return store;
};
const keysIn = async (store: Store): Promise<string[]> => {
  const keys: string[] = [];
  for await (const key of store.keys({ prefix: 'directory/' })) keys.push(key);
  return keys;
};

describe('the mirror', () => {
  test('on a disk that is full has no new key in use', async () => {
    const inner = createMemoryStore();
    const full: Store = { ...inner, write: () => Promise.reject(new QflError('storage_failed')) };
    const mirror = await openMirror(full);
    await expect(mirror.sync(peer)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(mirror.seen.size).toBe(0);
    expect(mirror.checkpoint.size).toBe(0);
  });

  test('that lost or changed a leaf on its disk is refused, or asks again for the last', async () => {
    const whole = await synced();
    const keys = await keysIn(whole);
    expect(keys).toHaveLength(3);
    const outcomes: string[] = [];
    for (const key of keys) {
      const lost = await synced();
      await lost.write([{ type: 'del', key }]);
      const size = openMirror(lost).then(async (mirror) => {
        await mirror.sync(peer);
        return `asked again, has ${mirror.checkpoint.size}`;
      });
      outcomes.push(await size.catch(() => 'refused'));
      const flipped = await synced();
      const value = Buffer.from((await flipped.get(key))!);
      value[value.byteLength >> 1]! ^= 1;
      await flipped.write([{ type: 'put', key, value }]);
      await expect(openMirror(flipped)).rejects.toBeInstanceOf(QflError);
    }
    // Without its last leaf it is only behind.
    expect(outcomes).toEqual(['refused', 'refused', 'asked again, has 3']);
  });
});

describe('the key log', () => {
  test('on a disk that fails does not count what it could not keep', async () => {
    const inner = createMemoryStore();
    let broken = false;
    const store: Store = {
      ...inner,
      write: (operations, options) =>
        broken ? Promise.reject(new QflError('storage_failed')) : inner.write(operations, options),
    };
    const keyLog = await openKeyLog(await AppendLog.open({ store, prefix: 'k/', signer, create: true }));
    await keyLog.publish(COORDINATOR_NAME, leaves[0]!);
    broken = true;
    await expect(keyLog.publish(north, leaves[1]!)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(keyLog.state.has(north)).toBe(false);
    expect(keyLog.log.size).toBe(1);
  });
});
