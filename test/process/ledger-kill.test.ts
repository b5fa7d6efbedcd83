import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createIn, numberedAnswer, numberedRequest, openIn } from './ledger-fixture.ts';

const CHILD = fileURLToPath(new URL('../../dist/test/process/ledger-child.js', import.meta.url));
const nightly = process.env['QFL_NIGHTLY'] === '1';
/** Kills of one ledger; each time it is opened and verified whole, so it is not left to grow for hundreds of them. */
const KILLS = 25;
const LEDGERS = nightly ? 20 : 1;
/** Query numbers of one child; none charges so many before it is killed. */
const NUMBERS = 1_000_000;

let folder = '';
beforeEach(async () => {
  if (!existsSync(CHILD)) throw new Error('the child program is not built: run npm run build first');
  folder = await mkdtemp(path.join(tmpdir(), 'qfl-ledger-kill-'));
  await createIn(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs a child, kills it with -9 some time after its first acknowledgement, returns the lines it wrote. */
const killedChild = (first: number, afterMs: number): Promise<string[]> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, folder, String(first)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text: string) => {
      output += text;
      timer ??= setTimeout(() => child.kill('SIGKILL'), afterMs);
    });
    child.on('error', reject);
    child.on('close', (_code, signal) => {
      clearTimeout(timer);
      // The last line may have been cut by the kill.
      if (signal === 'SIGKILL') resolve(output.split('\n').slice(0, -1));
      else reject(new Error(`the child ended by itself: ${output.slice(-200)}`));
    });
  });

test.each(Array.from({ length: LEDGERS }, (_, at) => at))(
  `ledger %i, killed with -9 ${KILLS} times: every acknowledged spend and answer is there`,
  async (at) => {
    const charged: number[] = [];
    const answered: number[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      const lines = await killedChild(kill * NUMBERS, ((at * KILLS + kill) * 37) % 120);
      for (const line of lines) {
        const [what, number] = line.split(' ');
        (what === 'charged' ? charged : answered).push(Number(number));
      }
      const { ledger, close } = await openIn(folder, folder);
      const [cost] = ledger.readings(numberedRequest(0));
      const { costs } = ledger.quote(numberedRequest(0), numberedRequest(0).mechanisms);
      expect(cost!.spentUnits >= BigInt(charged.length) * costs.site_lifetime).toBe(true);
      for (const number of answered.slice(-50)) {
        const repeat = await ledger.reserve(numberedRequest(number));
        expect(
          repeat.status === 'answered' && Buffer.from(repeat.sealedAnswer).equals(numberedAnswer(number)),
        ).toBe(true);
      }
      expect(ledger.status().openReservations).toBe(0);
      await close();
    }
    expect(answered.length).toBeGreaterThan(KILLS);
  },
  120_000,
);

test('a second process is refused while one holds the ledger', async () => {
  const { close } = await openIn(folder, folder);
  const other = await mkdtemp(path.join(tmpdir(), 'qfl-ledger-other-'));
  try {
    // Another store, so that only the ledger's own lock can refuse.
    await expect(openIn(folder, other)).rejects.toMatchObject({ code: 'conflict' });
    const child = spawn(process.execPath, [CHILD, folder, '0'], { stdio: 'ignore' });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).not.toBe(0);
  } finally {
    await close();
    await rm(other, { recursive: true, force: true });
  }
});
