/** Enrolment and sessions end to end: the coordinator's side and the agent's, joined by a pipe. */
import { describe, expect, test } from 'vitest';
import { openRegistry } from '../../../coordinator/sites/registry.ts';
import { STATEMENT_LABEL } from '../../../shared/crypto/handshake.ts';
import { verifySignature } from '../../../shared/crypto/signature.ts';
import { QflError } from '../../../shared/errors.ts';
import { DAY_MS, HOUR_MS } from '../../../shared/clock.ts';
import { directoryLeafHash } from '../../../shared/directory/record.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { SiteId } from '../../../shared/ids.ts';
import type { Handlers } from '../../../shared/wire/peer.ts';
import { signAlarm } from '../../../shared/wire/alarm.ts';
import { Standing } from '../../../shared/wire/session.ts';
import { createTestCoordinator, createTestSite, enrolledSite, until } from '../../fixtures/link.ts';

const CALL = { timeoutMs: 5_000 };
const refused = { code: 'handshake_refused' };

const actions = async (coordinator: Awaited<ReturnType<typeof createTestCoordinator>>): Promise<string[]> => {
  const found: string[] = [];
  for await (const { action, outcome } of coordinator.audit.entries()) found.push(`${action} ${outcome}`);
  return found;
};

describe('an enrolment', () => {
  test('takes the site in, logs it before it counts, and leaves it pending until approved', async () => {
    const coordinator = await createTestCoordinator();
    const north = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(north.site, false);
    const { session } = await north.connect(coordinator, { token });
    const standing = await session.peer.request('hello', {}, CALL);
    expect(Standing.parse(standing.header).status).toBe('pending');
    expect(coordinator.registry.get(north.site).status).toBe('pending');
    expect(coordinator.keyLog.state.has(north.site)).toBe(false);
    await expect(
      session.peer.request('directory.leaves', { header: { from: 0 } }, CALL),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await coordinator.registry.approve(north.site);
    const after = await session.peer.request('hello', {}, CALL);
    expect(Standing.parse(after.header)).toEqual({ status: 'approved', directorySize: 2 });
    expect(await actions(coordinator)).toEqual(['site.joined begun']);
  });

  test('with auto-approval the directory holds its key at once, and a session of its own follows', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    expect(coordinator.keyLog.siteOfLeaf(directoryLeafHash(north.leaf), Date.now())?.keys.site).toBe('north');
    const { session } = await north.connect(coordinator);
    const { header } = await session.peer.request('hello', {}, CALL);
    expect(Standing.parse(header).status).toBe('approved');
    expect(await actions(coordinator)).toEqual([
      'site.joined begun',
      'site.approved ok',
      'session.opened ok',
    ]);
  });

  test('a token works once', async () => {
    const coordinator = await createTestCoordinator();
    const north = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(north.site, true);
    const { session } = await north.connect(coordinator, { token });
    await session.peer.request('hello', {}, CALL);
    await expect(north.connect(coordinator, { token })).rejects.toMatchObject(refused);
    const other = await createTestSite('north', coordinator);
    await expect(other.connect(coordinator, { token })).rejects.toMatchObject(refused);
  });

  test('two enrolments with one token at the same time: one wins', async () => {
    const coordinator = await createTestCoordinator();
    const { token } = await coordinator.invitations.create(SiteId.parse('north'), true);
    const rivals = await Promise.all([
      createTestSite('north', coordinator),
      createTestSite('north', coordinator),
    ]);
    const calls = rivals.map(async (rival) => {
      const { session } = await rival.connect(coordinator, { token });
      return session.peer.request('hello', {}, CALL);
    });
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(coordinator.registry.list()).toHaveLength(1);
  });

  test('a token that is a day old is refused, and no longer listed', async () => {
    const coordinator = await createTestCoordinator();
    const north = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(north.site, true);
    expect(await coordinator.invitations.list()).toHaveLength(1);
    coordinator.clock.moveMs(DAY_MS - HOUR_MS);
    expect(await coordinator.invitations.list()).toHaveLength(1);
    coordinator.clock.moveMs(HOUR_MS + 1);
    await expect(north.connect(coordinator, { token })).rejects.toMatchObject(refused);
    expect(await coordinator.invitations.list()).toEqual([]);
  });

  test('a token for another site is refused, whichever name the record carries', async () => {
    const coordinator = await createTestCoordinator();
    const south = await createTestSite('south', coordinator);
    const { token } = await coordinator.invitations.create(SiteId.parse('north'), true);
    // The token names north, the record south.
    const { session } = await south.connect(coordinator, { token });
    expect((await session.ended).code).toBe('not_connected');
    expect(coordinator.registry.list()).toEqual([]);
    expect(coordinator.keyLog.log.size).toBe(1);
    expect(await coordinator.invitations.list()).toHaveLength(1);
  });

  test('a token of another coordinator is refused', async () => {
    const [here, elsewhere] = await Promise.all([createTestCoordinator(), createTestCoordinator()]);
    const north = await createTestSite('north', here);
    const { token } = await elsewhere.invitations.create(north.site, true);
    await expect(north.connect(here, { token })).rejects.toMatchObject(refused);
  });

  test('a name that is taken is refused', async () => {
    const coordinator = await createTestCoordinator();
    await enrolledSite('north', coordinator);
    const second = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(second.site, true);
    const { session } = await second.connect(coordinator, { token });
    await session.ended;
    expect(coordinator.keyLog.log.size).toBe(2);
  });

  test('only what the handshake needs of a token is stored', async () => {
    const coordinator = await createTestCoordinator();
    const { token } = await coordinator.invitations.create(SiteId.parse('north'), true);
    const secret = Buffer.from(token.slice('qfljoin1.'.length), 'base64url').subarray(16, 48);
    for await (const { value } of coordinator.store.list({ prefix: 'invite/' })) {
      expect(fromUtf8(value)).not.toContain(token);
      expect(fromUtf8(value)).not.toContain(secret.toString('base64'));
      expect(fromUtf8(value)).not.toContain(secret.toString('hex'));
    }
  });
});

describe('a session', () => {
  test('of a revoked site is refused, and the open one ends with the reason', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    const dismissals: unknown[] = [];
    const handlers: Handlers = {
      dismissed: { kind: 'event', accept: ({ header }) => void dismissals.push(header) },
    };
    const { session } = await north.connect(coordinator, { handlers });
    await session.peer.request('hello', {}, CALL);
    await coordinator.registry.revoke(north.site, 'left');
    coordinator.presence.disconnect(north.site, new QflError('revoked', { detail: 'left' }));
    await session.ended;
    expect(dismissals).toEqual([{ code: 'revoked', detail: 'left' }]);
    await expect(north.connect(coordinator)).rejects.toMatchObject(refused);
    expect(coordinator.presence.online()).toEqual([]);
  });

  test('of a pending site that was revoked is refused', async () => {
    const coordinator = await createTestCoordinator();
    const north = await createTestSite('north', coordinator);
    const { token } = await coordinator.invitations.create(north.site, false);
    const { session } = await north.connect(coordinator, { token });
    await session.peer.request('hello', {}, CALL);
    session.close();
    await session.ended;
    const again = await north.connect(coordinator);
    again.session.close();
    await coordinator.registry.revoke(north.site, 'never came');
    await expect(north.connect(coordinator)).rejects.toMatchObject(refused);
  });

  test('of a site that never joined is refused', async () => {
    const coordinator = await createTestCoordinator();
    const stranger = await createTestSite('stranger', coordinator);
    await expect(stranger.connect(coordinator)).rejects.toMatchObject(refused);
  });

  test('of a key whose epoch is over is refused', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    coordinator.clock.moveMs(98 * DAY_MS);
    await expect(north.connect(coordinator)).rejects.toMatchObject(refused);
  });

  test('the log keeps the site’s own signed statement of each session', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    const { session } = await north.connect(coordinator);
    await session.peer.request('hello', {}, CALL);
    const size = coordinator.audit.log.size;
    const detail = await coordinator.audit.detail(size - 1);
    expect(detail?.byteLength).toBe(64 + 64);
    expect(
      verifySignature(
        north.vault.identity.publicKeys,
        STATEMENT_LABEL,
        detail!.subarray(0, 64),
        detail!.subarray(64),
      ),
    ).toBe(true);
  });

  test('messages of every size arrive whole, in order, both ways', async () => {
    const received: number[] = [];
    const echo: Handlers = {
      echo: { kind: 'plain', answer: ({ header, payload }) => Promise.resolve({ header, payload }) },
      note: { kind: 'event', accept: ({ payload }) => void received.push(payload.byteLength) },
    };
    const coordinator = await createTestCoordinator({ handlers: echo });
    const north = await enrolledSite('north', coordinator);
    const { session } = await north.connect(coordinator, { handlers: echo });
    const sizes = [0, 1, 200, 4_096, 65_536, 262_130, 262_144, 262_145, 1_000_000, 10_000_000];
    for (const size of sizes) session.peer.notify('note', { payload: new Uint8Array(size) });
    for (const size of sizes) {
      const payload = Buffer.alloc(size, size % 251);
      const { header, payload: back } = await session.peer.request(
        'echo',
        { header: { size }, payload },
        CALL,
      );
      expect(header).toEqual({ size });
      expect(Buffer.compare(back, payload)).toBe(0);
    }
    expect(received.toSorted((a, b) => a - b)).toEqual(sizes);
    const down = coordinator.presence.of(north.site);
    const { payload } = await down!.peer.request('echo', { payload: Buffer.alloc(3_000_000, 7) }, CALL);
    expect(payload.every((byte) => byte === 7)).toBe(true);
    await expect(
      session.peer.request('echo', { payload: new Uint8Array(17_000_000) }, CALL),
    ).rejects.toMatchObject({ code: 'too_large' });
    expect(
      fromUtf8((await session.peer.request('echo', { payload: utf8('still here') }, CALL)).payload),
    ).toBe('still here');
  });

  test('an orderly close is told from a cut, and both end every open call', async () => {
    const never: Handlers = {
      never: { kind: 'plain', answer: () => new Promise(() => undefined) },
    };
    const coordinator = await createTestCoordinator({ handlers: never });
    const north = await enrolledSite('north', coordinator);
    const dismissed: Handlers = { dismissed: { kind: 'event', accept: () => undefined } };
    const closed = await north.connect(coordinator, { handlers: dismissed });
    const pendingClosed = closed.session.peer.request('never', {}, { timeoutMs: 60_000 });
    pendingClosed.catch(() => undefined);
    await until('the call arrives', () => coordinator.presence.of(north.site) !== undefined);
    coordinator.presence.closeAll(new QflError('not_connected', { detail: 'stopping' }));
    await expect(closed.session.ended).resolves.toMatchObject({
      code: 'not_connected',
      detail: 'the coordinator closed the connection',
    });
    await expect(pendingClosed).rejects.toMatchObject({ code: 'not_connected' });

    const cut = await north.connect(coordinator);
    const pendingCut = cut.session.peer.request('never', {}, { timeoutMs: 60_000 });
    pendingCut.catch(() => undefined);
    await until('presence', () => coordinator.presence.of(north.site) !== undefined);
    cut.pipe.cut();
    await expect(cut.session.ended).resolves.toMatchObject({
      code: 'not_connected',
      detail: 'the connection was lost',
    });
    await expect(pendingCut).rejects.toMatchObject({ code: 'not_connected' });
    await until('the coordinator notices', () => coordinator.presence.of(north.site) === undefined);
  });
});

describe('an alarm', () => {
  test('of another site, though signed by it, is not taken from this one', async () => {
    const coordinator = await createTestCoordinator();
    const north = await enrolledSite('north', coordinator);
    const south = await enrolledSite('south', coordinator);
    const signed = signAlarm(north.vault.identity, {
      site: north.site,
      kind: 'own_name',
      detail: 'heard before',
      atMs: Math.trunc(coordinator.clock.nowMs()),
    });
    const [own, other] = [await north.connect(coordinator), await south.connect(coordinator)];
    await expect(
      other.session.peer.request('directory.alarm', { header: signed }, CALL),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await own.session.peer.request('directory.alarm', { header: signed }, CALL);
    expect((await actions(coordinator)).filter((one) => one.startsWith('directory.alarm'))).toHaveLength(1);
  });
});

describe('a site that was revoked', () => {
  test('is not back because its keys were changed before: only a recovery brings it back', async () => {
    const coordinator = await createTestCoordinator();
    const { clock, keyLog, registry, store, vault } = coordinator;
    const north = await enrolledSite('north', coordinator);
    const keys = keyLog.state.get(north.site)!;
    await keyLog.publish(north.site, await north.vault.rotationLeaf('identity', clock.nowMs(), keys));
    // The registry says so already; the record did not get into the directory.
    const key = `site/${north.site}`;
    const entry = { ...registry.get(north.site), status: 'revoked', revokedMs: Math.trunc(clock.nowMs()) };
    await store.write([{ type: 'put', key, value: utf8(JSON.stringify(entry)) }]);
    const opened = await openRegistry(store, keyLog, vault.identity, clock);
    expect(opened.get(north.site).status).toBe('revoked');
  });
});
