/** The agent's mirror against coordinators that lie: each lie is refused, and leaves the mirror as it was. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { openDirectoryMirror } from '../../../agent/federation/directory.ts';
import { checkOwnName } from '../../../agent/federation/own-name.ts';
import { openKeyLog } from '../../../coordinator/directory/key-log.ts';
import { signCheckpoint } from '../../../shared/audit/checkpoint.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { CompactRange, leafHash } from '../../../shared/audit/merkle.ts';
import { ed25519NoteSigner, parseVerifierKey } from '../../../shared/audit/note.ts';
import { framed, toHex } from '../../../shared/bytes.ts';
import { systemClock } from '../../../shared/clock.ts';
import { identityLattice } from '../../../shared/crypto/lattice/provider.ts';
import { COORDINATOR_NAME } from '../../../shared/directory/record.ts';
import { recoveryFromMs } from '../../../shared/directory/recovery.ts';
import { toQflError } from '../../../shared/errors.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createVault, type Vault } from '../../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import type { Peer } from '../../../shared/wire/peer.ts';
import { LeavesRequest } from '../../../shared/wire/session.ts';

const north = SiteId.parse('north');
const T0 = 1_800_000_000_000;
const ORIGIN = 'qfl/test/keys';
const signer = ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 1));
const newVault = (): Promise<Vault> => createVault(createMemoryStore(), secureRandomBytes);

interface Reply {
  readonly leaves: readonly Uint8Array[];
  readonly checkpoint: string;
}
/** A coordinator that answers `directory.leaves` as the test says. */
const peerOf = (reply: (from: number) => Reply): Peer => ({
  request(_method, { header }) {
    const { from } = LeavesRequest.parse(header);
    const { leaves, checkpoint } = reply(from);
    return Promise.resolve({
      header: { checkpoint, next: from + leaves.length },
      payload: framed(...leaves),
    });
  },
  stream: () => {
    throw new Error('not in this test');
  },
  notify: () => undefined,
  receive: () => undefined,
  close: () => undefined,
});
const rootOf = (leaves: readonly Uint8Array[]): Uint8Array => {
  const range = new CompactRange();
  for (const leaf of leaves) range.append(leafHash(leaf));
  return range.root();
};
const checkpointOf = (leaves: readonly Uint8Array[], by = signer, origin = ORIGIN): string =>
  signCheckpoint({ origin, size: leaves.length, root: rootOf(leaves), extensions: [] }, [by]);
const honest = (leaves: readonly Uint8Array[], perReply = 100): Peer =>
  peerOf((from) => ({ leaves: leaves.slice(from, from + perReply), checkpoint: checkpointOf(leaves) }));

let coordinator: Vault;
let site: Vault;
let leaves: Uint8Array[];
let store: Store;

beforeEach(async () => {
  [coordinator, site] = await Promise.all([newVault(), newVault()]);
  store = createMemoryStore();
  const log = await AppendLog.open({ store: createMemoryStore(), prefix: 'k/', signer, create: true });
  const keyLog = await openKeyLog(log);
  await keyLog.publish(COORDINATOR_NAME, await coordinator.identityLeaf(COORDINATOR_NAME, T0, undefined));
  await keyLog.publish(north, await site.identityLeaf(north, T0, undefined));
  for (let day = 0; day < 4; day += 1)
    await keyLog.publish(north, await site.prekeyLeaf(T0 + day, keyLog.state.get(north)!));
  leaves = [];
  for await (const { leaf } of log.entries()) leaves.push(leaf);
});

const open = () =>
  openDirectoryMirror({
    store,
    self: north,
    federation: 'test',
    logKeys: [parseVerifierKey(signer.verifierKey)],
    clock: systemClock,
  });
const storedLeaves = async (): Promise<number> => {
  let count = 0;
  for await (const _ of store.keys({ prefix: 'directory/' })) count += 1;
  return count;
};

describe('an honest directory', () => {
  test('is mirrored in one reply or many, and is there after a restart without asking', async () => {
    for (const perReply of [100, 1, 4]) {
      store = createMemoryStore();
      const mirror = await open();
      await mirror.sync(honest(leaves, perReply));
      expect(mirror.checkpoint.size).toBe(6);
      expect(toHex(mirror.checkpoint.root)).toBe(toHex(rootOf(leaves)));
      const again = await open();
      expect(toHex(again.checkpoint.root)).toBe(toHex(rootOf(leaves)));
      expect(again.seen.get(north)?.prekeys).toHaveLength(2);
      await again.sync(honest(leaves));
    }
  });

  test('that grows is followed; two synchronisations at once are one', async () => {
    const mirror = await open();
    await mirror.sync(honest(leaves.slice(0, 3)));
    await Promise.all([mirror.sync(honest(leaves)), mirror.sync(honest(leaves))]);
    expect(mirror.checkpoint.size).toBe(6);
  });
});

describe('a directory that lies', () => {
  /** Seen some leaves, then told a lie: with what is it refused, what of it stays, and does the honest history still fit? */
  const told = async (seen: number, lie: Peer) => {
    store = createMemoryStore();
    const mirror = await open();
    if (seen > 0) await mirror.sync(honest(leaves.slice(0, seen)));
    const code = await mirror.sync(lie).then(
      () => 'believed',
      (error: unknown) => toQflError(error).code,
    );
    const [inMemory, onDisk] = [mirror.checkpoint.size, await storedLeaves()];
    await mirror.sync(honest(leaves));
    return { code, inMemory, onDisk, after: mirror.checkpoint.size };
  };
  const refusal = (seen: number, code: string) => ({ code, inMemory: seen, onDisk: seen, after: 6 });

  test('that shrinks is refused', async () => {
    expect(await told(5, honest(leaves.slice(0, 4)))).toEqual(refusal(5, 'key_changed'));
  });

  test('that forks after what was seen is refused', async () => {
    const forked = leaves.slice(0, 4);
    forked[3] = await (await newVault()).identityLeaf(SiteId.parse('south'), T0, undefined);
    expect(await told(5, honest([...forked, ...leaves.slice(3)]))).toEqual(refusal(5, 'key_changed'));
  });

  test('of the same size with another root is refused', async () => {
    const other = [...leaves];
    other[5] = await (await newVault()).identityLeaf(SiteId.parse('south'), T0, undefined);
    expect(await told(6, honest(other))).toEqual(refusal(6, 'key_changed'));
  });

  test('with a swapped key is refused', async () => {
    const evil = await newVault();
    const swapped = await evil.identityLeaf(north, T0, undefined);
    expect(await told(2, honest([...leaves.slice(0, 2), swapped]))).toEqual(refusal(2, 'key_changed'));
  });

  test('with a record left out of a chain is refused', async () => {
    const lie = honest([...leaves.slice(0, 3), ...leaves.slice(4)]);
    expect(await told(2, lie)).toEqual(refusal(2, 'key_changed'));
  });

  test('that withholds leaves is refused', async () => {
    const lie = peerOf((from) => ({ leaves: leaves.slice(from, 4), checkpoint: checkpointOf(leaves) }));
    expect(await told(2, lie)).toEqual(refusal(2, 'protocol'));
  });

  test('whose leaves do not give the signed root is refused, even when it says so only in the last reply', async () => {
    const stranger = await (await newVault()).identityLeaf(SiteId.parse('south'), T0, undefined);
    const lying = [...leaves.slice(0, 2), stranger];
    const lie = peerOf((from) => ({
      leaves: [...lying, ...leaves.slice(2)].slice(from, from + 1),
      checkpoint: signCheckpoint({ origin: ORIGIN, size: 7, root: rootOf(leaves), extensions: [] }, [signer]),
    }));
    expect(await told(2, lie)).toEqual(refusal(2, 'key_changed'));
  });

  test('with a checkpoint unsigned, by another key, for another log, or not a checkpoint is refused', async () => {
    const reply = (checkpoint: string): Peer =>
      peerOf((from) => ({ leaves: leaves.slice(from), checkpoint }));
    const good = checkpointOf(leaves);
    const evil = ed25519NoteSigner(ORIGIN, Buffer.alloc(32, 2));
    expect(await told(2, reply(good.slice(0, good.indexOf('\n\n') + 2)))).toEqual(refusal(2, 'protocol'));
    expect(await told(2, reply(checkpointOf(leaves, evil)))).toEqual(refusal(2, 'unknown_key'));
    expect(await told(2, reply(good.replace('\n6\n', '\n5\n')))).toEqual(refusal(2, 'bad_signature'));
    expect(await told(2, reply(checkpointOf(leaves, signer, 'qfl/other/keys')))).toEqual(
      refusal(2, 'key_changed'),
    );
    expect(await told(2, reply(''))).toEqual(refusal(2, 'protocol'));
  });

  test('that replies nonsense is refused', async () => {
    const nonsense: Peer = {
      ...honest(leaves),
      request: () => Promise.resolve({ header: {}, payload: new Uint8Array(0) }),
    };
    expect(await told(2, nonsense)).toEqual(refusal(2, 'protocol'));
    const halfField: Peer = {
      ...honest(leaves),
      request: () =>
        Promise.resolve({
          header: { checkpoint: checkpointOf(leaves), next: 6 },
          payload: Uint8Array.of(0, 0, 9),
        }),
    };
    expect(await told(2, halfField)).toEqual(refusal(2, 'protocol'));
  });
});

describe('the watch over our own name', () => {
  test('accepts our own key and no record at all; a stranger’s key or a revocation stops us', async () => {
    const mirror = await open();
    await mirror.sync(honest(leaves));
    const stranger = await newVault();
    expect(() => checkOwnName(mirror.seen, north, site.identity.publicKeys)).not.toThrow();
    expect(() =>
      checkOwnName(mirror.seen, SiteId.parse('south'), stranger.identity.publicKeys),
    ).not.toThrow();
    expect(() => checkOwnName(mirror.seen, north, stranger.identity.publicKeys)).toThrowError(
      expect.objectContaining({ code: 'key_changed', next: expect.any(String) }),
    );
    const revoked = new Map(mirror.seen);
    revoked.set(north, { ...mirror.seen.get(north)!, revokedMs: T0 });
    expect(() => checkOwnName(revoked, north, site.identity.publicKeys)).toThrowError(
      expect.objectContaining({ code: 'revoked' }),
    );
  });
});

describe('the coordinator’s key log', () => {
  const openLog = async () => {
    const log = await AppendLog.open({ store, prefix: 'log/', signer, create: true });
    return openKeyLog(log);
  };
  test('takes a record from its own site only, and two at once in turn', async () => {
    const keyLog = await openLog();
    const grown: number[] = [];
    keyLog.onGrowth((size) => void grown.push(size));
    await keyLog.publish(COORDINATOR_NAME, leaves[0]!);
    await expect(keyLog.publish(SiteId.parse('south'), leaves[1]!)).rejects.toMatchObject({
      code: 'forbidden',
    });
    await keyLog.publish(north, leaves[1]!);
    const rivals = await Promise.allSettled([
      keyLog.publish(north, await site.prekeyLeaf(T0, keyLog.state.get(north)!)),
      keyLog.publish(north, await site.prekeyLeaf(T0 + 1, keyLog.state.get(north)!)),
    ]);
    expect(rivals.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(grown).toEqual([1, 2, 3]);
    expect((await openLog()).state.get(north)?.sequence).toBe(1);
  });

  test('verifies a record once, before it is written, and shows readers of before what they had', async () => {
    const keyLog = await openLog();
    const verify = vi.spyOn(identityLattice, 'verify');
    try {
      await keyLog.publish(COORDINATOR_NAME, leaves[0]!);
      await keyLog.publish(north, leaves[1]!);
      expect(verify).toHaveBeenCalledTimes(2);
      const before = keyLog.state;
      const leaf = await site.prekeyLeaf(T0, before.get(north)!);
      await keyLog.publish(north, leaf);
      expect([before.get(north)?.sequence, keyLog.state.get(north)?.sequence]).toEqual([0, 1]);
      await expect(keyLog.publish(north, leaf)).rejects.toMatchObject({ code: 'key_changed' });
      expect(keyLog.log.size).toBe(3);
    } finally {
      verify.mockRestore();
    }
  });

  test('takes a recovery from where it was looked at, not from whoever speaks for the site', async () => {
    const keyLog = await openLog();
    await keyLog.publish(COORDINATOR_NAME, leaves[0]!);
    await keyLog.publish(north, leaves[1]!);
    const record = await site.recoveryRecord(
      north,
      { atMs: T0, fromMs: recoveryFromMs(T0) },
      keyLog.state.get(north)!,
    );
    await expect(keyLog.publish(north, site.signedRecord(record))).rejects.toMatchObject({
      code: 'forbidden',
    });
  });
});
