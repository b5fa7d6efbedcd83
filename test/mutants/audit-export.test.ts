/** Every byte of a small export, changed: found each time. */
import { expect, it } from 'vitest';
import { verifyExport } from '../../shared/audit/verify/verify.ts';
import { utf8 } from '../../shared/bytes.ts';
import { auditLogOf, exportOf, keysLogOf, once, POLICY } from '../unit/audit/export-fixture.ts';

it('finds a change of any byte, wherever it stands', async () => {
  const tar = await exportOf([await auditLogOf('north', 2), await keysLogOf([utf8('k')])]);
  const missed: number[] = [];
  for (let at = 0; at < tar.length; at += 1) {
    const changed = Buffer.from(tar);
    changed[at]! ^= 1 << (at % 8);
    const { outcome } = await verifyExport(once(changed), { policy: POLICY });
    if (outcome !== 'tampered' && outcome !== 'incomplete') missed.push(at);
  }
  expect(missed).toEqual([]);
  expect(await verifyExport(once(tar), { policy: POLICY })).toMatchObject({ outcome: 'good' });
});
