import { expect, test } from 'vitest';
import { answer, freshLedger, openWith, request, reserved, spentUnits } from './fixture.ts';

test('1000 duplicates of one query over three restarts: one spend, the same bytes', async () => {
  const fixture = await freshLedger();
  const bytes = Buffer.from('sealed once');
  const before = fixture.disk.syncs();
  let { ledger } = fixture;
  const seen: Uint8Array[] = [];
  const repeat = async (): Promise<void> => {
    const result = await ledger.reserve(request({ query: 1 }));
    if (result.status === 'answered') seen.push(result.sealedAnswer);
    else if (result.status === 'running') {
      const outcome = await result.settled;
      if (outcome.status === 'answered') seen.push(outcome.sealedAnswer);
    } else throw new Error('charged twice');
  };
  const run = await reserved(ledger, { query: 1 });
  const during = Array.from({ length: 250 }, repeat);
  run.startComputing();
  await run.commit(bytes);
  await Promise.all(during);
  for (let restart = 0; restart < 3; restart += 1) {
    await ledger.close();
    ledger = await openWith(fixture);
    await Promise.all(Array.from({ length: 250 }, repeat));
  }
  expect(seen).toHaveLength(1_000);
  expect(seen.every((one) => Buffer.from(one).equals(bytes))).toBe(true);
  expect(spentUnits(ledger)).toEqual(run.costs);
  expect(ledger.head().counter).toBe(2);
  expect(fixture.disk.syncs() - before).toBeLessThan(40);
  await answer(ledger, { query: 2 });
  await ledger.close();
});

test('charges that arrive together share their syncs', async () => {
  const { ledger, disk } = await freshLedger();
  const before = disk.syncs();
  await Promise.all(
    Array.from({ length: 256 }, (_, query) =>
      answer(ledger, { query, user: query, sender: `site-${query % 9}` }),
    ),
  );
  // Two waves (reserve, commit) of two syncs (journal, mark), and a few stragglers.
  expect((disk.syncs() - before) / 256).toBeLessThan(0.1);
  await ledger.close();
});
