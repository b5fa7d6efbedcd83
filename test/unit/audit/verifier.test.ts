/** The verifier as a program of its own: what it is made of, what it says on the command line, and a second one written from the page alone. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Encrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VerifyReport } from './verify-report.ts';
import { EVERYTHING } from '../../../shared/audit/export.ts';
import { utf8 } from '../../../shared/bytes.ts';
import { exportOf, keysLogOf, openTestLog, POLICY, signerOf } from './export-fixture.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const main = path.join(root, 'dist/shared/audit/verify/main.js');
const second = path.join(root, 'test/fixtures/verify_export.py');
const pythonMissing = spawnSync('python3', ['--version']).status !== 0;

let folder: string;
let tar: Buffer;
const place = (name: string): string => path.join(folder, name);
const write = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(place(name), bytes);
  return place(name);
};
const verify = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
};

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'qfl-verifier-'));
  const { log } = await openTestLog('coordinator', 23, undefined, (index) => index * 1_000);
  const selection = {
    ...EVERYTHING,
    fromMs: 3_000,
    toMs: 19_000,
    filter: { outcome: 'ok' },
    wants: ({ counter }: { counter: number }) => counter % 3 !== 0,
  };
  tar = await exportOf([log, await keysLogOf([utf8('a'), utf8('b'), utf8('c')])], { selection });
  write('audit.tar', tar);
  for (const [file, byte] of [
    ['restored.tar', 2],
    ['forged.tar', 9],
  ] as const)
    write(file, await exportOf([(await openTestLog('north', 3, signerOf('f/north.1', byte))).log]));
  write('policy.txt', POLICY);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Files that a program loads, and packages by name. */
const closure = (
  file: string,
  seen = new Set<string>(),
  packages = new Set<string>(),
): ReadonlySet<string>[] => {
  if (seen.has(file)) return [seen, packages];
  seen.add(file);
  for (const [, named = '', imported = ''] of readFileSync(file, 'utf8').matchAll(
    /(?:^\}|^import .*|^export .*) from '([^']+)';$|import\('([^']+)'\)/gm,
  )) {
    const from = named || imported;
    if (from.startsWith('.')) closure(path.resolve(path.dirname(file), from), seen, packages);
    else packages.add(from);
  }
  return [seen, packages];
};

describe('the verifier', () => {
  it('imports neither program, opens no connection and no store', () => {
    const [files = new Set<string>(), packages = new Set<string>()] = closure(
      path.join(root, 'shared/audit/verify/main.ts'),
    );
    const folders = new Set(
      [...files].map((file) => path.relative(root, file).split(path.sep).slice(0, 2).join('/')),
    );
    expect([...folders].filter((one) => one.startsWith('agent') || one.startsWith('coordinator'))).toEqual(
      [],
    );
    expect(
      [...folders].filter((one) => /^shared\/(store|http|client|config|cli|keys|directory)/.test(one)),
    ).toEqual([]);
    const network = [
      'node:net',
      'node:http',
      'node:https',
      'node:tls',
      'node:dns',
      'node:dgram',
      'node:http2',
    ];
    expect([...packages].filter((one) => network.includes(one))).toEqual([]);
    expect([...packages].filter((one) => !isBuiltin(one)).toSorted()).toEqual([
      '@noble/post-quantum/ml-dsa.js',
      'age-encryption',
      'libsodium-wrappers',
      'zod',
    ]);
  });

  it('answers with its exit code', () => {
    expect(verify(place('audit.tar'), '--policy', place('policy.txt'))).toMatchObject({ status: 0 });
    const nobody = verify(place('audit.tar'));
    expect(nobody.status).toBe(4);
    expect(nobody.stdout).toContain('signer not authenticated');
    const changed = Buffer.from(tar);
    changed[tar.indexOf('"counter":7') - 40]! ^= 1;
    const tampered = verify(write('changed.tar', changed), '--policy', place('policy.txt'), '--json');
    expect(tampered.status).toBe(2);
    expect(VerifyReport.parse(JSON.parse(tampered.stdout)).findings).toContainEqual(
      expect.objectContaining({ log: 'coordinator', index: 7 }),
    );
    expect(verify(write('cut.tar', tar.subarray(0, -3_000))).status).toBe(3);
    expect(verify(place('none.tar')).status).toBe(1);
    expect(verify('--nonsense').status).toBe(1);
  });

  it('opens what is encrypted to an auditor, and finds it changed or cut', async () => {
    const identity = await generateIdentity();
    const encrypter = new Encrypter();
    encrypter.addRecipient(await identityToRecipient(identity));
    const sealed = await encrypter.encrypt(tar);
    const policy = ['--policy', place('policy.txt')];
    const key = ['--identity', write('key.txt', `# auditor\n${identity}\n`)];
    expect(verify(write('sealed.age', sealed), ...policy, ...key).status).toBe(0);
    expect(verify(place('sealed.age'), ...policy)).toMatchObject({ status: 1 });
    const other = ['--identity', write('other.txt', await generateIdentity())];
    expect(verify(place('sealed.age'), ...policy, ...other).status).toBe(1);
    for (const at of [300, 5_000, sealed.length - 1]) {
      const changed = Uint8Array.from(sealed);
      changed[at]! ^= 1;
      expect([at, verify(write('bad.age', changed), ...policy, ...key).status]).toEqual([at, 2]);
    }
    // The line of the recipient changed: then it is somebody else's file, as far as anybody can tell.
    const readdressed = Uint8Array.from(sealed);
    // Another letter of the alphabet: what is none would be a malformed file.
    readdressed[40] = readdressed[40] === 0x42 ? 0x43 : 0x42;
    expect(verify(write('other.age', readdressed), ...policy, ...key).status).toBe(1);
    expect(verify(write('cut.age', sealed.subarray(0, sealed.length - 100)), ...policy, ...key).status).toBe(
      2,
    );
  });
});

describe.skipIf(pythonMissing)(
  `a second verifier, from the page alone${pythonMissing ? ' (skipped: python3 is not here)' : ''}`,
  () => {
    const answers = (...files: string[]): string[] =>
      spawnSync('python3', [second, ...files], { encoding: 'utf8' })
        .stdout.trimEnd()
        .split('\n');

    it('agrees: good, and every change that is not in a signature', () => {
      expect(answers(place('audit.tar'))).toEqual(['good']);
      const start = tar.indexOf('coordinator/proof\0');
      const files = Array.from({ length: 60 }, (_, at) => {
        const changed = Buffer.from(tar);
        changed[start + Math.floor((at * (tar.length - start)) / 60)]! ^= 1 << (at % 8);
        return write(`flip-${at}.tar`, changed);
      });
      for (const answer of answers(...files)) expect(answer).not.toBe('good');
      expect(answers(place('restored.tar'))).toEqual(['good']);
      expect(answers(place('forged.tar'))[0]).toMatch(/^tampered/);
      expect(answers(write('short.tar', tar.subarray(0, -3_000)))[0]).toMatch(/^incomplete/);
    });
  },
);
