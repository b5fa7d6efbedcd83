/** Faults of an export and of its verifier: a byte, a bit, a dropped entry, a swapped place, a missing witness; found each time. */
import { expect, it } from 'vitest';
import { complianceDeriver } from '../../coordinator/audit/compliance/derive.ts';
import { EVERYTHING, exportLog } from '../../shared/audit/export.ts';
import { auditEventOf } from '../../shared/audit/fhir.ts';
import { readEntry } from '../../shared/audit/entry.ts';
import { leafHash } from '../../shared/audit/merkle.ts';
import { parseVerifierKey } from '../../shared/audit/note.ts';
import { policyText } from '../../shared/audit/policy.ts';
import { verifyExport } from '../../shared/audit/verify/verify.ts';
import { csvRow } from '../../shared/audit/csv.ts';
import { toBase64, utf8 } from '../../shared/bytes.ts';
import { seeded } from '../../shared/seeded.ts';
import { faultsOf } from '../fixtures/balp.ts';
import { COMPLIANCE_FACTS } from '../unit/audit/compliance-facts.ts';
import {
  auditLogOf,
  exportOf,
  keysLogOf,
  once,
  openTestLog,
  POLICY,
  signerOf,
} from '../unit/audit/export-fixture.ts';

const outcomeOf = async (bytes: Uint8Array, policy: string | undefined = POLICY): Promise<string> =>
  (await verifyExport(once(bytes), { policy })).outcome;
const found = (outcome: string): boolean => outcome === 'tampered' || outcome === 'incomplete';

it('finds a change of any byte, wherever it stands', async () => {
  const tar = await exportOf([await auditLogOf('north', 2), await keysLogOf([utf8('k')])]);
  const missed: number[] = [];
  for (let at = 0; at < tar.length; at += 1) {
    const changed = Buffer.from(tar);
    changed[at]! ^= 1 << (at % 8);
    if (!found(await outcomeOf(changed))) missed.push(at);
  }
  expect(missed).toEqual([]);
  expect(await outcomeOf(tar)).toBe('good');
});

it('a log under the next name of a restore, by a key that is not the one of before, is not taken for it', async () => {
  const restored = async (byte: number, name = 'f/north.1') =>
    exportOf([(await openTestLog('north', 3, signerOf(name, byte))).log]);
  expect(await outcomeOf(await restored(2))).toBe('good');
  expect(await outcomeOf(await restored(9))).toBe('tampered');
  // The coordinator's key says nothing about the log of a hospital, and other endings are other logs.
  expect(await outcomeOf(await restored(1))).toBe('tampered');
  for (const name of ['f/north.01', 'f/north.0', 'f/north.x', 'f/north.1.1'])
    expect([name, await outcomeOf(await restored(2, name))]).toEqual([name, 'tampered']);
});

/** Ten thousand verifications of some megabytes each. */
const NIGHTLY_MS = 3_600_000;
const isNightly = process.env['QFL_NIGHTLY'] === '1';
it(
  'finds single bits of a large export, with everything that auditors read',
  async () => {
    const tar = await exportOf([await auditLogOf('coordinator', isNightly ? 2_000 : 600)], {
      derive: (folder) => complianceDeriver(COMPLIANCE_FACTS, folder),
    });
    const random = seeded(20_261_127);
    const missed: number[] = [];
    for (let round = 0; round < (isNightly ? 10_000 : 200); round += 1) {
      const at = random.below(tar.length);
      const bit = 1 << (round % 8);
      tar[at]! ^= bit;
      if (!found(await outcomeOf(tar))) missed.push(at);
      tar[at]! ^= bit;
    }
    expect(missed).toEqual([]);
    expect(await outcomeOf(tar)).toBe('good');
  },
  NIGHTLY_MS,
);

it('an exporter that drops an entry, or writes another, cannot make its checkpoint fit', async () => {
  const { log } = await openTestLog('north', 6);
  const leaves: Uint8Array[] = [];
  for await (const leaf of log.leaves()) leaves.push(leaf);
  const dropped = {
    ...log,
    leaves: async function* leavesOf() {
      yield* leaves.slice(1);
      await Promise.resolve();
    },
  };
  await expect(exportOf([dropped])).rejects.toMatchObject({ code: 'storage_failed' });
});

it('an exporter that signs everything anew without the entry is not believed', async () => {
  const forger = signerOf('f/north', 77);
  const { log } = await openTestLog('north', 5, forger);
  const forged = policyText('forged', [parseVerifierKey(forger.verifierKey)], [], 0);
  const tar = await exportOf([log], { signer: forger, policy: forged });
  expect(await outcomeOf(tar, forged)).toBe('good');
  expect(await outcomeOf(tar)).toBe('policy_not_met');
});

it('a verifier that is content with the keys inside the file is none: without a policy nothing is good', async () => {
  const tar = await exportOf([await auditLogOf('north', 2)]);
  const { outcome, exitCode } = await verifyExport(once(tar));
  expect([outcome, exitCode]).toEqual(['policy_not_met', 4]);
});

it('a filter that leaves nothing behind would hide an entry; its hash is there, and another hash is found', async () => {
  const { log } = await openTestLog('north', 9);
  const selection = { ...EVERYTHING, wants: ({ counter }: { counter: number }) => counter !== 4 };
  const tar = await exportOf([log], { selection });
  const leaves: Uint8Array[] = [];
  for await (const leaf of log.leaves()) leaves.push(leaf);
  const kept = toBase64(leafHash(leaves[4]!));
  expect(tar.includes(kept)).toBe(true);
  const changed = Buffer.from(tar);
  changed.write(toBase64(leafHash(utf8('another'))), tar.indexOf(kept));
  const { findings } = await verifyExport(once(changed), { policy: POLICY });
  expect(findings).toContainEqual(expect.objectContaining({ log: 'north', index: 4, outcome: 'tampered' }));
});

it('a log that was rewritten is no continuation of a checkpoint held before', async () => {
  const { audit } = await openTestLog('coordinator', 4);
  const since = await (await openTestLog('coordinator', 4)).audit.log.checkpoint();
  const tar = await exportOf([await exportLog('coordinator', 'audit', audit.log)]);
  expect(await outcomeOf(tar)).toBe('good');
  const { outcome } = await verifyExport(once(tar), { policy: POLICY, since });
  expect(outcome).not.toBe('good');
});

it('a cell that a spreadsheet would run is caught', () => {
  const naive = (cells: readonly string[]): string => `${cells.join(',')}\r\n`;
  const runs = (line: string): boolean => /^[=+\-@\t\r]/.test(line);
  expect(runs(naive(['=cmd()']))).toBe(true);
  expect(runs(csvRow(['=cmd()']))).toBe(false);
});

it('an event without its time, or with a profile that is not true, is caught', async () => {
  const { log } = await openTestLog('north', 1);
  for await (const leaf of log.leaves()) {
    const event = auditEventOf(readEntry(leaf), 'f/north');
    expect(faultsOf(event)).toEqual([]);
    expect(faultsOf({ ...event, recorded: undefined })).not.toEqual([]);
    const profile = ['https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.Query'];
    expect(faultsOf({ ...event, meta: { profile } })).not.toEqual([]);
  }
});
