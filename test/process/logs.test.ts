/**
 * The logs as an outsider checks them, over real processes: tiles, a cosigned checkpoint against the policy file, one entry's proof; what a site
 * says of its directory; and what happens when hospitals are away.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { openCheckpoint, readCheckpoint } from '../../shared/audit/checkpoint.ts';
import { leafHash } from '../../shared/audit/merkle.ts';
import { verifyInclusion } from '../../shared/audit/merkle-verify.ts';
import { parsePolicy, quorumMet } from '../../shared/audit/policy.ts';
import { parseEntryBundle } from '../../shared/audit/tile-paths.ts';
import { concat, fromBase64, toHex, utf8 } from '../../shared/bytes.ts';
import { AuditEntryShown, AuditPageShown } from '../../shared/wire/audit.ts';
import { eventually, qflJson } from '../fixtures/processes.ts';
import { call, type Federation, type Site, startFederation } from './federation.ts';

const Directory = z.looseObject({
  size: z.int(),
  confirmedSize: z.int().nullable(),
  witnesses: z.int(),
  quorum: z.int(),
  refusal: z.string().nullable(),
});
/** The shortest that configuration allows. */
const CONFIG = 'audit: { witness_interval_seconds: 1, directory_age_max_seconds: 10 }\n';
let federation: Federation;
const north = (): Site => federation.sites[0]!;

beforeAll(async () => {
  federation = await startFederation({
    coordinatorConfig: CONFIG,
    sites: ['north', 'south', 'east'].map((name) => ({ name, config: CONFIG })),
  });
});
afterAll(() => federation?.close());

/** Becomes true within half a minute. */
const holds = (what: string, check: () => Promise<void>): Promise<unknown> =>
  eventually(what, () => check().then(() => true), 30_000);
const directoryOf = async (site: Site) => Directory.parse((await site.asOperator('/v1/directory')).body);
const text = async (path: string): Promise<string> =>
  z.string().parse((await call(federation.coordinator.url + path)).body);
const bytes = async (path: string): Promise<Uint8Array> => {
  const answer = await fetch(federation.coordinator.url + path);
  expect(answer.status).toBe(200);
  return new Uint8Array(await answer.arrayBuffer());
};

describe('the directory', () => {
  test('is confirmed by all three within a few seconds of the start', async () => {
    await holds('all three confirm', async () => {
      for (const site of federation.sites)
        expect(await directoryOf(site)).toMatchObject({ witnesses: 3, quorum: 2, refusal: null });
    });
  });

  test('is read by anybody as tiles, and its checkpoint meets the policy', async () => {
    await holds('the policy is met', async () => {
      const policy = parsePolicy(await text('/v1/log/policy'));
      const note = await text('/v1/log/keys/checkpoint');
      const known = [...policy.logs, ...policy.witnesses.values()];
      const opened = openCheckpoint(note, known);
      expect(quorumMet(policy, new Set(opened.note.signedBy.map((key) => key.text)))).toBe(true);
      const { size } = opened.checkpoint;
      const leaves = parseEntryBundle(await bytes(`/v1/log/keys/tile/entries/000.p/${size}`));
      expect(toHex(concat(...leaves.map(leafHash)))).toBe(
        toHex(await bytes(`/v1/log/keys/tile/0/000.p/${size}`)),
      );
    });
  });
});

describe('the audit log', () => {
  test('of the coordinator and of each site is cosigned by others', async () => {
    await holds('both logs are cosigned', async () => {
      const origins = [
        [await text('/v1/log/audit/checkpoint'), 'witness/north'],
        [z.string().parse((await call(`${north().url}/v1/log/audit/checkpoint`)).body), 'witness/south'],
      ] as const;
      for (const [note, witness] of origins) expect(note).toContain(witness);
      expect(readCheckpoint(origins[1][0]).origin).toMatch(/\/audit\/north$/);
    });
  });

  test('shows its entries to auditors only, and each with a proof', async () => {
    const base = federation.coordinator.url;
    expect((await call(`${base}/security/audit`)).status).toBe(401);
    for (const { url } of [federation.coordinator, north()]) {
      expect((await call(`${url}/v1/log/audit/tile/entries/000.p/1`)).status).toBe(401);
      // Spelt so that a router may not see the slash.
      for (const spelt of [
        'entries%2F000.p/1',
        'entries%2f000.p%2F1',
        '%65ntries%2F000.p/1',
        'x/../entries%2F000.p/1',
      ])
        expect([spelt, (await call(`${url}/v1/log/audit/tile/${spelt}`)).status]).toEqual([
          spelt,
          expect.toBeOneOf([400, 401, 404]),
        ]);
    }
    expect((await call(`${base}/v1/log/audit/tile/0/000.p/1`)).status).toBe(200);
    const doctor = await north().key('doctor');
    expect((await call(`${north().url}/security/audit`, { key: doctor })).status).toBe(403);
    const page = await qflJson(AuditPageShown, [
      'audit',
      'list',
      '--action',
      'site.approved',
      '--home',
      federation.coordinator.home,
    ]);
    expect(page.entries).toHaveLength(3);
    const { counter } = page.entries[0]!;
    const { leaf, proof } = AuditEntryShown.parse(
      (await federation.coordinator.asOperator(`/security/audit/${counter}`)).body,
    );
    const { root } = readCheckpoint(proof.checkpoint);
    const claim = { index: counter, size: proof.size, root, path: proof.path.map(fromBase64) };
    expect(verifyInclusion({ ...claim, leafHash: leafHash(utf8(leaf)) })).toBe(true);
    expect(verifyInclusion({ ...claim, leafHash: leafHash(utf8(leaf.replace('ok', 'no'))) })).toBe(false);
  });

  test('says what it refuses to erase, and why', async () => {
    const of = ['--home', north().home];
    const hold = await qflJson(z.looseObject({ id: z.string() }), [
      'audit',
      'hold',
      'add',
      '--ground',
      'case',
      ...of,
    ]);
    const report = await qflJson(z.looseObject({ dryRun: z.boolean(), entriesPruned: z.int() }), [
      'audit',
      'prune',
      ...of,
    ]);
    expect(report).toMatchObject({ dryRun: true, entriesPruned: 0 });
    await qflJson(z.looseObject({ released: z.literal(hold.id) }), [
      'audit',
      'hold',
      'release',
      hold.id,
      ...of,
    ]);
  });
});

describe('with too few hospitals', () => {
  test('a directory grows stale, and is fresh again when one is back', async () => {
    await Promise.all(federation.sites.slice(1).map((site) => site.program.stop()));
    await holds('north is stale', async () => {
      expect((await directoryOf(north())).refusal).toBe('directory_stale');
    });
    await federation.sites[1]!.restart();
    await holds('north is fresh again', async () => {
      expect((await directoryOf(north())).refusal).toBeNull();
    });
  });
});
