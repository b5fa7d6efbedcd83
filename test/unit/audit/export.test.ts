import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ed25519Cosigner } from '../../../shared/audit/cosignature.ts';
import { signCheckpointBy } from '../../../shared/audit/checkpoint.ts';
import { EVERYTHING, exportLog, writeExport } from '../../../shared/audit/export.ts';
import { parseVerifierKey } from '../../../shared/audit/note.ts';
import { policyText } from '../../../shared/audit/policy.ts';
import { tarHeader, tarPadding } from '../../../shared/audit/tar.ts';
import { openSource } from '../../../shared/audit/verify/source.ts';
import { verifyExport } from '../../../shared/audit/verify/verify.ts';
import { utf8 } from '../../../shared/bytes.ts';
import {
  auditLogOf,
  exportOf,
  keysLogOf,
  once,
  openTestLog,
  optionsOf,
  POLICY,
  SIGNERS,
  signerOf,
} from './export-fixture.ts';
import { unpack } from './unpack.ts';

const threeLogs = async () => [
  await auditLogOf('coordinator', 300),
  await auditLogOf('north', 5),
  await keysLogOf([utf8('a\nb'), Uint8Array.of(0, 255), utf8('')]),
];

describe('an audit export', () => {
  it('agrees with itself, and that is not enough: nobody was authenticated', async () => {
    const report = await verifyExport(once(await exportOf(await threeLogs())));
    expect(report).toMatchObject({ outcome: 'policy_not_met', exitCode: 4, manifestKey: 'embedded' });
    expect(report.findings.map(({ message }) => message).join()).toMatch(/^signer not authenticated/);
    expect(report.logs.map(({ name, entries, size, key }) => [name, entries, size, key])).toEqual([
      ['coordinator', 300, 300, 'embedded'],
      ['north', 5, 5, 'embedded'],
      ['keys', 3, 3, 'embedded'],
    ]);
  });

  it('is good by a policy, or by keys, that came another way', async () => {
    const tar = await exportOf(await threeLogs());
    const good = { outcome: 'good', exitCode: 0, findings: [], manifestKey: 'trusted' };
    expect(await verifyExport(once(tar), { policy: POLICY })).toMatchObject(good);
    const trustedKeys = Object.values(SIGNERS).map(({ verifierKey }) => verifierKey);
    expect(await verifyExport(once(tar), { trustedKeys })).toMatchObject(good);
    const partly = await verifyExport(once(tar), { trustedKeys: trustedKeys.slice(0, 1) });
    expect(partly).toMatchObject({ outcome: 'policy_not_met', exitCode: 4 });
    expect(partly.findings.map(({ log }) => log)).toEqual(['north', 'keys']);
    await expect(verifyExport(once(tar), { trustedKeys: ['x'] })).rejects.toMatchObject({
      code: 'config_invalid',
    });
  });

  it('does not accept a whole export made under look-alike keys', async () => {
    const forger = signerOf('f/coordinator', 9);
    const { log } = await openTestLog('coordinator', 4, forger);
    const policy = policyText('forged', [parseVerifierKey(forger.verifierKey)], [], 0);
    const tar = await exportOf([log], { signer: forger, policy });
    expect(await verifyExport(once(tar), { policy })).toMatchObject({ outcome: 'good' });
    expect(await verifyExport(once(tar), { policy: POLICY })).toMatchObject({ outcome: 'policy_not_met' });
  });

  it('needs the quorum of the policy to have cosigned', async () => {
    const { log, audit } = await openTestLog('coordinator', 4);
    const witness = ed25519Cosigner('f/witness/north', Buffer.alloc(32, 8));
    const own = parseVerifierKey(SIGNERS.coordinator.verifierKey);
    const policy = policyText('w', [own], [{ name: 'north', keys: [witness.key] }], 1);
    const checkpoint = await signCheckpointBy(
      { origin: SIGNERS.coordinator.name, size: 4, root: await audit.log.rootAt(4), extensions: [] },
      SIGNERS.coordinator,
      [witness],
      1_790_000_000,
    );
    const alone = await verifyExport(once(await exportOf([log], { policy })), { policy });
    expect(alone).toMatchObject({ outcome: 'policy_not_met' });
    expect(alone.findings[0]?.message).toContain('not the quorum');
    const cosigned = await verifyExport(once(await exportOf([{ ...log, checkpoint }], { policy })), {
      policy,
    });
    expect(cosigned).toMatchObject({ outcome: 'good', logs: [{ cosignedBy: ['north'] }] });
  });

  it('of a log that was restored is good by the policy of before, which names the log without a number', async () => {
    const { log } = await openTestLog('north', 4, signerOf('f/north.1', 2));
    expect(await verifyExport(once(await exportOf([log])), { policy: POLICY })).toMatchObject({
      outcome: 'good',
      findings: [],
      logs: [{ origin: 'f/north.1', key: 'trusted' }],
    });
  });

  it('of a hospital that was restored needs another hospital, not its own word', async () => {
    const [name, own] = ['qfl/f/audit/north.1', signerOf('qfl/f/audit/north', 2)];
    const [north, south] = [7, 8].map((byte) => ed25519Cosigner(`w/${byte}`, Buffer.alloc(32, byte)));
    const { log, audit } = await openTestLog('north', 4, signerOf(name, 2));
    const policy = policyText(
      'w',
      [own, SIGNERS.coordinator].map(({ verifierKey }) => parseVerifierKey(verifierKey)),
      [
        { name: 'north', keys: [north!.key] },
        { name: 'south', keys: [south!.key] },
      ],
      2,
    );
    const outcomeBy = async (witness: typeof north): Promise<string> => {
      const checkpoint = await signCheckpointBy(
        { origin: name, size: 4, root: await audit.log.rootAt(4), extensions: [] },
        signerOf(name, 2),
        [witness!],
        1_790_000_000,
      );
      const tar = await exportOf([{ ...log, checkpoint }], { policy });
      return (await verifyExport(once(tar), { policy })).outcome;
    };
    expect(await outcomeBy(south)).toBe('good');
    expect(await outcomeBy(north)).toBe('policy_not_met');
  });

  it('reads with any tar program', async () => {
    const files = await unpack(await exportOf(await threeLogs()));
    expect([...files.keys()].slice(0, 6)).toEqual([
      'manifest.json',
      'manifest.note',
      'README.txt',
      'policy.txt',
      'coordinator/checkpoint',
      'coordinator/proof',
    ]);
    expect(files.get('north/entries.ndjson')!.split('\n')).toHaveLength(6);
    expect(files.get('keys/entries.ndjson')!.split('\n')[0]).toBe(
      `"${Buffer.from('a\nb').toString('base64')}"`,
    );
  });

  it('is the same in any chunking', async () => {
    const tar = await exportOf([await auditLogOf('north', 3)]);
    async function* trickle() {
      for (let at = 0; at < tar.length; at += 37) yield await Promise.resolve(tar.subarray(at, at + 37));
    }
    expect(await verifyExport(trickle(), { policy: POLICY })).toMatchObject({ outcome: 'good' });
  });

  it('goes to a file whole or not at all, and leaves nothing beside it', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'qfl-export-'));
    try {
      const file = path.join(folder, 'audit.tar');
      const logs = [await auditLogOf('north', 40)];
      const bytes = await writeExport(file, { ...optionsOf(logs), folder });
      expect((await readFile(file)).byteLength).toBe(bytes);
      expect(await verifyExport(await openSource(file), { policy: POLICY })).toMatchObject({
        outcome: 'good',
      });
      const lying = [{ ...logs[0]!, leaves: () => once(utf8('{}')) }];
      await writeFile(path.join(folder, 'other'), '');
      const failing = writeExport(path.join(folder, 'bad.tar'), { ...optionsOf(lying), folder });
      await expect(failing).rejects.toMatchObject({ code: 'invalid_request' });
      expect((await readdir(folder)).toSorted()).toEqual(['audit.tar', 'other']);
      await expect(openSource(path.join(folder, 'none'))).rejects.toMatchObject({ code: 'storage_failed' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('a part of a log', () => {
  const SIZE = 41;
  /** Entry `i` was written at `i` seconds, but for one whose clock had jumped. */
  const jumpy = () =>
    openTestLog('coordinator', SIZE, SIGNERS.coordinator, (index) =>
      index === 20 ? 1_000_000 : index * 1_000,
    );

  it('proves its place for every period, and says what lies outside', async () => {
    const { log } = await jumpy();
    for (const [from, to] of [
      [0, SIZE],
      [0, 1],
      [1, 2],
      [7, 32],
      [33, 41],
      [40, 41],
      [50, 60],
    ] as const) {
      const selection = { ...EVERYTHING, fromMs: from * 1_000, toMs: to * 1_000 };
      const report = await verifyExport(once(await exportOf([log], { selection })), { policy: POLICY });
      const inside = Array.from({ length: SIZE }, (_, at) => at).filter(
        (at) => at !== 20 && at >= from && at < to,
      );
      expect(report).toMatchObject({ outcome: 'good', logs: [{ entries: inside.length, size: SIZE }] });
      if (inside.length > 0)
        expect(report.logs[0]).toMatchObject({ first: inside[0], end: inside.at(-1)! + 1 });
    }
  });

  it('keeps the hash of what a filter leaves out, so that nothing can be dropped', async () => {
    const { log } = await openTestLog('coordinator', 30);
    const selection = {
      ...EVERYTHING,
      filter: { object: 'x' },
      wants: ({ counter }: { counter: number }) => counter % 10 === 3,
    };
    const tar = await exportOf([log], { selection });
    const report = await verifyExport(once(tar), { policy: POLICY });
    expect(report).toMatchObject({ outcome: 'good', logs: [{ entries: 3, first: 0, end: 30 }] });
    expect(report.manifest?.statements.join()).toContain('27 entries of 0–29 are here by their hash only');
    const lines = (await unpack(tar)).get('coordinator/entries.ndjson')!.trimEnd().split('\n');
    expect(lines.filter((line) => line.startsWith('"'))).toHaveLength(27);
    for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
  });

  it('goes on where entries were pruned', async () => {
    const { audit, log } = await openTestLog('coordinator', 600);
    await audit.log.prune(512);

    const pruned = await exportLog('coordinator', 'audit', audit.log);
    expect(pruned.checkpoint).toBe(log.checkpoint);
    const report = await verifyExport(once(await exportOf([pruned])), { policy: POLICY });
    expect(report).toMatchObject({ outcome: 'good', logs: [{ first: 512, end: 600, entries: 88 }] });
    expect(report.manifest?.statements.join()).toContain('entries below 512 were removed');
  });

  it('shows that the log only grew since a checkpoint that was held before', async () => {
    const { audit } = await openTestLog('coordinator', 5);
    const since = await audit.log.checkpoint();
    await Promise.all(
      Array.from({ length: 9 }, () => audit.record({ action: 'chat.served', outcome: 'ok' })),
    );

    const log = await exportLog('coordinator', 'audit', audit.log, { since });
    const tar = await exportOf([log]);
    expect(await verifyExport(once(tar), { policy: POLICY, since })).toMatchObject({ outcome: 'good' });
    const without = await exportOf([await exportLog('coordinator', 'audit', audit.log)]);
    expect(await verifyExport(once(without), { policy: POLICY, since })).toMatchObject({
      outcome: 'incomplete',
    });
    const { audit: forked } = await openTestLog('coordinator', 5);
    const other = await forked.log.checkpoint();
    expect(await verifyExport(once(tar), { policy: POLICY, since: other })).toMatchObject({
      outcome: 'tampered',
    });
  });
});

describe('a damaged export', () => {
  it('cut at any block is incomplete, never good', async () => {
    const tar = await exportOf([await auditLogOf('north', 2)]);
    for (let end = 0; end < tar.length; end += 256) {
      const report = await verifyExport(once(tar.subarray(0, end)), { policy: POLICY });
      expect([end, report.exitCode]).toEqual([end, 3]);
    }
  });

  it('names the log and the entry', async () => {
    const tar = await exportOf([await auditLogOf('coordinator', 4), await auditLogOf('north', 20)]);
    const at = tar.indexOf('"counter":13');
    const changed = Buffer.from(tar);
    changed.write('9', tar.indexOf('"timeMs":', at) + 12);
    const report = await verifyExport(once(changed), { policy: POLICY });
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
      expect(await verifyExport(once(bad), { policy: POLICY })).toMatchObject({
        outcome: 'tampered',
        exitCode: 2,
      });
    }
  });
});
