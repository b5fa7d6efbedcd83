/** The audit export over HTTP: for whom, of what, with what progress; and the reports made from the log. */
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseVerifierKey } from '../../shared/audit/note.ts';
import { openNote } from '../../shared/audit/note.ts';
import { verifyExport, type VerifyReport } from '../../shared/audit/verify/verify.ts';
import { archiveOf } from '../../shared/cli/audit-export.ts';
import { ComplianceReportAnswer, PersonAnswer } from '../../shared/wire/compliance.ts';
import { startTestCoordinator, type TestCoordinator } from '../fixtures/coordinator.ts';
import { collect, once } from '../unit/audit/export-fixture.ts';
import { unpack } from '../unit/audit/unpack.ts';

let coordinator: TestCoordinator;
let admin: string;
let auditor: string;

beforeAll(async () => {
  coordinator = await startTestCoordinator('organisation:\n  name: General Hospital\n');
  admin = await coordinator.admin('ada.lovelace');
  auditor = await coordinator.key('auditor');
});
afterAll(() => coordinator.close());

const fetchExport = async (body: Record<string, unknown>, key = auditor) => {
  const answer = await request(`${coordinator.url}/v1/audit/export`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: answer.statusCode, bytes: Buffer.from(await answer.body.arrayBuffer()) };
};
const policyText = async (): Promise<string> =>
  (await request(`${coordinator.url}/v1/log/policy`)).body.text();
const verified = async (tar: Uint8Array, since?: string): Promise<VerifyReport> =>
  verifyExport(once(tar), { policy: await policyText(), ...(since === undefined ? {} : { since }) });

describe('the export', () => {
  it('is whole and good, names who asked and why, and holds the entry that says so', async () => {
    const { status, bytes } = await fetchExport({ ground: 'yearly review' });
    expect(status).toBe(200);
    const report = await verified(bytes);
    expect(report).toMatchObject({ outcome: 'good', findings: [] });
    expect(report.manifest).toMatchObject({
      organisation: 'General Hospital',
      requestedBy: expect.stringMatching(/^auditor [0-9a-f]{32}$/) as string,
      ground: 'yearly review',
      timeZone: 'UTC',
    });
    const files = await unpack(bytes);
    expect(files.get('coordinator/entries.ndjson')).toContain('"action":"audit.exported"');
    expect(files.get('access-review.csv')!.split('\r\n')).toHaveLength(4);
    expect(files.get('keys.ndjson')).toContain('"site":"coordinator"');
    for (const file of ['summary.pdf', 'art30.json', 'budget.csv', 'disclosures.csv', 'soc2-map.csv'])
      expect(files.get(file)!.length, file).toBeGreaterThan(50);
    // Names are in the store; the export has pseudonyms.
    expect(bytes.includes('lovelace')).toBe(false);
  });

  it('of a filter keeps what is left out by hash; of a period proves its place', async () => {
    const { bytes } = await fetchExport({ filter: { action: 'account.*' } });
    const filtered = await verified(bytes);
    const [log] = filtered.logs;
    expect(filtered).toMatchObject({ outcome: 'good', manifest: { filter: { action: 'account.*' } } });
    expect(log!.entries).toBeGreaterThan(0);
    expect(log!.entries).toBeLessThan(log!.end - log!.first);
    const later = await fetchExport({ fromMs: Date.now() - 1, toMs: Date.now() + 60_000 });
    const period = await verified(later.bytes);
    expect(period.outcome).toBe('good');
    expect(period.logs[0]!.first).toBeGreaterThan(0);
  });

  it('shows that the log only grew since the checkpoint that the auditor kept', async () => {
    const first = await unpack((await fetchExport({})).bytes);
    const since = first.get('coordinator/checkpoint')!;
    const { bytes } = await fetchExport({ since });
    expect(await verified(bytes, since)).toMatchObject({ outcome: 'good' });
    expect(
      (await fetchExport({ since: since.replace('qfl/test/audit', 'qfl/other/audit') })).status,
    ).not.toBe(200);
  });

  it('tells its progress before the archive', async () => {
    const { bytes } = await fetchExport({ progress: true });
    const told: number[] = [];
    const tar = await collect(archiveOf(once(bytes), (done, total) => told.push(done / total)));
    expect(told.at(-1)).toBe(1);
    expect(await verified(tar)).toMatchObject({ outcome: 'good' });
    await expect(collect(archiveOf(once(bytes.subarray(0, 20)), () => undefined))).rejects.toMatchObject({
      code: 'cut',
    });
  });

  it('refuses what cannot be: a period turned round, a filter or recipient that is none', async () => {
    for (const body of [
      { fromMs: 5, toMs: 4 },
      { filter: { colour: 'red' } },
      { recipient: 'age' },
      { since: 'x' },
    ])
      expect((await fetchExport(body)).status).toBeGreaterThanOrEqual(400);
    expect((await fetchExport({}, await coordinator.key('nurse'))).status).toBe(403);
  });
});

describe('reports from the log', () => {
  const ask = async (path: string, body: unknown, key: string) =>
    coordinator.call(path, { method: 'POST', body, key });
  const signer = () => [parseVerifierKey(coordinator.running.home.exportSigner.verifierKey)];

  it('give a person what is held about her, with source and rights, and nobody else’s', async () => {
    const { report, note } = PersonAnswer.parse(
      (await ask('/v1/audit/person', { account: 'ada.lovelace' }, admin)).body,
    );
    expect(report.account).toMatchObject({ username: 'ada.lovelace', role: 'admin', secondFactor: true });
    expect(report.entries.length).toBeGreaterThan(0);
    for (const { entry } of report.entries)
      expect(
        entry.actor === report.account.pseudonym || entry.objects.some(({ id }) => id === report.account.id),
      ).toBe(true);
    expect(report.rights.join()).toContain('Art. 77');
    expect(JSON.stringify(report)).not.toMatch(/argon2|secret"/);
    expect(openNote(note, signer()).text).toContain('qfl-person/1');
    expect((await ask('/v1/audit/person', { account: 'nobody' }, admin)).status).toBe(404);
    expect((await ask('/v1/audit/person', { account: 'ada.lovelace' }, auditor)).status).toBe(403);
  });

  it('count a month and the privacy of a period, signed', async () => {
    const period = { fromMs: Date.now() - 3_600_000, toMs: Date.now() + 1_000 };
    for (const kind of ['monthly', 'privacy'] as const) {
      const { report, note, text } = ComplianceReportAnswer.parse(
        (await ask('/v1/audit/report', { kind, ...period }, auditor)).body,
      );
      expect(report.counts.reduce((sum, { entries }) => sum + entries, 0)).toBe(report.entries);
      expect(report).toMatchObject({
        accounts: { active: 1, withSecondFactor: 1 },
        organisation: 'General Hospital',
      });
      expect(openNote(note, signer()).text).toContain('qfl-compliance-report/1');
      expect(text.includes('## Accounts')).toBe(kind === 'monthly');
      expect(text).toContain('## Privacy budgets');
    }
  });
});
