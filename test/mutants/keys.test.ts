/** Each guarantee about keys taken away: what it keeps out then gets through. */
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { toHex } from '../../shared/bytes.ts';
import { DAY_MS, HOUR_MS } from '../../shared/clock.ts';
import { always } from '../../shared/crypto/signature.ts';
import {
  applyLeaf,
  type DirectoryState,
  identitiesAt,
  identitiesNow,
  KEM_OVERLAP_MS,
  requireSite,
  type SiteKeys,
} from '../../shared/directory/chain.ts';
import type * as Record from '../../shared/directory/record.ts';
import {
  checkRequest,
  encodeRequest,
  parseRequest,
  recoveryFromMs,
  recoveryLeaf,
} from '../../shared/directory/recovery.ts';
import { COORDINATOR_NAME, signRecord } from '../../shared/directory/record.ts';
import { SiteId } from '../../shared/ids.ts';
import { openDataKey, rotateMasterKey } from '../../shared/keys/master.ts';
import { writeWholeFile } from '../../shared/whole-file.ts';
import { createVault, type Vault } from '../../shared/keys/vault.ts';
import { secureRandomBytes as random } from '../../shared/random.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import { PrekeyId } from '../../shared/wire/envelope.ts';
import { checkCountersigned, countersign, signHead } from '../../shared/wire/ledger-head.ts';
import { standstillOf } from '../../agent/federation/standstill.ts';

const faults = vi.hoisted(() => ({ anySignature: false }));
vi.mock('../../shared/directory/record.ts', async (original) => {
  const real = await original<typeof Record>();
  return {
    ...real,
    recordHolds: (...args: Parameters<typeof real.recordHolds>) =>
      faults.anySignature || real.recordHolds(...args),
  };
});

const north = SiteId.parse('north');
const T0 = 1_800_000_000_000;
let vault: Vault;
let state: DirectoryState;
const keys = (): SiteKeys => requireSite(state, north);
const publish = (leaf: Uint8Array): void => void (state = applyLeaf(state, leaf));

beforeEach(async () => {
  faults.anySignature = false;
  vault = await createVault(createMemoryStore(), random);
  state = applyLeaf(new Map(), await vault.identityLeaf(north, T0, undefined));
});

describe('rotation', () => {
  test('signed by the new identity alone: a stranger takes the name', async () => {
    const stranger = await createVault(createMemoryStore(), random);
    const leaf = await stranger.rotationLeaf('identity', T0 + 1, keys());
    expect(() => applyLeaf(state, leaf)).toThrowError(
      expect.objectContaining({ code: 'key_changed' }) as Error,
    );
    faults.anySignature = true;
    expect(() => applyLeaf(state, leaf)).not.toThrow();
  });

  test('without a history of identities: what was countersigned before does not verify any more', async () => {
    const head = { site: north, epoch: 0, counter: 1, hash: '0'.repeat(64), units: '1', atMs: T0 + 1 };
    const coordinator = await createVault(createMemoryStore(), random);
    const countersigned = countersign(coordinator.identity, {
      signed: signHead(vault.identity, head),
      logIndex: 0,
      atMs: T0 + 1,
    });
    publish(await vault.rotationLeaf('identity', T0 + DAY_MS, keys()));
    const by = always(coordinator.identity.publicKeys);
    const check = (site: (atMs: number) => readonly SiteKeys['identity'][]) =>
      checkCountersigned({ site, coordinator: by }, countersigned).site;
    expect(check((atMs) => identitiesAt(keys(), atMs))).toBe(north);
    expect(() => check(always(keys().identity))).toThrow();
  });

  test('in an emergency with an overlap: the stolen identity goes on for an hour', async () => {
    const stolen = toHex(keys().identity.ed25519);
    const taken = (): boolean =>
      identitiesNow(keys(), T0 + DAY_MS + 1).some(({ ed25519 }) => toHex(ed25519) === stolen);
    const before = state;
    publish(await vault.rotationLeaf('emergency', T0 + DAY_MS, keys()));
    expect(taken()).toBe(false);
    state = before;
    publish(await vault.rotationLeaf('identity', T0 + DAY_MS, keys()));
    expect(taken()).toBe(true);
  });

  test('that leaves old epochs: a copy of the disk opens what was recorded months ago', async () => {
    const old = PrekeyId.parse('static-0');
    publish(await vault.rotationLeaf('kem', T0 + 75 * DAY_MS, keys()));
    // The mutant never looks at what is over.
    expect(await vault.prekeySeed(old)).toBeDefined();
    await vault.settle(keys(), T0 + 75 * DAY_MS + KEM_OVERLAP_MS);
    expect(await vault.prekeySeed(old)).toBeUndefined();
  });
});

describe('recovery', () => {
  const waiting = async (fromMs: number) => {
    const lost = await createVault(createMemoryStore(), random);
    const record = await lost.recoveryRecord(north, { atMs: T0, fromMs }, keys());
    return { lost, record, request: parseRequest(encodeRequest(lost.signedRecord(record))) };
  };
  const joined = async (name: string) => {
    const site = SiteId.parse(name);
    const own = await createVault(createMemoryStore(), random);
    publish(await own.identityLeaf(site, T0, undefined));
    return { site, own };
  };

  test('by one administrator twice: two sites have to stand behind it', async () => {
    const [one, two] = [await joined('south'), await joined('east')];
    const { record, request } = await waiting(recoveryFromMs(T0));
    const by = ({ site, own }: typeof one) => ({ site, signature: signRecord(own.identity, record) });
    expect(() => applyLeaf(state, recoveryLeaf(request, [by(one), by(one)]))).toThrow(/not approved/);
    expect(() => applyLeaf(state, recoveryLeaf(request, [by(one), by(two)]))).not.toThrow();
  });

  test('prepared long ago: without the hour of the request it counts at once', async () => {
    const { request } = await waiting(recoveryFromMs(T0));
    expect(() => checkRequest(request, state, T0 + HOUR_MS)).not.toThrow();
    const late = T0 + 25 * HOUR_MS;
    expect(() => checkRequest(request, state, late)).toThrowError(
      expect.objectContaining({ code: 'expired' }) as Error,
    );
    // The mutant looks at the chain alone: what it lets in is in force in the same moment.
    expect(request.record.fromMs <= late).toBe(true);
  });
});

test('a standstill by quorum only: a coordinator that stopped is obeyed a round later', async () => {
  const coordinator = await createVault(createMemoryStore(), random);
  publish(await coordinator.identityLeaf(COORDINATOR_NAME, T0, undefined));
  const confirmed = state;
  const before = state.get(COORDINATOR_NAME)!;
  publish(
    coordinator.signedRecord({
      v: 1,
      kind: 'lockdown',
      site: COORDINATOR_NAME,
      sequence: before.sequence + 1,
      previous: toHex(before.lastLeaf),
      atMs: T0 + 1,
      on: true,
    }),
  );
  expect(standstillOf({ seen: state, state: confirmed })).toEqual({ sinceMs: T0 + 1 });
  expect(confirmed.get(COORDINATOR_NAME)?.lockdown).toBeUndefined();
});

test('a master key replaced before its wrapping is on the disk: a crash loses everything', async () => {
  const home = await mkdtemp(join(tmpdir(), 'qfl-mutant-'));
  const sources = { home, environment: undefined, credentialsFolder: undefined };
  await openDataKey(sources, { create: true, random });
  const opens = () => openDataKey(sources, { create: false, random });
  /** @param skipsFirst the wrapping never gets to the disk, and the power goes before it takes its place */
  const attempt = (skipsFirst: boolean, readsBack: boolean) => {
    let unwritten: Uint8Array | undefined;
    let moves = 0;
    return rotateMasterKey(sources, {
      random,
      files: {
        read: (path) =>
          readsBack || unwritten === undefined || path.endsWith('master.key.next')
            ? readFile(path)
            : Promise.resolve(unwritten),
        write: (path, content) => {
          if (!skipsFirst || unwritten !== undefined) return writeWholeFile(path, content);
          unwritten = content;
          return Promise.resolve();
        },
        move: (from, to) => {
          moves += 1;
          return skipsFirst && moves === 2 ? Promise.reject(new Error('the power went')) : rename(from, to);
        },
      },
    });
  };
  await attempt(false, true);
  await expect(opens()).resolves.toBeDefined();
  // What is read back before the old key goes is missed in time.
  await expect(attempt(true, true)).rejects.toThrow();
  await expect(opens()).resolves.toBeDefined();
  await expect(attempt(true, false)).rejects.toThrow();
  await expect(opens()).rejects.toMatchObject({ code: 'storage_failed' });
  await rm(home, { recursive: true });
});
