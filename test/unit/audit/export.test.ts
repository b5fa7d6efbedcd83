import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { extract } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { writeExport } from '../../../shared/audit/export.ts';
import { tarHeader, tarPadding } from '../../../shared/audit/tar.ts';
import { verifyExport } from '../../../shared/audit/verify/verify.ts';
import { fromUtf8, utf8 } from '../../../shared/bytes.ts';
import { auditLogOf, exportOf, keysLogOf, once, optionsOf, SIGNERS, signerOf } from './export-fixture.ts';

const threeLogs = async () => [
  await auditLogOf('coordinator', 300),
  await auditLogOf('north', 5),
  await keysLogOf([utf8('a\nb'), Uint8Array.of(0, 255), utf8('')]),
];

const unpack = async (tar: Buffer): Promise<Map<string, string>> => {
  const files = new Map<string, string>();
  const reader = extract();
  reader.end(tar);
  for await (const entry of reader) {
    const pieces: Uint8Array[] = [];
    for await (const piece of entry) pieces.push(Uint8Array.from(piece as Uint8Array));
    files.set(entry.header.name, fromUtf8(Buffer.concat(pieces)));
  }
  return files;
};

describe('an audit export', () => {
  it('verifies offline, and says that its keys are only its own', async () => {
    const report = await verifyExport(once(await exportOf(await threeLogs())));
    expect(report).toMatchObject({ outcome: 'good', exitCode: 0, findings: [], manifestKey: 'embedded' });
    expect(report.logs.map(({ name, size, key }) => [name, size, key])).toEqual([
      ['coordinator', 300, 'embedded'],
      ['north', 5, 'embedded'],
      ['keys', 3, 'embedded'],
    ]);
    expect(report.notices).toHaveLength(1);
  });

  it('verifies against trusted keys, and not when one log is signed by another', async () => {
    const tar = await exportOf(await threeLogs());
    const trustedKeys = Object.values(SIGNERS).map(({ verifierKey }) => verifierKey);
    const report = await verifyExport(once(tar), { trustedKeys });
    expect(report).toMatchObject({ outcome: 'good', manifestKey: 'trusted', notices: [] });
    const partly = await verifyExport(once(tar), { trustedKeys: trustedKeys.slice(0, 1) });
    expect(partly).toMatchObject({ outcome: 'policy_not_met', exitCode: 4 });
    expect(partly.findings.map(({ log }) => log)).toEqual(['north', 'keys']);
    await expect(verifyExport(once(tar), { trustedKeys: ['x'] })).rejects.toMatchObject({
      code: 'config_invalid',
    });
  });

  it('does not accept a whole export made under look-alike keys', async () => {
    const [log] = await threeLogs();
    const forger = signerOf('f/coordinator', 9);
    const tar = await exportOf([log!], { signer: forger });
    const trustedKeys = [SIGNERS.coordinator.verifierKey];
    expect(await verifyExport(once(tar), { trustedKeys })).toMatchObject({ outcome: 'policy_not_met' });
  });

  it('reads with any tar program', async () => {
    const files = await unpack(await exportOf(await threeLogs()));
    expect([...files.keys()].slice(0, 5)).toEqual([
      'manifest.json',
      'manifest.note',
      'README.txt',
      'coordinator/checkpoint',
      'coordinator/keys',
    ]);
    expect(files.get('north/entries.ndjson')!.split('\n')).toHaveLength(6);
    expect(files.get('keys/entries.ndjson')!.split('\n')[0]).toBe(Buffer.from('a\nb').toString('base64'));
  });

  it('is the same in any chunking', async () => {
    const tar = await exportOf([await auditLogOf('north', 3)]);
    async function* trickle() {
      for (let at = 0; at < tar.length; at += 37) yield await Promise.resolve(tar.subarray(at, at + 37));
    }
    expect(await verifyExport(trickle())).toMatchObject({ outcome: 'good' });
  });

  it('goes to a file whole or not at all', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'qfl-export-'));
    try {
      const file = path.join(folder, 'audit.tar');
      const logs = [await auditLogOf('north', 40)];
      const bytes = await writeExport(file, optionsOf(logs));
      expect((await readFile(file)).byteLength).toBe(bytes);
      expect(await verifyExport(file)).toMatchObject({ outcome: 'good' });
      const lying = [{ ...logs[0]!, leaves: () => once(utf8('{}')) }];
      await writeFile(path.join(folder, 'other'), '');
      const failing = writeExport(path.join(folder, 'bad.tar'), optionsOf(lying));
      await expect(failing).rejects.toMatchObject({ code: 'storage_failed' });
      expect((await readdir(folder)).toSorted()).toEqual(['audit.tar', 'other']);
      await expect(verifyExport(path.join(folder, 'none'))).rejects.toMatchObject({ code: 'storage_failed' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a damaged export', () => {
  it('cut at any block is incomplete, never good', async () => {
    const tar = await exportOf([await auditLogOf('north', 2)]);
    for (let end = 0; end < tar.length; end += 256) {
      const report = await verifyExport(once(tar.subarray(0, end)));
      expect([end, report.exitCode]).toEqual([end, 3]);
    }
  });

  it('names the log and the entry', async () => {
    const tar = await exportOf([await auditLogOf('coordinator', 4), await auditLogOf('north', 20)]);
    const at = tar.indexOf('"counter":13');
    const changed = Buffer.from(tar);
    changed.write('9', tar.indexOf('"timeMs":', at) + 12);
    const report = await verifyExport(once(changed));
    expect(report.outcome).toBe('tampered');
    expect(report.findings).toContainEqual(
      expect.objectContaining({ log: 'north', index: 13, outcome: 'tampered' }),
    );
    expect(report.findings.some(({ log }) => log === 'coordinator')).toBe(false);
  });

  it('with a further, a doubled or a swapped member is refused', async () => {
    const tar = await exportOf([await auditLogOf('north', 2)]);
    const extra = Buffer.concat([tarHeader('extra', 1), utf8('x'), tarPadding(1)]);
    const body = tar.subarray(0, -1024);
    const end = tar.subarray(-1024);
    const manifestEnd = tar.indexOf('manifest.note');
    const doubled = Buffer.concat([tar.subarray(0, manifestEnd), tar]);
    for (const bad of [Buffer.concat([body, extra, end]), Buffer.concat([tar, extra]), doubled]) {
      expect(await verifyExport(once(bad))).toMatchObject({ outcome: 'tampered', exitCode: 2 });
    }
  });
});
