import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encryptedStore } from '../../shared/store/encrypted.ts';
import { openLevelStore } from '../../shared/store/level.ts';
import { createMemoryStore } from '../../shared/store/memory.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  type PersistentStoreUnderTest,
  persistentStoreContract,
  storeContract,
  type StoreUnderTest,
} from './store.ts';

const onDisk = async (wrap: (store: Store) => Store): Promise<PersistentStoreUnderTest> => {
  const folder = await mkdtemp(join(tmpdir(), 'qfl-store-'));
  let store = wrap(await openLevelStore(folder));
  return {
    get store() {
      return store;
    },
    async reopen() {
      await store.close();
      store = wrap(await openLevelStore(folder));
      return store;
    },
    async dispose() {
      await store.close();
      await rm(folder, { recursive: true });
    },
  };
};
const inMemory = (wrap: (store: Store) => Store): Promise<StoreUnderTest> => {
  const store = wrap(createMemoryStore());
  return Promise.resolve({ store, dispose: () => store.close() });
};
const asItIs = (store: Store): Store => store;
const encrypted = () => {
  const key = randomBytes(32);
  return (store: Store): Store => encryptedStore(store, key);
};

storeContract('level', () => onDisk(asItIs));
storeContract('level, encrypted', () => onDisk(encrypted()));
storeContract('memory', () => inMemory(asItIs));
storeContract('memory, encrypted', () => inMemory(encrypted()));
persistentStoreContract('level', () => onDisk(asItIs));
persistentStoreContract('level, encrypted', () => onDisk(encrypted()));
