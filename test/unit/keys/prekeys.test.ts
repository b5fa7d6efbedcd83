import { expect, test } from 'vitest';
import { DAY_MS } from '../../../shared/clock.ts';
import { applyLeaf } from '../../../shared/directory/chain.ts';
import { SiteId } from '../../../shared/ids.ts';
import { createVault, PREKEY_LIFE_MS } from '../../../shared/keys/vault.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';

const site = SiteId.parse('north');

/** A vault with one prekey, over a store whose next read can be held back. */
const vaultWithPrekey = async () => {
  const inner = createMemoryStore();
  const held: (() => void)[] = [];
  let holdNext = false;
  const store: Store = {
    ...inner,
    async get(key) {
      const value = await inner.get(key);
      if (holdNext) {
        holdNext = false;
        await new Promise<void>((resolve) => held.push(resolve));
      }
      return value;
    },
  };
  const vault = await createVault(store, secureRandomBytes);
  const identified = applyLeaf(new Map(), await vault.identityLeaf(site, DAY_MS, undefined));
  const leaf = await vault.prekeyLeaf(DAY_MS, identified.get(site)!);
  const [prekey] = applyLeaf(identified, leaf).get(site)!.prekeys;
  return { vault, id: prekey!.id, held, hold: () => (holdNext = true) };
};

test('a prekey is gone once its time is over, from memory too', async () => {
  const { vault, id } = await vaultWithPrekey();
  expect(await vault.prekeySeed(id)).toBeDefined();
  await vault.forgetPrekeys(DAY_MS + PREKEY_LIFE_MS - 1);
  expect(await vault.prekeySeed(id)).toBeDefined();
  await vault.forgetPrekeys(DAY_MS + PREKEY_LIFE_MS);
  expect(await vault.prekeySeed(id)).toBeUndefined();
});

test('a prekey read while it is destroyed does not live on', async () => {
  const { vault, id, held, hold } = await vaultWithPrekey();
  hold();
  const overtaken = vault.prekeySeed(id);
  await expect.poll(() => held.length).toBe(1);
  await vault.forgetPrekeys(DAY_MS + PREKEY_LIFE_MS);
  held[0]?.();
  await overtaken;
  expect(await vault.prekeySeed(id)).toBeUndefined();
});
