/** The first administrator, a second factor, a second person, a lockdown and its end, by the commands that people type. */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'otplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { answerTotp } from '../fixtures/totp.ts';
import { printedBy, type Program, qfl, qflError, qflJson, startProgram } from '../fixtures/processes.ts';

const PASSWORD = 'Nine green bottles, 9 of them';
const NEW_PASSWORD = 'Ten blue bottles, 10 of them';
let folder = '';
let program: Program;
let home = '';
let code = '';

/** Each person has a login file of their own. */
const as = (person: string) => ({ QFL_LOGIN_FILE: join(folder, `${person}.json`) });
const at = (...args: string[]): string[] => [...args, '--home', home];
const secrets: string[] = [PASSWORD, NEW_PASSWORD];
const recovery: Record<string, readonly string[]> = {};

/** Sets the second factor up as a person does: reads the secret, types the code that an app would show. */
const setUpFactor = async (person: string): Promise<readonly string[]> => {
  const codes = await answerTotp(at('account', 'totp', '--json'), as(person), (secret) => {
    secrets.push(secret);
    return generate({ secret });
  });
  secrets.push(...codes);
  return codes;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qfl-accounts-'));
  home = join(folder, 'home');
  const made = await qflJson(z.looseObject({ setupCode: z.string() }), [
    'coordinator',
    'init',
    '--home',
    home,
  ]);
  code = made.setupCode;
  program = startProgram([
    'coordinator',
    'start',
    '--home',
    home,
    '--port',
    '0',
    '--log-level',
    'trace',
    '--json',
  ]);
  await printedBy(program, z.looseObject({ url: z.string() }), 'the coordinator is ready');
});
afterAll(async () => {
  await program.kill();
  await rm(folder, { recursive: true, force: true });
});

describe('people at a coordinator', () => {
  test('the first administrator comes in with the setup code, signs in, and gets a second factor', async () => {
    const setup = at('account', 'setup', '--code', code, '--username', 'alice');
    expect((await qfl(setup, {}, 'short\n')).err).toContain('the password needs');
    expect((await qfl(setup, {}, `${PASSWORD}\n`)).out).toContain('alice is there');
    expect((await qfl(setup, {}, `${PASSWORD}\n`)).err).toContain('setup code');
    const wrong = await qfl(at('login', '--username', 'alice'), as('alice'), 'wrong\n');
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('not right')]);
    const login = await qfl(at('login', '--username', 'alice'), as('alice'), `${PASSWORD}\n`);
    expect(login.out).toContain('second factor');
    expect((await stat(join(folder, 'alice.json'))).mode & 0o777).toBe(0o600);
    expect((await qflError(at('account', 'list'), as('alice'))).detail).toContain('second factor');
    recovery['alice'] = await setUpFactor('alice');
    expect(recovery['alice']).toHaveLength(10);
    const listed = await qflJson(
      z.array(z.looseObject({ username: z.string() })),
      at('account', 'list'),
      as('alice'),
    );
    expect(listed.map(({ username }) => username)).toEqual(['alice']);
  });

  test('a second one gets a one-time password, and sets another', async () => {
    const Made = z.looseObject({ oneTimePassword: z.string() });
    const { oneTimePassword } = await qflJson(
      Made,
      at('account', 'create', 'bob', '--role', 'admin'),
      as('alice'),
    );
    secrets.push(oneTimePassword);
    await qfl(at('login', '--username', 'bob'), as('bob'), `${oneTimePassword}\n`);
    const changed = await qfl(at('account', 'password'), as('bob'), `${oneTimePassword}\n${NEW_PASSWORD}\n`);
    expect(changed.out).toContain('changed');
    recovery['bob'] = await setUpFactor('bob');
  });

  test('a lockdown ends every sign-in at once; a recovery code brings each of the two back to end it', async () => {
    const on = await qfl(at('lockdown', 'on', '--reason', 'a drill'), as('alice'));
    expect(on.out).toContain('LOCKDOWN');
    expect((await qflError(at('lockdown', 'off'), as('alice'))).code).toBe('unauthenticated');
    for (const [person, password] of [
      ['alice', PASSWORD],
      ['bob', NEW_PASSWORD],
    ] as const) {
      const back = at('login', '--username', person, '--code', recovery[person]?.[0] ?? '');
      const login = await qfl(back, as(person), `${password}\n`);
      expect(login.err + login.out).toContain('Signed in');
    }
    expect((await qfl(at('lockdown', 'off'), as('alice'))).out).toContain('proposed');
    expect((await qflError(at('lockdown', 'off'), as('alice'))).code).toBe('forbidden');
    expect((await qfl(at('lockdown', 'status'), as('bob'))).out).toContain('another administrator');
    expect((await qfl(at('lockdown', 'off'), as('bob'))).out).toContain('over');
    expect((await qfl(at('lockdown', 'status'), as('bob'))).out).toContain('no lockdown');
  });

  test('an incident report has the lockdown, the clock of 72 hours and a draft', async () => {
    const out = join(folder, 'report');
    await qfl(at('audit', 'report', '--incident', '--from', '24h', '--out', out), as('alice'));
    const report = z
      .looseObject({
        notifyByMs: z.number(),
        awareMs: z.number(),
        timeline: z.array(z.looseObject({ action: z.string() })),
      })
      .parse(JSON.parse(await readFile(join(out, 'report.json'), 'utf8')));
    expect(report.notifyByMs - report.awareMs).toBe(72 * 3_600_000);
    expect(report.timeline.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['lockdown.changed', 'tokens.revoked']),
    );
    const draft = await readFile(join(out, 'notice.md'), 'utf8');
    expect(draft).toContain('all processing stopped');
    expect(draft).toContain('_to be filled in_');
  });

  test('sign-out ends the session, and no password, code or name is in any log', async () => {
    expect((await qfl(at('logout'), as('bob'))).out).toContain('Signed out');
    expect((await qflError(at('account', 'password'), as('bob'))).code).not.toBe('');
    const log = program.printed();
    expect(log.length).toBeGreaterThan(1_000);
    for (const secret of secrets) if (secret !== '') expect(log).not.toContain(secret);
    expect(log).not.toMatch(/alice|bob/);
  });
});
