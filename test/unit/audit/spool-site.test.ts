/** A site's log on its way into an export: as the agent streams it, also after it was pruned. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { streamAuditLog } from '../../../agent/federation/audit-log.ts';
import { spoolSite } from '../../../coordinator/audit/spool-site.ts';
import { verifyExport } from '../../../shared/audit/verify/verify.ts';
import { SiteId } from '../../../shared/ids.ts';
import type { Peer } from '../../../shared/wire/peer.ts';
import { exportOf, once, openTestLog, POLICY, signerOf } from './export-fixture.ts';

const north = SiteId.parse('north');
const none = (): undefined => undefined;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'qfl-spool-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const peerOf = (log: Parameters<typeof streamAuditLog>[0]): Pick<Peer, 'stream'> => ({
  async *stream() {
    for await (const { header, payload } of streamAuditLog(log))
      yield { header, payload: payload ?? new Uint8Array(0) };
  },
});

it('is exported up to the checkpoint that others cosigned, or else the newest', async () => {
  const { audit } = await openTestLog('north', 5);
  const earlier = await audit.log.checkpoint();
  for (let at = 0; at < 4; at += 1) await audit.record({ action: 'chat.served', outcome: 'ok' });
  const upTo = await spoolSite(north, peerOf(audit.log), folder, (origin) =>
    origin === 'f/north' ? earlier : undefined,
  );
  const report = await verifyExport(once(await exportOf([upTo])), { policy: POLICY });
  expect(report).toMatchObject({ outcome: 'good', logs: [{ size: 5, entries: 5 }] });
  const newest = await spoolSite(north, peerOf(audit.log), folder, none);
  expect(await verifyExport(once(await exportOf([newest])), { policy: POLICY })).toMatchObject({
    logs: [{ size: 9 }],
  });
});

it('after a restore is exported up to what others cosigned of the log under its new name', async () => {
  const { audit } = await openTestLog('north', 3, signerOf('f/north.1', 2));
  const earlier = await audit.log.checkpoint();
  await audit.record({ action: 'chat.served', outcome: 'ok' });
  const asked: string[] = [];
  const upTo = await spoolSite(north, peerOf(audit.log), folder, (origin) => {
    asked.push(origin);
    return earlier;
  });
  expect(asked).toEqual(['f/north.1']);
  expect(await verifyExport(once(await exportOf([upTo])), { policy: POLICY })).toMatchObject({
    outcome: 'good',
    logs: [{ origin: 'f/north.1', size: 3 }],
  });
});

it('that was pruned is exported from its first entry on', async () => {
  const { audit } = await openTestLog('north', 700);
  await audit.log.prune(600);
  const log = await spoolSite(north, peerOf(audit.log), folder, none);
  const report = await verifyExport(once(await exportOf([log])), { policy: POLICY });
  expect(report).toMatchObject({ outcome: 'good', logs: [{ first: 512, end: 700, entries: 188 }] });
});

it('of a site that is away is missing, not empty', async () => {
  await expect(spoolSite(north, undefined, folder, none)).rejects.toMatchObject({
    code: 'not_connected',
  });
});
