/** A whole agent home put back from an old copy: noticed on the first connection, refused, restored, stated, and serving again. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { eventually, qfl } from '../fixtures/processes.ts';
import { type Answer, call, type Federation, type Site, startFederation } from './federation.ts';

const Verified = z.looseObject({
  sound: z.boolean(),
  faults: z.array(z.string()),
  epoch: z.number(),
  lifetimeUnits: z.string(),
  countersigned: z.object({ epoch: z.number(), counter: z.number() }).nullable(),
});
const Restored = z.looseObject({
  epoch: z.number(),
  spentBeforeUnits: z.string(),
  spentAfterUnits: z.string(),
});

let federation: Federation;
let site: Site;
let peer: Site;
let key: string;

const count = (): Promise<Answer> =>
  call(`${site.url}/v1/stats`, {
    key,
    body: { count: 'Condition', where: ['code=38341003'], epsilon: '0.1' },
  });
/** Another hospital asks this one: its receipt stays with the asker. */
const askFromPeer = async (peerKey: string): Promise<void> => {
  await eventually('the peer can ask', async () => {
    const body = { count: 'Condition', where: ['code=38341003'], epsilon: '0.1', sites: ['solo'] };
    return (await call(`${peer.url}/v1/stats`, { key: peerKey, body })).status === 200;
  });
};
const ledgerCommand = async (...args: string[]) => {
  const { code, out } = await qfl(['agent', 'ledger', ...args, '--home', site.home, '--json']);
  return { code, body: JSON.parse(out) as unknown };
};
const verify = async () => {
  const { code, body } = await ledgerCommand('verify');
  return { code, report: Verified.parse(body) };
};
const decision = ['--by', 'Dr Admin', '--reason', 'the server room flooded'];

beforeAll(async () => {
  federation = await startFederation({
    sites: [{ name: 'solo' }, { name: 'peer' }],
    logLevel: 'warn',
  });
  site = federation.site('solo');
  peer = federation.site('peer');
  const sample = join(federation.folder, 'sample');
  await qfl(['agent', 'sample', sample, '--site', 'solo', '--patients', '12']);
  await qfl(['agent', 'import', join(sample, 'fhir'), '--home', site.home]);
  key = await site.key('doctor', 'icu');
});
afterAll(() => federation.close());

describe('an older copy of the home', () => {
  const backup = (): string => join(federation.folder, 'backup');
  let truth = 0n;

  test('the agent stops with its last record countersigned, and the ledger is sound', async () => {
    for (let asked = 0; asked < 3; asked += 1) expect((await count()).status).toBe(200);
    await site.program.stop();
    const { code, report } = await verify();
    expect({ code, report }).toMatchObject({ code: 0, report: { sound: true, epoch: 0 } });
    await cp(site.home, backup(), { recursive: true });
    await site.restart();
    for (let asked = 0; asked < 4; asked += 1) expect((await count()).status).toBe(200);
    const peerKey = await peer.key('doctor', 'icu');
    for (let asked = 0; asked < 2; asked += 1) await askFromPeer(peerKey);
    await site.program.stop();
    const later = await verify();
    expect(later.report.countersigned!.counter).toBeGreaterThan(report.countersigned!.counter);
    truth = BigInt(later.report.lifetimeUnits);
    expect(truth > BigInt(report.lifetimeUnits)).toBe(true);
  });

  test('put back, it serves no statistic once the coordinator told it of its newer head', async () => {
    await rm(site.home, { recursive: true });
    await cp(backup(), site.home, { recursive: true });
    // By itself it looks sound.
    expect((await verify()).report.sound).toBe(true);
    await site.restart();
    await eventually('the older copy is refused', async () => {
      const answer = await count();
      return answer.status === 503 && JSON.stringify(answer.body).includes('ledger_refuses');
    });
    expect(JSON.stringify((await count()).body)).toContain('behind its anchor');
    await site.program.stop();
    const { code, report } = await verify();
    expect(code).toBe(1);
    expect(report.faults.join()).toContain('behind its anchor');
  });

  test('restored, it counts at least what was spent, and nothing is admitted before a statement', async () => {
    const wrong = join(federation.folder, 'wrong.json');
    await writeFile(wrong, '{"not":"a receipt"}\n');
    expect((await ledgerCommand('restore', '--from', wrong, ...decision)).code).not.toBe(0);
    const receipts = join(federation.folder, 'receipts.ndjson');
    expect(
      (await qfl(['agent', 'receipts', '--site', 'solo', '--out', receipts, '--home', peer.home])).code,
    ).toBe(0);
    expect((await readFile(receipts, 'utf8')).trim().split('\n')).toHaveLength(2);
    const { code, body } = await ledgerCommand('restore', '--from', receipts, ...decision);
    expect(code).toBe(0);
    const report = Restored.parse(body);
    expect(report).toMatchObject({ epoch: 1, receipts: { given: 2, known: 0, charged: 2 } });
    expect(BigInt(report.spentAfterUnits)).toBe(truth);
    await site.restart();
    const refused = await count();
    expect(JSON.stringify(refused.body)).toContain('site_lifetime was restored');
    await site.program.stop();
  });

  test('stated, the lifetime ledger serves again; today stays used up, and a new head of a new epoch is countersigned', async () => {
    expect((await ledgerCommand('state', '--epsilon', '0.5', ...decision)).code).toBe(0);
    await site.restart();
    await federation.settled();
    const refused = await count();
    expect(refused.status).toBe(403);
    expect(JSON.stringify(refused.body)).toContain('asking_site_day was restored');
    await site.program.stop();
    const { code, report } = await verify();
    expect({ code, report }).toMatchObject({ code: 0, report: { epoch: 1, countersigned: { epoch: 1 } } });
    expect(BigInt(report.lifetimeUnits) > truth).toBe(true);
    const compacted = await ledgerCommand('compact', '--keep-days', '2');
    expect(compacted).toMatchObject({ code: 0, body: { compacted: false } });
    expect((await ledgerCommand('show', '--limit', '5')).code).toBe(0);
  });
});
