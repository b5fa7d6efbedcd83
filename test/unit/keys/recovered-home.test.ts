/** The new home of a site that lost its keys: cut short at any write it is made again, of the same keys, and starts only when it is whole. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { keysForJoin, readProfile } from '../../../agent/home.ts';
import { makeRecoveredHome, type RecoverOptions } from '../../../agent/recover.ts';
import { AUDIT_PREFIX } from '../../../shared/audit/program-log.ts';
import { readRestored, restoredPrefix } from '../../../shared/backup/restored.ts';
import { toBase64 } from '../../../shared/bytes.ts';
import { systemClock } from '../../../shared/clock.ts';
import { loadConfig } from '../../../shared/config/load.ts';
import { applyLeaf } from '../../../shared/directory/chain.ts';
import { COORDINATOR_NAME } from '../../../shared/directory/record.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createVault } from '../../../shared/keys/vault.ts';
import { secureRandomBytes as random } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';
import { newVault } from '../../fixtures/hostile.ts';

const west = SiteId.parse('west');
const dataKey = new Uint8Array(32).fill(5);
let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'qfl-recovered-'));
});
afterEach(() => rm(home, { recursive: true }));

const world = async () => {
  const coordinator = await newVault();
  const leaf = await coordinator.identityLeaf(COORDINATOR_NAME, Date.now(), undefined);
  const lost = await newVault();
  const state = applyLeaf(new Map(), await lost.identityLeaf(west, Date.now(), undefined));
  const [keys, audit] = ['keys', 'audit'].map((name) => coordinator.logSigner(`qfl/f/${name}`));
  const info = {
    v: 1 as const,
    name: 'f',
    logOrigin: 'qfl/f/keys',
    keysVerifierKeys: [keys!.signer.verifierKey, keys!.cosigner.key.text],
    auditVerifierKeys: [audit!.signer.verifierKey, audit!.cosigner.key.text],
    leaf: toBase64(leaf),
    signature: '',
  };
  const file = join(home, 'agent.yaml');
  await writeFile(file, '');
  const { config } = await loadConfig('agent', { file, env: {} });
  const options: RecoverOptions = {
    sources: { home, environment: undefined, credentialsFolder: undefined },
    clock: systemClock,
    random,
    url: 'https://coordinator.example.org',
    site: west,
    coordinatorPhrase: '',
    tlsFingerprint: undefined,
    config,
    env: {},
  };
  const begin = (store: Store) =>
    makeRecoveredHome({ store, dataKey }, { info, before: state.get(west)! }, options);
  return { begin };
};
/** Ends at write `at`. */
const cutAt = (memory: Store, at: number): Store => {
  let writes = 0;
  return {
    ...memory,
    write: (operations, options) =>
      (writes += 1) >= at ? Promise.reject(new Error('the power went')) : memory.write(operations, options),
  };
};

describe('a recovered home', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9])(
    'cut short at write %i is made again, whole, of the same keys',
    async (at) => {
      const { begin } = await world();
      const memory = createMemoryStore();
      const cut = await begin(cutAt(memory, at)).catch(() => undefined);
      const profile = await readProfile(memory);
      const root = await memory.get('key/identity');
      // No profile, no start: whoever finds one finds everything that it needs.
      if (cut === undefined && profile !== undefined) throw new Error('a profile of half a home');
      if (cut === undefined && root !== undefined)
        await expect(keysForJoin(memory, random)).rejects.toMatchObject({ code: 'conflict' });
      const made = await begin(memory);
      if (cut !== undefined) expect(made.phrase).toBe(cut.phrase);
      if (root !== undefined) expect(await memory.get('key/identity')).toEqual(root);
      expect((await readProfile(memory))?.site).toBe('west');
      const { epoch } = await readRestored(memory);
      expect(epoch).toBe(1);
      const prefix = restoredPrefix(AUDIT_PREFIX, epoch);
      expect(await memory.get(`${prefix}s`)).toBeDefined();
      const again = await begin(memory);
      expect(again.phrase).toBe(made.phrase);
    },
  );

  test('is not made where other keys are', async () => {
    const { begin } = await world();
    const memory = createMemoryStore();
    await createVault(memory, random);
    await expect(begin(memory)).rejects.toMatchObject({ code: 'conflict' });
  });
});
