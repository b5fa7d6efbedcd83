/** Rounds of cosigning with sites that are slow, or hang: who signs late counts too, and nobody holds up the log of another. */
import { afterEach, describe, expect, test } from 'vitest';
import { answerLogHead } from '../../../agent/federation/own-log.ts';
import {
  type Cosigning,
  DEFAULT_COSIGNING_RULES,
  startCosigning,
} from '../../../coordinator/audit/cosigning.ts';
import type { Connection } from '../../../coordinator/sites/presence.ts';
import { type AuditLog, createAuditLog } from '../../../shared/audit/audit-log.ts';
import { readCheckpoint } from '../../../shared/audit/checkpoint.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { parseVerifierKey } from '../../../shared/audit/note.ts';
import { createWitness } from '../../../shared/audit/witness.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { createDeferred, type Deferred } from '../../../shared/deferred.ts';
import { requireSite } from '../../../shared/directory/chain.ts';
import { logKeysOf, siteLogOrigin, witnessName } from '../../../shared/directory/quorum.ts';
import { QflError } from '../../../shared/errors.ts';
import { SiteId } from '../../../shared/ids.ts';
import { OWN_LOG, type Vault } from '../../../shared/keys/vault.ts';
import { silentLogger } from '../../../shared/log.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { EMPTY } from '../../../shared/wire/message.ts';
import { METHODS } from '../../../shared/wire/session.ts';
import { newVault } from '../../fixtures/hostile.ts';
import { createTestCoordinator, type TestCoordinator } from '../../fixtures/link.ts';
import { eventually } from '../../fixtures/processes.ts';

interface FakeSite {
  readonly name: SiteId;
  readonly vault: Vault;
  readonly audit: AuditLog;
  /** When there is one, answers are under way until it resolves. */
  hold: Deferred<void> | undefined;
  /** What it was told. */
  readonly told: string[];
}
interface World {
  readonly coordinator: TestCoordinator;
  readonly cosigning: Cosigning;
  readonly sites: readonly FakeSite[];
  /** Whose cosignatures the newest note of that log has, and its size. */
  readonly newest: (origin: string) => readonly [number, ...string[]];
}

const KEYS = 'qfl/test/keys';
const AUDIT = 'qfl/test/audit';
const ownOrigin = (site: string): string => siteLogOrigin('test', site);

const openSiteLog = async (name: SiteId, vault: Vault): Promise<AppendLog> => {
  const { signer, cosigner } = vault.logSigner(ownOrigin(name), OWN_LOG);
  return AppendLog.open({
    store: createMemoryStore(),
    prefix: 'l/',
    signer,
    cosigner: { by: cosigner, nowMs: () => Date.now() },
    create: true,
  });
};

const connect = (site: FakeSite, { keyLog, audit }: TestCoordinator): Connection => {
  const keysOf = (origin: string) => {
    if (origin === KEYS) return keyLog.log.verifierKeys.map(parseVerifierKey);
    if (origin === AUDIT) return audit.log.verifierKeys.map(parseVerifierKey);
    const owner = [...keyLog.state.values()].find((one) => ownOrigin(one.site) === origin);
    return owner === undefined ? undefined : logKeysOf(origin, owner.log);
  };
  const witness = createWitness({
    store: createMemoryStore(),
    prefix: 'w/',
    cosigners: () => site.vault.cosigners(witnessName('test', site.name)),
    nowMs: () => Date.now(),
    keysOf,
  });
  const answer = async (method: string, header: unknown, payload: Uint8Array, signal: AbortSignal) => {
    if (method === METHODS.logHead) return answerLogHead(site.audit.log, { header, payload, signal });
    const reply = await witness.addCheckpoint(fromUtf8(payload));
    const lines = reply.status === 200 ? reply.lines : '';
    const size = reply.status === 409 ? { size: reply.size } : {};
    return { header: { status: reply.status, ...size }, payload: utf8(lines) };
  };
  return {
    site: site.name,
    connectedMs: 0,
    close: () => undefined,
    peer: {
      async request(method, { header, payload = EMPTY }, { signal }) {
        const cut = createDeferred<never>();
        cut.promise.catch(() => undefined);
        signal?.addEventListener('abort', () => cut.reject(new QflError('cancelled')));
        const reply = await answer(method, header, payload, new AbortController().signal);
        await Promise.race([site.hold?.promise, cut.promise]);
        return { header: reply.header, payload: reply.payload ?? EMPTY };
      },
      stream: () => {
        throw new Error('not in this test');
      },
      notify: (_event, { payload = EMPTY }) => void site.told.push(fromUtf8(payload)),
      receive: () => undefined,
      close: () => undefined,
    },
  };
};

let open: World | undefined;
afterEach(async () => {
  await open?.cosigning.close();
  open = undefined;
});

const worldOf = async (...names: string[]): Promise<World> => {
  const coordinator = await createTestCoordinator();
  const { keyLog, presence, clock } = coordinator;
  const sites: FakeSite[] = [];
  for (const text of names) {
    const name = SiteId.parse(text);
    const vault = await newVault();
    await keyLog.publish(name, await vault.identityLeaf(name, clock.nowMs(), undefined));
    await keyLog.publish(
      name,
      await vault.prekeyLeaf(Math.trunc(clock.nowMs()), requireSite(keyLog.state, name)),
    );
    const log = await openSiteLog(name, vault);
    const audit = createAuditLog({ log, source: name, clock, random: secureRandomBytes });
    await audit.record({ action: 'program.start', outcome: 'ok' });
    const site: FakeSite = { name, vault, audit, hold: undefined, told: [] };
    sites.push(site);
    presence.arrived(connect(site, coordinator));
  }
  await coordinator.audit.record({ action: 'program.start', outcome: 'ok' });
  const cosigning = await startCosigning({
    federation: 'test',
    keyLog,
    audit: coordinator.audit.log,
    presence,
    isApproved: () => true,
    store: coordinator.store,
    clock,
    logger: silentLogger,
    rules: { ...DEFAULT_COSIGNING_RULES, gapMs: 0 },
  });
  open = {
    coordinator,
    cosigning,
    sites,
    newest(origin) {
      const note = cosigning.newest(origin);
      if (note === undefined) return [0];
      const signed = names.filter((name) => note.includes(`${witnessName('test', name)} `));
      return [readCheckpoint(note).size, ...signed];
    },
  };
  return open;
};
const soon = (what: string, check: () => void): Promise<unknown> =>
  eventually(what, () => Promise.resolve(check()).then(() => true), 5_000);

describe('who signs late', () => {
  test('is in the note of the coordinator’s logs and of a hospital’s, and all are told', async () => {
    const { cosigning, sites, newest, coordinator } = await worldOf('north', 'south', 'east');
    const [north, south] = [sites[0]!, sites[1]!];
    const hold = createDeferred<void>();
    south.hold = hold;
    void cosigning.round();
    const { size } = coordinator.keyLog.log;
    await soon('the fast ones have signed', () => {
      expect(newest(KEYS)).toEqual([size, 'north', 'east']);
      expect(newest(ownOrigin('north'))).toEqual([1, 'east']);
    });
    setTimeout(() => hold.resolve(), 500);
    await soon('south is in every note', () => {
      expect(newest(KEYS)).toEqual([size, 'north', 'south', 'east']);
      expect(newest(AUDIT)).toEqual([1, 'north', 'south', 'east']);
      expect(newest(ownOrigin('north'))).toEqual([1, 'south', 'east']);
      for (const origin of [KEYS, AUDIT, ownOrigin('north')])
        expect(north.told.findLast((note) => note.startsWith(`${origin}\n`))).toContain('witness/south ');
    });
  });

  test('of two hospitals is in the directory’s note: the other one counts on it', async () => {
    const { cosigning, sites, newest, coordinator } = await worldOf('north', 'south');
    const hold = createDeferred<void>();
    sites[1]!.hold = hold;
    void cosigning.round();
    await soon('north signed', () => expect(newest(KEYS).slice(1)).toEqual(['north']));
    setTimeout(() => hold.resolve(), 1_000);
    await soon('both signed', () =>
      expect(newest(KEYS)).toEqual([coordinator.keyLog.log.size, 'north', 'south']),
    );
  });

  test('an earlier checkpoint, takes nothing back of a later one', async () => {
    const { cosigning, sites, newest, coordinator } = await worldOf('north', 'south', 'east');
    const south = sites[1]!;
    const hold = createDeferred<void>();
    south.hold = hold;
    const first = cosigning.round();
    await soon('the first is published', () => expect(newest(AUDIT)).toEqual([1, 'north', 'east']));
    await coordinator.audit.record({ action: 'program.stop', outcome: 'ok' });
    south.hold = undefined;
    const second = cosigning.round();
    await soon('the second is published', () => expect(newest(AUDIT)).toEqual([2, 'north', 'south', 'east']));
    hold.resolve();
    await Promise.all([first, second]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(newest(AUDIT)).toEqual([2, 'north', 'south', 'east']);
  });

  test('because it came late, is asked for a log that did not grow since', async () => {
    const { cosigning, sites, newest, coordinator } = await worldOf('north', 'south', 'east');
    const south = coordinator.presence.of(sites[1]!.name)!;
    coordinator.presence.left(south);
    await cosigning.round();
    expect(newest(ownOrigin('north'))).toEqual([1, 'east']);
    coordinator.presence.arrived(south);
    await cosigning.round();
    expect(newest(ownOrigin('north'))).toEqual([1, 'south', 'east']);
  });
});

describe('a hospital that hangs', () => {
  test('holds up its own log only', async () => {
    const { cosigning, sites, newest, coordinator } = await worldOf('west', 'north', 'south', 'east');
    sites[0]!.hold = createDeferred<void>();
    void cosigning.round();
    await soon('the others’ logs are cosigned', () => {
      for (const name of ['north', 'south', 'east']) expect(newest(ownOrigin(name))[0]).toBe(1);
    });
    const { keyLog, clock } = coordinator;
    const { name, vault } = sites[1]!;
    await keyLog.publish(
      name,
      await vault.prekeyLeaf(Math.trunc(clock.nowMs()), requireSite(keyLog.state, name)),
    );
    await soon('so is the directory that grew', () => expect(newest(KEYS)[0]).toBe(keyLog.log.size));
  });

  test('is not waited for at the end', async () => {
    const { cosigning, sites, newest } = await worldOf('west', 'north', 'south', 'east');
    sites[0]!.hold = createDeferred<void>();
    void cosigning.round();
    await soon('the directory is cosigned', () => expect(newest(KEYS)[0]).toBeGreaterThan(0));
    const before = performance.now();
    await cosigning.close();
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});
