import { describe, expect, it } from 'vitest';
import { openPolicyBook } from '../../coordinator/policy.ts';
import { createHeldStore } from '../fixtures/held-store.ts';

const POLICY = { chatEnabled: true, statisticsEnabled: true, microEpsilonMax: 500_000 };

describe('the policy of a federation', () => {
  it('is replaced by one of two changes of one version, and the other is told', async () => {
    const store = createHeldStore();
    const book = await openPolicyBook(store);
    const letGo = store.hold();
    const both = Promise.allSettled([
      book.replace(POLICY, 1),
      book.replace({ ...POLICY, chatEnabled: false }, 1),
    ]);
    await store.waiting();
    letGo();
    const [first, second] = await both;
    expect(first).toMatchObject({ status: 'fulfilled', value: { version: 2, policy: POLICY } });
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'conflict' } });
    expect((await openPolicyBook(store)).current).toEqual({ version: 2, policy: POLICY });
  });

  it('is checked as it is when it is replaced, not as it was when that was asked for', async () => {
    const store = createHeldStore();
    const book = await openPolicyBook(store);
    const letGo = store.hold();
    const lowering = book.replace(POLICY, 1);
    const seen: number[] = [];
    const next = book.replace({ ...POLICY, microEpsilonMax: 900_000 }, 2, ({ microEpsilonMax }) =>
      seen.push(microEpsilonMax),
    );
    await store.waiting();
    letGo();
    await Promise.all([lowering, next]);
    expect(seen).toEqual([500_000]);
  });
});
