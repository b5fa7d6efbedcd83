import { describe, expect, it } from 'vitest';
import { createActorPseudonyms } from '../../../coordinator/access/pseudonyms.ts';
import { type LockdownState, openLockdown } from '../../../coordinator/emergency/lockdown.ts';
import type { Principal } from '../../../shared/access/principal.ts';
import { DepartmentId } from '../../../shared/ids.ts';
import { createMemoryStore } from '../../../shared/store/memory.ts';
import { TestClock } from '../http/fixture.ts';

const ALICE: Principal = {
  kind: 'account',
  id: 'a'.repeat(16),
  name: 'alice',
  role: 'admin',
  department: DepartmentId.parse('operations'),
  dataClass: 'restricted',
  scopes: null,
  sessionId: null,
  isRestricted: false,
};

const opening = () => {
  const store = createMemoryStore();
  const told: boolean[] = [];
  let isCut = false;
  const open = () =>
    openLockdown({
      store,
      clock: new TestClock(),
      audit: { record: () => Promise.resolve({ index: 0, leafHash: new Uint8Array(32), id: '' }) },
      pseudonyms: createActorPseudonyms(new Uint8Array(32)),
      changed({ on }: LockdownState) {
        if (isCut) return Promise.reject(new Error('cut'));
        told.push(on);
        return Promise.resolve();
      },
    });
  return { open, told, cut: (next: boolean) => void (isCut = next) };
};

describe('a lockdown', () => {
  it.each([true, false])('that was cut short (on: %s) is completed at the next start, once', async (on) => {
    const { open, told, cut } = opening();
    const first = await open();
    if (!on) await first.start('a drill', ALICE);
    cut(true);
    const act = on ? first.start('a drill', ALICE) : first.release(ALICE);
    await expect(act).rejects.toThrow('cut');
    cut(false);
    told.length = 0;
    const second = await open();
    expect(second.state.on).toBe(on);
    await second.complete();
    await second.complete();
    await (await open()).complete();
    expect(told).toEqual([on]);
  });

  it('whose stopping failed half-way is stopped wholly when it is asked for again, and is one lockdown', async () => {
    const { open, told, cut } = opening();
    const lockdown = await open();
    cut(true);
    await expect(lockdown.start('a drill', ALICE)).rejects.toThrow('cut');
    expect(() => lockdown.check()).toThrow();
    cut(false);
    expect(await lockdown.start('again', ALICE)).toMatchObject({ on: true, reason: 'a drill', count: 1 });
    expect(told).toEqual([true]);
    await expect(lockdown.start('again', ALICE)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('is begun once by two at one moment', async () => {
    const { open, told } = opening();
    const lockdown = await open();
    const both = await Promise.allSettled([lockdown.start('one', ALICE), lockdown.start('two', ALICE)]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(told).toEqual([true]);
    expect(lockdown.state.count).toBe(1);
  });
});
