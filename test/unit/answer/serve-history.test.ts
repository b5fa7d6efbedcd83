/** A question carries the directory it was sealed by: a site that was shown another one refuses it, and says so. */
import { expect, test } from 'vitest';
import { createServe } from '../../../agent/answer/serve.ts';
import { sealQuestion } from '../../../agent/answer/sealing.ts';
import { createAuditLog } from '../../../shared/audit/audit-log.ts';
import { AppendLog } from '../../../shared/audit/log.ts';
import { ed25519NoteSigner } from '../../../shared/audit/note.ts';
import { encodeSealedQuery } from '../../../shared/crypto/sealed-query.ts';
import { toQflError } from '../../../shared/errors.ts';
import { Pseudonym, SiteId } from '../../../shared/ids.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { createHostileWorld, type HonestSite, newVault } from '../../fixtures/hostile.ts';

test('two sites that were shown two histories find out by their first question', async () => {
  const world = await createHostileWorld(['north', 'south', 'east']);
  await world.interval();
  const [north, south] = world.sites as [HonestSite, HonestSite];
  const log = await AppendLog.open({
    store: createMemoryStore(),
    prefix: 'l/',
    signer: ed25519NoteSigner('example.org/log', Buffer.alloc(32, 1)),
    create: true,
  });
  const serve = createServe({
    self: south.name,
    policy: {
      rolePermissions: {},
      departmentPriorities: {},
      restrictedTravelsTo: [],
      restrictedAcceptedFrom: [],
    },
    vault: south.vault,
    mirror: south.guard.mirror,
    audit: createAuditLog({ log, source: 'south', clock: world.clock, random }),
    clock: world.clock,
    refreshDirectory: () => Promise.resolve(),
    directoryReady: () => Promise.resolve(south.guard.mirror.requireFresh()),
    answers: {
      chat: async function* chat() {
        yield await Promise.resolve({});
      },
      stats: async function* stats() {
        yield await Promise.resolve({});
      },
    },
  });
  /** What a question of north meets at south. */
  const ask = async (): Promise<string> => {
    const sent = sealQuestion(
      {
        kind: 'chat',
        asker: { pseudonym: Pseudonym.parse('0'.repeat(32)), role: 'doctor', department: 'icu' },
        dataClass: 'internal',
        purpose: 'chat',
        legalBasis: 'care',
        query: {},
        model: 'm',
        microEpsilon: 0,
        sizeBytes: 10,
        priority: 5,
      },
      [south.name],
      { self: north.name, vault: north.vault, mirror: north.guard.mirror, clock: world.clock, random },
    );
    const payload = encodeSealedQuery(sent.sealed);
    try {
      const call = { header: undefined, payload, signal: new AbortController().signal };
      for await (const _ of serve(call)) return 'answered';
      return 'nothing';
    } catch (error) {
      return toQflError(error).code;
    }
  };
  expect(await ask()).toBe('answered');
  const atMs = Math.trunc(world.clock.nowMs());
  for (const [at, name] of ['left', 'right'].entries()) {
    const stranger = await newVault();
    const leaf = await stranger.identityLeaf(SiteId.parse(name), atMs, undefined);
    world.show([...world.leaves, leaf], [world.sites[at]!]);
  }
  await world.interval();
  expect(north.guard.mirror.checkpoint.size).toBe(south.guard.mirror.checkpoint.size);
  expect(await ask()).toBe('key_changed');
  // Stale, it serves nobody, whatever history the asker has.
  world.clock.moveMs(11 * 60_000);
  expect(await ask()).toBe('directory_stale');
});
