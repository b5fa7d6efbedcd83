/** The disk fails under a running ledger. */
import { describe, expect, test } from 'vitest';
import { answer, freshLedger, openWith, request, reserved, spentUnits } from './fixture.ts';

const refuses = expect.objectContaining({ code: 'ledger_refuses' });

describe('the first write error', () => {
  test('a full disk: no acknowledgement after it, even once there is space, until reopened and verified', async () => {
    const fixture = await freshLedger();
    const { ledger, disk } = fixture;
    await answer(ledger, { query: 1 });
    const running = await reserved(ledger, { query: 2 });
    running.startComputing();
    const used = [...disk.content().values()].reduce((sum, bytes) => sum + bytes.byteLength, 0);
    disk.setCapacity(used + 50);
    await expect(ledger.reserve(request({ query: 3 }))).rejects.toThrow(refuses);
    expect(disk.content().has('ledger.reserve')).toBe(false);
    disk.setCapacity(10_000_000);
    await expect(ledger.reserve(request({ query: 1 }))).rejects.toThrow(refuses);
    await expect(running.commit(Buffer.from('late'))).rejects.toThrow(refuses);
    expect(ledger.status().fault).toContain('refuses');
    await ledger.close();
    const again = await openWith(fixture);
    expect((await again.reserve(request({ query: 1 }))).status).toBe('answered');
    await expect(again.reserve(request({ query: 2 }))).rejects.toMatchObject({ code: 'outcome_unknown' });
    expect((await again.reserve(request({ query: 3 }))).status).toBe('reserved');
    expect(disk.content().has('ledger.reserve')).toBe(true);
    await again.close();
  });

  test('with the disk still full it does not open', async () => {
    const fixture = await freshLedger();
    await fixture.ledger.close();
    fixture.disk.setCapacity(20_000);
    await expect(openWith(fixture, { freeBytesFloor: 100_000 })).rejects.toThrow(refuses);
  });

  test('a sync that failed once: all that waited are refused, the next too, and the sync is not tried again', async () => {
    const fixture = await freshLedger();
    const { ledger, disk } = fixture;
    disk.failNextSync();
    const results = await Promise.allSettled([1, 2, 3].map((query) => ledger.reserve(request({ query }))));
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    const syncs = disk.syncs();
    await expect(ledger.reserve(request({ query: 4 }))).rejects.toThrow(refuses);
    expect(disk.syncs()).toBe(syncs);
    await ledger.close();
    // What reads well now was never told; it counts, on the safe side.
    const again = await openWith(fixture);
    expect(spentUnits(again)['user_day']).toBe(
      3n * again.quote(request(), request().mechanisms).costs.user_day,
    );
    await again.close();
  });

  test('what was read back after a failed sync is written again before anything stands on it', async () => {
    const fixture = await freshLedger();
    fixture.disk.failNextSync();
    await expect(fixture.ledger.reserve(request({ query: 1 }))).rejects.toThrow(refuses);
    await fixture.ledger.close();
    const again = await openWith(fixture);
    await answer(again, { query: 2 });
    const durable = fixture.disk.afterPowerCut('none');
    expect(durable.get('ledger.journal')).toEqual(fixture.disk.content().get('ledger.journal'));
    await again.close();
  });

  test('an index that cannot be written stops the ledger too', async () => {
    const fixture = await freshLedger();
    await fixture.ledger.close();
    let broken = false;
    const store = {
      ...fixture.store,
      write: (...parameters: Parameters<typeof fixture.store.write>) =>
        broken ? Promise.reject(new Error('no')) : fixture.store.write(...parameters),
    };
    const ledger = await openWith({ ...fixture, store });
    broken = true;
    await answer(ledger, { query: 1 });
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expect(ledger.reserve(request({ query: 2 }))).rejects.toThrow(refuses);
    await ledger.close();
  });
});
