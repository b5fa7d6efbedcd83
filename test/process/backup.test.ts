/** Backups of running programs, and a life after them: sealed, verified, restored elsewhere, never with less spend. */
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { eventually, qfl, qflError, qflJson } from '../fixtures/processes.ts';
import { type Answer, call, type Federation, type Site, startFederation } from './federation.ts';

const Written = z.looseObject({
  file: z.string(),
  bytes: z.number(),
  verified: z.boolean(),
  checks: z.array(z.string()),
});
const Restored = z.looseObject({ home: z.string(), checks: z.array(z.string()), next: z.array(z.string()) });
let federation: Federation;
let north: Site;
let south: Site;
let key = '';

const count = (): Promise<Answer> =>
  call(`${north.url}/v1/stats`, {
    key,
    body: { count: 'Condition', where: ['code=38341003'], epsilon: '0.1' },
  });
/** An export of every log, verified against what a hospital says about the keys, with the log of that name in it. */
const exportIsGood = async (origin: string): Promise<boolean> => {
  const { folder, coordinator } = federation;
  const [file, policy] = [join(folder, 'audit.tar'), join(folder, 'policy.txt')];
  await rm(file, { force: true });
  await rm(policy, { force: true });
  expect(await qfl(['audit', 'policy', '--home', south.home, '--out', policy])).toMatchObject({ code: 0 });
  const made = await qfl(['audit', 'export', '--home', coordinator.home, '--out', file]);
  expect(made).toMatchObject({ code: 0 });
  const { code, out } = await qfl(['audit', 'verify', file, '--policy', policy, '--json']);
  return code === 0 && out.includes(`"${origin}"`);
};
const masterOf = (home: string): string => join(home, 'master.key');

beforeAll(async () => {
  federation = await startFederation({ sites: [{ name: 'north' }, { name: 'south' }], logLevel: 'warn' });
  [north, south] = [federation.site('north'), federation.site('south')];
  const sample = join(federation.folder, 'sample');
  await qfl(['agent', 'sample', sample, '--site', 'north', '--patients', '12']);
  await qfl(['agent', 'import', join(sample, 'fhir'), '--home', north.home]);
  key = await north.key('doctor', 'icu');
});
afterAll(() => federation.close());

describe('a backup', () => {
  const file = (): string => join(federation.folder, 'north.backup');

  test('of a running agent is sealed, whole, and verified by restoring it', async () => {
    expect((await count()).status).toBe(200);
    const written = await qflJson(Written, ['backup', '--home', north.home, '--out', file()]);
    expect(written.verified).toBe(true);
    expect(written.checks.join()).toMatch(/privacy ledger: \d+ records, sound/);
    const bytes = await readFile(file());
    for (const secret of ['qfl_', 'Condition', 'site.joined', 'master'])
      expect(bytes.includes(secret)).toBe(false);
    expect((await stat(file())).mode & 0o777).toBe(0o600);
  });

  test('that is cut, changed or opened under another key is refused, and leaves nothing behind', async () => {
    const bytes = await readFile(file());
    const into = join(federation.folder, 'never');
    const attempt = async (changed: Uint8Array, master = masterOf(north.home)): Promise<string> => {
      const bad = join(federation.folder, 'bad.backup');
      await writeFile(bad, changed);
      return (await qflError(['restore', bad, '--home', into, '--master-key', master])).code;
    };
    const flipped = (at: number): Uint8Array => {
      const copy = Buffer.from(bytes);
      copy[at] = copy[at]! ^ 1;
      return copy;
    };
    for (const at of [3, 20, 60, Math.floor(bytes.byteLength / 2), bytes.byteLength - 1])
      expect(await attempt(flipped(at))).toBe('storage_failed');
    for (const end of [10, Math.floor(bytes.byteLength / 2), bytes.byteLength - 30])
      expect(await attempt(bytes.subarray(0, end))).toBe('storage_failed');
    expect(await attempt(Buffer.concat([bytes, Buffer.alloc(1)]))).toBe('storage_failed');
    expect(await attempt(bytes, masterOf(south.home))).toBe('storage_failed');
    await expect(stat(into)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('put in place of a later home shows no less spend: it serves nothing before its ledger is restored', async () => {
    for (let asked = 0; asked < 3; asked += 1) expect((await count()).status).toBe(200);
    await north.program.stop();
    const lost = `${north.home}.lost`;
    await rename(north.home, lost);
    const restored = await qflJson(Restored, [
      'restore',
      file(),
      '--home',
      north.home,
      '--master-key',
      masterOf(lost),
    ]);
    expect(restored.next.join(' ')).toContain('never less');
    await north.restart();
    await eventually('the older ledger is refused', async () => {
      const answer = await count();
      return answer.status === 503 && JSON.stringify(answer.body).includes('ledger_refuses');
    });
    await eventually(
      'the log that goes on is cosigned, and an export of it is good by a hospital’s policy',
      () => exportIsGood('qfl/test/audit/north.1'),
    );
    await north.program.stop();
    const audit = await qfl(['agent', 'ledger', 'verify', '--home', north.home, '--json']);
    expect(audit.code).toBe(1);
    await rm(north.home, { recursive: true });
    await rename(lost, north.home);
    await north.restart();
    await federation.settled();
    expect((await count()).status).toBe(200);
  });
});

describe('a coordinator restored from a backup', () => {
  test('takes the newer directory of a hospital, and the federation goes on with an audit log that names the one before', async () => {
    const { coordinator } = federation;
    const file = join(federation.folder, 'coordinator.backup');
    await qflJson(Written, ['backup', '--home', coordinator.home, '--out', file]);
    const sizeOf = async (): Promise<number> => {
      const { body } = await south.asOperator('/v1/directory');
      return z.looseObject({ size: z.number() }).parse(body).size;
    };
    const before = await sizeOf();
    // The directory grows after the backup.
    const west = await qflJson(z.looseObject({ token: z.string() }), [
      'site',
      'invite',
      'west',
      '--auto-approve',
      '--home',
      coordinator.home,
    ]);
    await qfl([
      'agent',
      'join',
      coordinator.url,
      '--token',
      west.token,
      '--home',
      join(federation.folder, 'west'),
    ]);
    await eventually('the hospital mirrors the new record', async () => (await sizeOf()) > before);
    const directory = join(federation.folder, 'directory.ndjson');
    expect((await qfl(['agent', 'directory', '--out', directory, '--home', south.home])).code).toBe(0);
    await coordinator.program.stop();
    const lost = `${coordinator.home}.lost`;
    await rename(coordinator.home, lost);
    const restored = await qflJson(Restored, [
      'restore',
      file,
      '--home',
      coordinator.home,
      '--master-key',
      masterOf(lost),
      '--directory',
      directory,
    ]);
    expect(restored.next.join(' ')).toMatch(/up to date: [1-9]/);
    await coordinator.restart();
    await federation.settled();
    await eventually('statistics are answered again', async () => (await count()).status === 200);
    const Page = z.looseObject({ entries: z.array(z.looseObject({ action: z.string() })) });
    const { body } = await coordinator.asOperator('/security/audit?order=oldest&limit=5');
    expect(Page.parse(body).entries[0]?.action).toBe('log.restored');
    const checkpoint = await call(`${coordinator.url}/v1/log/audit/checkpoint`);
    expect(String(checkpoint.body).split('\n')[0]).toBe('qfl/test/audit.1');
    await eventually('hospitals cosign the new log', async () => {
      const { body: note } = await call(`${coordinator.url}/v1/log/audit/checkpoint`);
      return String(note).split('\n— ').length > 3;
    });
    await eventually('an export is good by the policy of a hospital that joined before', () =>
      exportIsGood('qfl/test/audit.1'),
    );
  });
});
