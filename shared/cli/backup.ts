/** `qfl backup` and `qfl restore`: everything of a program in one sealed file, and back. */
import { createReadStream, existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import type { BackupHead } from '../backup/format.ts';
import { readBackup, restoreBackup } from '../backup/read.ts';
import { writeBackup } from '../backup/write.ts';
import { fromBase64, toBase64 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { readControlFile } from '../http/control.ts';
import { findMasterKey, type MasterKeySources, readKeysAtRest } from '../keys/master.ts';
import { secureRandomBytes as secureRandom } from '../random.ts';
import { writeWholeFile } from '../whole-file.ts';
import { connect } from './connect.ts';
import { ago, note, printJson, run, say } from './output.ts';
import { loadBackups } from './programs.ts';

type ProgramName = BackupHead['program'];

interface BackupOptions {
  readonly home?: string;
  readonly out: string;
  readonly masterKey?: string;
  readonly verify: boolean;
  readonly json?: boolean;
}

const sourcesOf = (home: string): MasterKeySources => ({
  home,
  environment: process.env['MASTER_KEY'],
  credentialsFolder: process.env['CREDENTIALS_DIRECTORY'],
});

const masterKeyOf = async (home: string, file: string | undefined): Promise<Uint8Array> => {
  const key =
    file === undefined
      ? await findMasterKey(sourcesOf(home))
      : fromBase64((await readFile(file, 'utf8')).trim());
  if (key === undefined || key.byteLength !== 32)
    throw new QflError('config_invalid', {
      detail: 'the master key is not here',
      next: 'Give it with --master-key FILE, or as MASTER_KEY.',
    });
  return key;
};

/** A folder with a privacy ledger is an agent's. */
const programIn = (home: string): ProgramName => {
  if (existsSync(join(home, 'ledger'))) return 'agent';
  if (existsSync(join(home, 'store'))) return 'coordinator';
  throw new QflError('config_invalid', {
    detail: `${home} holds neither a coordinator nor an agent`,
    next: 'Name its folder with --home.',
  });
};

const isRunning = async (home: string): Promise<boolean> => {
  const control = await readControlFile(home);
  if (control === undefined) return false;
  try {
    process.kill(control.pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Of the running program, through itself; of a stopped one, from its folder. */
async function* backupBytes(
  home: string,
  program: ProgramName,
  masterKey: Uint8Array,
): AsyncGenerator<Uint8Array> {
  if (await isRunning(home)) {
    const client = await connect({ home }, program);
    try {
      yield* client.bytes('POST', '/v1/admin/backup');
    } finally {
      await client.close();
    }
    return;
  }
  const opened = await (await loadBackups(program)).open(sourcesOf(home));
  try {
    const sources = { ...sourcesOf(home), environment: toBase64(masterKey) };
    yield* writeBackup(opened.source, await readKeysAtRest(sources, secureRandom));
  } finally {
    await opened.close();
  }
}

/** Bytes as they pass, shown on a terminal. */
const counted = (label: string, isShown: boolean) =>
  async function* count(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let total = 0;
    let shownMs = 0;
    for await (const piece of bytes) {
      total += piece.byteLength;
      if (isShown && Date.now() - shownMs > 200) {
        shownMs = Date.now();
        process.stderr.write(`\r${label} ${(total / 1e6).toFixed(1)} MB`);
      }
      yield piece;
    }
    if (isShown) process.stderr.write(`\r${label} ${(total / 1e6).toFixed(1)} MB\n`);
  };

/** Restores into a scratch folder and verifies everything there: a backup that was never restored is a hope. */
const verifyBackup = async (file: string, masterKey: Uint8Array): Promise<readonly string[]> => {
  const scratch = await mkdtemp(join(tmpdir(), 'qfl-restore-'));
  try {
    const folder = join(scratch, 'home');
    const { head } = await restoreBackup({ file, folder, masterKey, random: secureRandom });
    const environment = Buffer.from(masterKey).toString('base64');
    const { checks } = await (
      await loadBackups(head.program)
    ).check({ home: folder, environment, credentialsFolder: undefined });
    return checks;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
};

const backup = async (options: BackupOptions): Promise<void> => {
  const home = options.home ?? process.env['QFL_HOME'] ?? '.';
  const program = programIn(home);
  const masterKey = await masterKeyOf(home, options.masterKey);
  const isShown = options.json !== true && process.stderr.isTTY;
  let checks: readonly string[] = [];
  const size = await writeWholeFile(
    options.out,
    counted('written', isShown)(backupBytes(home, program, masterKey)),
    async (partial) => {
      if (options.verify) checks = await verifyBackup(partial, masterKey);
    },
  );
  if (options.json === true)
    return printJson({ file: options.out, program, bytes: size, verified: options.verify, checks });
  say(`Written to ${options.out} (${(size / 1e6).toFixed(1)} MB), sealed under the master key.`);
  for (const check of checks) say(`  restored in a scratch folder, ${check}`);
  say('Keep it away from this machine, and the master key away from it.');
};

/** Records of the key directory: base64, one a line, as `qfl agent directory` writes them. */
const readDirectory = async (file: string): Promise<readonly Uint8Array[]> => {
  const leaves: Uint8Array[] = [];
  for await (const line of createInterface({ input: createReadStream(file, 'utf8') }))
    if (line.trim() !== '') leaves.push(fromBase64(line.trim()));
  return leaves;
};

const headOf = async (file: string, masterKey: Uint8Array): Promise<BackupHead> => {
  for await (const part of readBackup(createReadStream(file), masterKey))
    if (part.kind === 'head') return part.head;
  throw new QflError('storage_failed', { detail: 'the backup does not say what it is' });
};

interface RestoreOptions {
  readonly home: string;
  readonly masterKey?: string;
  readonly directory?: string;
  readonly json?: boolean;
}

const restore = async (file: string, options: RestoreOptions): Promise<void> => {
  const home = resolve(options.home);
  const masterKey = await masterKeyOf(dirname(home), options.masterKey);
  const head = await headOf(file, masterKey);
  const directory = options.directory === undefined ? undefined : await readDirectory(options.directory);
  if (options.json !== true)
    note(`${head.program} ${head.name}, backed up ${ago(Date.now() - head.createdMs)} ago`);
  const { end } = await restoreBackup({ file, folder: home, masterKey, random: secureRandom });
  if (options.masterKey !== undefined)
    await writeWholeFile(
      join(home, 'master.key'),
      Buffer.from(`${Buffer.from(masterKey).toString('base64')}\n`),
    );
  const sources: MasterKeySources = {
    home,
    environment: Buffer.from(masterKey).toString('base64'),
    credentialsFolder: undefined,
  };
  const program = await loadBackups(head.program);
  try {
    const { checks } = await program.check(sources);
    const next = await program.finish(sources, head.createdMs, directory);
    if (options.json === true) return printJson({ home, ...head, ...end, checks, next });
    for (const check of checks) say(`  ${check}`);
    for (const line of next) say(line);
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    throw error;
  }
};

export const registerBackup = (program: Command): void => {
  program
    .command('backup')
    .description(
      'everything of a coordinator or an agent in one sealed file, while it runs; verified by restoring it',
    )
    .option('--home <DIR>', 'its folder (or QFL_HOME)')
    .requiredOption('--out <FILE>', 'file to write')
    .option('--master-key <FILE>', 'the master key, where it is not in the folder or in MASTER_KEY')
    .option('--no-verify', 'do not restore it into a scratch folder')
    .option('--json', 'print JSON')
    .action((options: BackupOptions) => run(() => backup(options), options.json ?? false));
  program
    .command('restore <FILE>')
    .description('put a backup into a new folder, verify it, and say what to do before it starts')
    .requiredOption('--home <DIR>', 'folder to make')
    .option('--master-key <FILE>', 'the master key it was made under (or MASTER_KEY); kept in the folder')
    .option(
      '--directory <FILE>',
      'of a coordinator: the key directory of a hospital, from "qfl agent directory"',
    )
    .option('--json', 'print JSON')
    .action((file: string, options: RestoreOptions) =>
      run(() => restore(file, options), options.json ?? false),
    );
};
