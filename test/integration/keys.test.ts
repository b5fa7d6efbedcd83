/** Keys over a whole federation on one clock: rotation, revocation, recovery, lockdown, and what stays true of what was signed before. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { storedDirectory } from '../../agent/federation/directory.ts';
import { identitiesOfHome } from '../../agent/federation/identities.ts';
import { openAgentHome } from '../../agent/home.ts';
import { beginRecovery } from '../../agent/recover.ts';
import { fromUtf8, toHex } from '../../shared/bytes.ts';
import { DAY_MS, HOUR_MS, SECOND_MS } from '../../shared/clock.ts';
import { requireSite } from '../../shared/directory/chain.ts';
import { phraseOf } from '../../shared/directory/show.ts';
import { SiteId } from '../../shared/ids.ts';
import { FederationInfo, verifyFederation } from '../../shared/wire/federation-info.ts';
import { OwnKeysShown, RecoveryState, SiteKeysPage } from '../../shared/wire/keys.ts';
import { checkCountersigned, CountersignedHead } from '../../shared/wire/ledger-head.ts';
import { type TestAgent, type TestWorld, startTestWorld } from '../fixtures/agents.ts';
import { endLockdown } from '../fixtures/lockdown-end.ts';
import { eventually } from '../fixtures/processes.ts';

const NAMES = ['north', 'south', 'east', 'west'];
let world: TestWorld;
const at = (name: string): TestAgent => world.agent(name);
beforeAll(async () => {
  world = await startTestWorld(NAMES);
});
afterAll(() => world?.close());

const Facts = z.looseObject({ qfl: z.looseObject({ site: z.string(), comparison: z.string().nullable() }) });
const Code = z.looseObject({ error: z.looseObject({ code: z.string().nullable() }) });
const codeOf = (body: unknown): string | null => Code.safeParse(body).data?.error.code ?? null;
const own = async (agent: TestAgent): Promise<OwnKeysShown> =>
  OwnKeysShown.parse((await agent.call('/v1/directory/keys')).body);
const rotate = (agent: TestAgent, what: string) =>
  agent.call('/v1/directory/keys/rotate', { body: { what } });
/** Each of these asks each other one's model. */
const allAsk = async (names: readonly string[] = NAMES): Promise<void> => {
  for (const from of names)
    for (const to of names.filter((name) => name !== from)) {
      const answer = await at(from).chat(`model-${to}`);
      expect([from, to, answer.status, codeOf(answer.body)]).toEqual([from, to, 200, null]);
      expect(Facts.parse(answer.body).qfl.site).toBe(to);
    }
};
/** Asks without a pause until `done`; what was not answered. */
const askMeanwhile = async (done: Promise<unknown>): Promise<unknown[]> => {
  const failed: unknown[] = [];
  const state = { over: false };
  const end = (): void => void (state.over = true);
  done.then(end, end);
  while (!state.over)
    for (const [from, to] of [
      ['north', 'south'],
      ['south', 'north'],
      ['east', 'north'],
    ] as const) {
      const answer = await at(from).chat(`model-${to}`);
      if (answer.status !== 200) failed.push([from, to, answer.body]);
    }
  await done;
  return failed;
};

describe('rotation', () => {
  test('of an identity: questions before, during and after are answered, and the fingerprint is a new one', async () => {
    await allAsk();
    const before = await own(at('north'));
    const failed = await askMeanwhile(rotate(at('north'), 'identity'));
    expect(failed).toEqual([]);
    const after = await own(at('north'));
    expect(after.phrase).not.toBe(before.phrase);
    expect(after).toMatchObject({ standing: 'in_force', pastIdentities: [{ phrase: before.phrase }] });
    expect(after.epochs.map(({ epoch, held }) => [epoch, held])).toEqual([
      [1, true],
      [0, true],
    ]);
    await world.settled();
    await allAsk();
  });

  test('of the coordinator: agents follow, and whoever joins verifies it by the new fingerprint', async () => {
    const key = await world.coordinator.key('admin');
    const done = world.coordinator.call('/v1/directory/keys/rotate', { key, body: { what: 'identity' } });
    expect(await askMeanwhile(done)).toEqual([]);
    expect((await done).status).toBe(200);
    const info = FederationInfo.parse((await world.coordinator.call('/v1/federation')).body);
    const { fingerprint } = world.coordinator.running.home;
    expect(verifyFederation(info, fingerprint).info.name).toBe('test');
    const first = at('north').running.home.profile.coordinatorFingerprint;
    expect(() => verifyFederation(info, Buffer.from(first, 'base64'))).toThrow(/not the coordinator/);
    await world.coordinator.restart();
    await world.settled();
    await allAsk();
  });

  test('what was countersigned under old identities of both stays verifiable', async () => {
    const agent = at('north');
    const head = await eventually('a countersigned head', async () => {
      const value = await world.coordinator.running.home.store.get('ledger-head/north');
      return value === undefined ? undefined : CountersignedHead.parse(JSON.parse(fromUtf8(value)));
    });
    await rotate(agent, 'identity');
    const key = await world.coordinator.key('admin');
    await world.coordinator.call('/v1/directory/keys/rotate', { key, body: { what: 'identity' } });
    await world.settled();
    await agent.stop();
    const home = await openAgentHome(agent.options);
    const keys = await identitiesOfHome(home);
    expect(checkCountersigned(keys, head).site).toBe('north');
    // Without the history it would not: the keys of now did not sign it.
    const { identity } = requireSite(await storedDirectory(home.store), SiteId.parse('north'));
    expect(() => checkCountersigned({ ...keys, site: () => [identity] }, head)).toThrow(/not signed/);
    await home.close();
    await agent.start();
    await world.settled();
  });

  test('in an emergency: the old epoch is gone at once, and everybody goes on', async () => {
    expect((await rotate(at('south'), 'emergency')).status).toBe(200);
    const { epochs, prekeys } = await own(at('south'));
    expect(epochs).toHaveLength(1);
    expect(prekeys.map(({ held }) => held)).toEqual([true]);
    await world.settled();
    await allAsk();
    const key = await world.coordinator.key('admin');
    await world.coordinator.call('/v1/directory/keys/rotate', { key, body: { what: 'emergency' } });
    await world.settled();
    await allAsk();
  });
});

describe('a comparison by voice', () => {
  test('is shown with every answer, holds for one identity, and a wrong phrase is refused', async () => {
    const comparison = async () => Facts.parse((await at('east').chat('model-west')).body).qfl.comparison;
    expect(await comparison()).toBe('not_compared');
    const path = '/v1/directory/sites/west/compare';
    const wrong = await at('east').call(path, { body: { phrase: 'aaaa-bbbb-cccc-dddd' } });
    expect(wrong.status).toBe(403);
    const { phrase } = await own(at('west'));
    const right = await at('east').call(path, {
      body: { phrase: phrase.toUpperCase().replaceAll('-', ' ') },
    });
    expect(SiteKeysPage.parse(right.body).sites[0]).toMatchObject({ site: 'west', comparison: 'compared' });
    expect(await comparison()).toBe('compared');
    await rotate(at('west'), 'identity');
    await world.settled();
    expect(await comparison()).toBe('not_compared');
  });
});

describe('a lockdown of the federation', () => {
  test('is obeyed by every agent within seconds, over a restart, and ends by two people', async () => {
    const [alice] = [await world.coordinator.admin('alice'), await world.coordinator.admin('bob')];
    const refused = async (name: string) => codeOf((await at(name).chat('model-south')).body);
    const startedMs = performance.now();
    await world.coordinator.call('/v1/lockdown', { key: alice, body: { reason: 'a test' } });
    for (const name of ['north', 'east', 'west'])
      await eventually(`${name} refuses`, async () => (await refused(name)) === 'lockdown', 20_000);
    expect(performance.now() - startedMs).toBeLessThan(30 * SECOND_MS);
    const { standstill } = z
      .looseObject({ standstill: z.unknown() })
      .parse((await at('north').call('/v1/directory')).body);
    expect(standstill).not.toBeNull();
    // It answers its own people by itself.
    expect((await at('north').chat('model-north')).status).toBe(200);
    await at('north').stop();
    await at('north').start();
    await eventually('north refuses after a restart', async () => (await refused('north')) === 'lockdown');
    await endLockdown(world.coordinator, ['alice', 'bob']);
    await world.settled();
    await allAsk();
  });
});

describe('epochs', () => {
  test('rotate by themselves from day 75 on, overlap for seven days, and are then destroyed', async () => {
    const epochOf = async (name: string) => (await own(at(name))).epochs.map(({ epoch }) => epoch);
    const [first = 0] = await epochOf('east');
    world.clock.moveMs(74 * DAY_MS);
    await world.coordinator.restart();
    await world.settled();
    expect(await epochOf('east')).toEqual([first]);
    world.clock.moveMs(DAY_MS);
    // Agents come back to it and look: none of them is restarted.
    await world.coordinator.restart();
    await world.settled();
    expect(await epochOf('east')).toEqual([first + 1, first]);
    await allAsk();
    world.clock.moveMs(7 * DAY_MS + HOUR_MS);
    await world.coordinator.restart();
    await world.settled();
    expect(await epochOf('east')).toEqual([first + 1]);
    const held = await at('east').running.home.vault.kemKeys();
    expect(held.map(({ epoch }) => epoch)).toEqual([first + 1]);
    await allAsk();
  });
});

describe('a hospital that lost its keys', () => {
  test('gets new ones by two others after a day; the old ones undo it while they speak', async () => {
    const coordinatorPhrase = OwnKeysShown.parse(
      (await world.coordinator.call('/v1/directory/keys', { key: await world.coordinator.key('admin') }))
        .body,
    ).phrase;
    const lost = await world.seat('west', `${world.folder}/west-new`);
    const begin = () =>
      beginRecovery({
        ...lost.options,
        url: world.coordinator.url,
        site: SiteId.parse('west'),
        coordinatorPhrase,
        tlsFingerprint: undefined,
        config: lost.config,
        env: {},
      });
    const approve = (name: string, { request, phrase }: { request: string; phrase: string }) =>
      at(name).call('/v1/directory/recoveries/approve', { body: { request, phrase } });

    // The old keys are not lost: an attempt that two were talked into is undone by them.
    const attempt = await begin();
    expect((await approve('west', attempt)).status).toBe(403);
    expect((await approve('north', { ...attempt, phrase: 'aaaa-bbbb-cccc-dddd' })).status).toBe(403);
    expect(RecoveryState.parse((await approve('north', attempt)).body)).toMatchObject({ published: false });
    expect(RecoveryState.parse((await approve('north', attempt)).body).approvedBy).toEqual(['north']);
    expect(RecoveryState.parse((await approve('south', attempt)).body)).toMatchObject({ published: true });
    const waiting = async (name: string) => {
      const { sites } = SiteKeysPage.parse((await at(name).call('/v1/directory/sites')).body);
      return sites.find(({ site }) => site === 'west')?.recovering?.phrase ?? null;
    };
    for (const name of ['north', 'south', 'east', 'west'])
      await eventually(`${name} sees it`, async () => (await waiting(name)) === attempt.phrase);
    expect((await at('west').call('/v1/directory/recoveries/undo', { method: 'POST' })).status).toBe(200);
    await eventually('it is undone', async () => (await waiting('east')) === null);

    // Now they are lost.
    await at('west').stop();
    const request = await begin();
    expect(request.phrase).toBe(attempt.phrase);
    world.clock.moveMs(2 * HOUR_MS);
    expect((await approve('north', request)).status).toBe(410);
    const fresh = await begin();
    await world.coordinator.restart();
    await world.settled(['north', 'south', 'east']);
    await approve('north', fresh);
    expect(RecoveryState.parse((await approve('south', fresh)).body).published).toBe(true);
    await lost.start();
    const link = () => lost.running.federation.link;
    await eventually('it is told to wait', () => link().lastError?.code === 'not_ready');
    world.clock.moveMs(25 * HOUR_MS + 1);
    await world.coordinator.restart();
    await eventually('it is connected', () => link().state === 'online');
    await world.settled(['north', 'south', 'east']);
    await eventually(
      'its model is offered',
      async () => (await at('north').chat('model-west')).status === 200,
    );
    const seen = requireSite(
      at('north').running.federation.mirror.state,
      SiteId.parse('west'),
      world.clock.nowMs(),
    );
    expect(phraseOf(seen.identity)).toBe(fresh.phrase);
    expect(toHex(seen.past[0]!.identity.ed25519)).not.toBe(toHex(seen.identity.ed25519));
    await lost.stop();
  });
});

describe('a revoked site', () => {
  test('is out at once: no session, nobody seals to it or serves it', async () => {
    const startedMs = performance.now();
    const answer = await world.coordinator.call('/v1/sites/south/revoke', {
      key: await world.coordinator.key('admin'),
      body: { reason: 'stolen' },
    });
    expect(answer.status).toBe(200);
    for (const name of ['north', 'east'])
      await eventually(`${name} knows`, () => {
        const keys = at(name).running.federation.mirror.state.get(SiteId.parse('south'));
        return keys?.revokedMs !== undefined;
      });
    expect(performance.now() - startedMs).toBeLessThan(60 * SECOND_MS);
    await eventually('south is offline', () => at('south').running.federation.link.state !== 'online');
    expect((await at('north').chat('model-south')).status).not.toBe(200);
    expect((await at('south').chat('model-north')).status).not.toBe(200);
  });
});
