import { expect, test } from 'vitest';
import { systemClock } from '../../../shared/clock.ts';
import { createApiKeys } from '../../../shared/http/api-keys.ts';
import { secureRandomBytes } from '../../../shared/random.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import type { Store } from '../../../shared/store/port.ts';

test('a key revoked while a request reads it is not remembered as valid', async () => {
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
  const keys = createApiKeys({ store, prefix: 'k/', clock: systemClock, random: secureRandomBytes });
  const { key, record } = await keys.mint({
    name: 'n',
    role: 'doctor',
    department: 'icu',
    dataClass: 'internal',
  });
  holdNext = true;
  const overtaken = keys.verify(key);
  await expect.poll(() => held.length).toBe(1);
  await keys.revoke(record.id);
  held[0]?.();
  await overtaken.catch(() => undefined);
  await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
});

test('a verified key stays verified without another look at the store, until it is revoked', async () => {
  const inner = createMemoryStore();
  let reads = 0;
  const store: Store = { ...inner, get: (key) => ((reads += 1), inner.get(key)) };
  const keys = createApiKeys({ store, prefix: 'k/', clock: systemClock, random: secureRandomBytes });
  const { key, record } = await keys.mint({
    name: 'n',
    role: 'doctor',
    department: 'icu',
    dataClass: 'internal',
  });
  for (let request = 0; request < 5; request += 1) expect((await keys.verify(key)).id).toBe(record.id);
  expect(reads).toBe(1);
  await keys.revoke(record.id);
  await expect(keys.verify(key)).rejects.toMatchObject({ code: 'unauthenticated' });
});
