/** Faults behind the coordinator's door: a disk that fails, a log that does not take the entry, checks that are not made. */
import { describe, expect, test } from 'vitest';
import { openSession, type SessionIdentity } from '../../agent/federation/session.ts';
import { QflError } from '../../shared/errors.ts';
import { SiteId } from '../../shared/ids.ts';
import { silentLogger } from '../../shared/log.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { createTestCoordinator, createTestSite, enrolledSite, until } from '../fixtures/link.ts';

const CALL = { timeoutMs: 3_000 };

/** A store whose writes to keys with one prefix fail while `broken` is on. */
const failingStore = () => {
  const inner = createMemoryStore();
  const fault = { prefix: undefined as string | undefined };
  const hits = ({ key }: StoreOperation): boolean =>
    fault.prefix !== undefined && key.startsWith(fault.prefix);
  const store: Store = {
    ...inner,
    write: (operations, options) =>
      operations.some(hits)
        ? Promise.reject(new QflError('storage_failed', { detail: 'disk full' }))
        : inner.write(operations, options),
  };
  return { store, fault };
};

describe('no entry, no session', () => {
  test('a log that does not take the entry lets nobody in', async () => {
    const { store, fault } = failingStore();
    const coordinator = await createTestCoordinator({ store });
    const north = await enrolledSite('north', coordinator);
    fault.prefix = 'log/audit/';
    const { session } = await north.connect(coordinator);
    await expect(session.peer.request('hello', {}, CALL)).rejects.toMatchObject({ code: 'not_connected' });
    expect(coordinator.presence.online()).toEqual([]);
  });

  test('a failed log entry, token or site record leaves no half-joined site', async () => {
    for (const prefix of ['log/audit/', 'invite/', 'site/']) {
      const { store, fault } = failingStore();
      const coordinator = await createTestCoordinator({ store });
      const north = await createTestSite('north', coordinator);
      const { token } = await coordinator.invitations.create(north.site, true);
      fault.prefix = prefix;
      const { session } = await north.connect(coordinator, { token });
      await expect(session.peer.request('hello', {}, CALL)).rejects.toMatchObject({ code: 'not_connected' });
      expect({ prefix, sites: coordinator.registry.list() }).toEqual({ prefix, sites: [] });
      expect(coordinator.keyLog.state.has(north.site)).toBe(false);
      await until('the connection is gone', () => coordinator.presence.online().length === 0);
    }
  });

  test('a directory that cannot be written leaves the site pending, and its approval can be repeated', async () => {
    const { store, fault } = failingStore();
    const coordinator = await createTestCoordinator({ store });
    const north = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(north.site, false);
    const { session } = await north.connect(coordinator, { token });
    await session.peer.request('hello', {}, CALL);
    fault.prefix = 'site/';
    await expect(coordinator.registry.approve(north.site)).rejects.toMatchObject({ code: 'storage_failed' });
    expect(coordinator.registry.get(north.site).status).toBe('pending');
    fault.prefix = undefined;
    await expect(coordinator.registry.approve(north.site)).resolves.toMatchObject({ status: 'approved' });
    expect(coordinator.keyLog.log.size).toBe(2);
  });
});

describe('the checks of M3 are what keeps strangers out', () => {
  const stolenIdentity = async (checked: boolean) => {
    let isBlind = false;
    const coordinator = await createTestCoordinator({
      wrapDesk: (desk) => ({
        ...desk,
        verify: (...facts) => (isBlind ? SiteId.parse('north') : desk.verify(...facts)),
      }),
    });
    const north = await enrolledSite('north', coordinator);
    isBlind = !checked;
    const thief = await createTestSite('north', coordinator);
    const real = await north.identity();
    // The thief has the channel key of north, not its identity: its statement is signed by another.
    const own = await thief.identity();
    const stolen: SessionIdentity = { ...real, statement: (hash) => own.statement(hash) };
    const pipe = coordinator.open();
    const deps = { clock: coordinator.clock, hedge: thief.vault.hedge, logger: silentLogger };
    const session = await openSession(pipe.socket, () => Promise.resolve(stolen), {}, deps);
    return session.peer.request('hello', {}, CALL);
  };
  test('with them a stolen channel key without the identity is refused; without them it gets in', async () => {
    await expect(stolenIdentity(true)).rejects.toMatchObject({ code: 'not_connected' });
    await expect(stolenIdentity(false)).resolves.toMatchObject({ header: { status: 'approved' } });
  });
});
