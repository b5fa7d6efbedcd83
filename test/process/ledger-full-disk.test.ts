import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { chargeNumbered, createIn, numberedAnswer, numberedRequest, openIn } from './ledger-fixture.ts';

const base = mkdtempSync(path.join(tmpdir(), 'qfl-ledger-full-'));
const disk = path.join(base, 'disk');
mkdirSync(disk);
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', disk]).status === 0;
const why = mounted ? '' : ' (skipped: a small tmpfs cannot be mounted here, that needs root)';
afterAll(() => {
  if (mounted) spawnSync('umount', [disk]);
  rmSync(base, { recursive: true, force: true });
});

test.skipIf(!mounted)(
  `a disk that fills up: nothing acknowledged is lost, nothing is acknowledged after the first error${why}`,
  async () => {
    const filler = path.join(disk, 'filler');
    writeFileSync(filler, Buffer.alloc(1024 * 1024));
    await createIn(disk);
    const charged: number[] = [];
    const answered: number[] = [];
    const tell = (what: 'charged' | 'answered', number: number): void => {
      (what === 'charged' ? charged : answered).push(number);
    };
    let first = 0;
    for (let round = 0; round < 2; round += 1) {
      const { ledger, close } = await openIn(disk, base);
      let next = first;
      const work = async (): Promise<void> => {
        for (;;) {
          next += 1;
          await chargeNumbered(ledger, next, tell);
        }
      };
      await Promise.allSettled(Array.from({ length: 8 }, work));
      const told = charged.length + answered.length;
      rmSync(filler, { force: true });
      // There is space again, and still nothing is taken.
      for (let attempt = 0; attempt < 20; attempt += 1)
        await expect(chargeNumbered(ledger, 1_000_000 + attempt, tell)).rejects.toMatchObject({
          code: 'ledger_refuses',
        });
      expect(charged.length + answered.length).toBe(told);
      first = next;
      await close();
      if (round === 1) rmSync(path.join(disk, 'ledger', 'ledger.reserve'), { force: true });
    }
    await expect(openIn(disk, base)).rejects.toMatchObject({ code: 'ledger_refuses' });
    expect(spawnSync('mount', ['-o', 'remount,size=16m', disk]).status).toBe(0);
    const { ledger, close } = await openIn(disk, base);
    const cost = ledger.quote(numberedRequest(0), numberedRequest(0).mechanisms).costs.site_lifetime;
    expect(ledger.readings(numberedRequest(0))[0]!.spentUnits >= BigInt(charged.length) * cost).toBe(true);
    expect(answered.length).toBeGreaterThan(100);
    for (const number of answered) {
      const repeat = await ledger.reserve(numberedRequest(number));
      expect(
        repeat.status === 'answered' && Buffer.from(repeat.sealedAnswer).equals(numberedAnswer(number)),
      ).toBe(true);
    }
    await chargeNumbered(ledger, 2_000_000, tell);
    await close();
  },
);
