/** `qfl agent import|documents|key|opt-out|status`: through the running agent of a home folder, or on the folder itself when none runs. */
import { accessRulesOf } from '../../shared/access/rules.ts';
import type { Command } from 'commander';
import { z } from 'zod';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { connect, type TargetOptions, withClient, withTarget } from '../../shared/cli/connect.ts';
import { printJson, run, say, table } from '../../shared/cli/output.ts';
import { isErrorCode, QflError } from '../../shared/errors.ts';
import { readControlFile } from '../../shared/http/control.ts';
import { DepartmentId } from '../../shared/ids.ts';
import { CsvSchema } from '../../shared/wire/csv-schema.ts';
import { DataClass } from '../../shared/wire/envelope.ts';
import { loadConfig } from '../../shared/config/load.ts';
import { checkRole, importAll } from '../api/admin.ts';
import { BlockCounts } from '../records/blocks.ts';
import { ImportReportShape } from '../records/fhir/report.ts';
import type { ImportProgress } from '../records/import-fhir.ts';
import { generateHospital } from '../records/sample.ts';
import { homeOf, withHome } from './home.ts';
import { createImportProgressBar, formatImportResult } from './import-progress.ts';

/** Is an agent reachable that these options name? A control file may be left from a crash. */
const isRunning = async (options: TargetOptions): Promise<boolean> => {
  if (options.url !== undefined || process.env['QFL_URL'] !== undefined) return true;
  if ((await readControlFile(homeOf(options))) === undefined) return false;
  try {
    await withClient(connect(options, 'agent'), (client) => client.json('GET', '/health', z.unknown()));
    return true;
  } catch {
    return false;
  }
};

const Line = z.looseObject({ kind: z.enum(['progress', 'result', 'error']) });
const Progress = z.looseObject({
  file: z.string(),
  bytesDone: z.number(),
  bytesTotal: z.number(),
  counts: z.record(z.string(), z.number()),
  rejected: z.number(),
});
/** As `importFolder` returns it, whether it came from here or over HTTP. */
const Imported = z.object({ ...ImportReportShape.shape, resumed: z.boolean(), blocks: BlockCounts });
const Failure = z.looseObject({
  code: z.string(),
  detail: z.string().nullable(),
  next: z.string().nullable(),
});

const importThrough = (
  options: TargetOptions,
  body: object,
  tell: (progress: ImportProgress) => void,
): Promise<unknown> =>
  withClient(connect(options, 'agent'), async (client) => {
    for await (const line of client.ndjson('POST', '/v1/admin/import', Line, { body })) {
      if (line.kind === 'result') return line;
      if (line.kind === 'progress') tell(Progress.parse(line));
      else {
        const { code, detail, next } = Failure.parse(line);
        throw new QflError(isErrorCode(code) ? code : 'internal', {
          ...(detail === null ? {} : { detail }),
          ...(next === null ? {} : { next }),
        });
      }
    }
    throw new QflError('cut', {
      detail: 'the agent stopped in the middle of the import',
      next: 'Start the same import again: it goes on where it stopped.',
    });
  });

interface ImportCommand extends TargetOptions {
  readonly schema?: string;
}

/** @throws QflError `invalid_request` */
const schemaOf = async (file: string): Promise<CsvSchema> => {
  const next = 'See "Tables" in deploy/training.md for what a schema says.';
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new QflError('invalid_request', { detail: `the schema ${file} cannot be read`, next, cause });
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new QflError('invalid_request', { detail: `the schema ${file} is no JSON`, next, cause });
  }
  const parsed = CsvSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new QflError('invalid_request', {
    detail: `the schema ${file}: ${z.prettifyError(parsed.error)}`,
    next,
  });
};

const importFrom = async (folder: string, documents: boolean, options: ImportCommand): Promise<void> => {
  const schema = options.schema === undefined ? undefined : await schemaOf(options.schema);
  const body = { folder: resolve(folder), documents, ...(schema === undefined ? {} : { schema }) };
  const bar = options.json === true || documents ? undefined : createImportProgressBar(process.stderr);
  const tell = (progress: ImportProgress): void => bar?.onProgress(progress);
  try {
    const abort = new AbortController();
    process.once('SIGINT', () => abort.abort());
    const result = (await isRunning(options))
      ? await importThrough(options, body, tell)
      : await withHome(options, (home) => importAll(home, body, { role: 'operator' }, tell, abort.signal));
    bar?.stop();
    if (options.json === true || documents) printJson(result);
    else say(formatImportResult(Imported.parse(result)));
  } finally {
    bar?.stop();
  }
};

const KeyShown = z.looseObject({
  id: z.string(),
  name: z.string(),
  role: z.string(),
  department: z.string(),
  dataClass: DataClass,
  revoked: z.boolean(),
  createdMs: z.number(),
});
const Minted = z.object({ key: z.string(), record: KeyShown });

interface KeyOptions extends TargetOptions {
  readonly role: string;
  readonly department: string;
  readonly name?: string;
  readonly dataClass?: string;
}

const createKey = async (options: KeyOptions): Promise<void> => {
  const request = {
    name: options.name ?? `${options.role} in ${options.department}`,
    role: options.role,
    department: DepartmentId.parse(options.department),
    ...(options.dataClass === undefined ? {} : { dataClass: DataClass.parse(options.dataClass) }),
  };
  const minted = (await isRunning(options))
    ? await withClient(connect(options, 'agent'), (client) =>
        client.json('POST', '/v1/admin/keys', Minted, { body: request }),
      )
    : await withHome(options, async (home) => {
        await home.audit.record({
          action: 'key.created',
          outcome: 'begun',
          role: 'operator',
          objects: [{ kind: 'role', id: request.role }],
        });
        const { config } = await loadConfig('agent', { env: process.env });
        checkRole(new Set(accessRulesOf(config.security).table.roles), request.role);
        return home.apiKeys.mint({ dataClass: config.security.defaultDataClass, ...request });
      });
  if (options.json === true) return printJson(minted);
  say(
    `${minted.key}\n\nShown once; only its hash is kept. Role ${request.role}, department ${request.department}, data class ${minted.record.dataClass}, user "${request.name}".`,
  );
};

const listKeys = async (options: TargetOptions): Promise<void> => {
  const { keys } = await withClient(connect(options, 'agent'), (client) =>
    client.json('GET', '/v1/admin/keys', z.object({ keys: z.array(KeyShown) })),
  );
  if (options.json === true) return printJson(keys);
  say(
    table(
      ['id', 'user', 'role', 'department', 'class', 'state'],
      keys.map((key) => [
        key.id,
        key.name,
        key.role,
        key.department,
        key.dataClass,
        key.revoked ? 'revoked' : 'valid',
      ]),
    ),
  );
};

const showStatus = async (options: TargetOptions): Promise<void> => {
  const status = await withClient(connect(options, 'agent'), (client) =>
    client.json('GET', '/status', z.record(z.string(), z.unknown())),
  );
  if (options.json === true) return printJson(status);
  for (const [name, value] of Object.entries(status))
    say(`${name.padEnd(14)} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
};

const writeSample = async (
  folder: string,
  options: { site: string; patients: string; json?: boolean },
): Promise<void> => {
  const made = await generateHospital(resolve(folder), {
    site: options.site,
    patients: Number(options.patients),
  });
  if (options.json === true) return printJson(made);
  say(
    `Generated records (no real person) in ${made.recordsFolder}, ${made.documents} documents in ${made.documentsFolder}.`,
  );
};

export const registerLocal = (agent: Command): void => {
  agent
    .command('sample <DIR>')
    .description('write the generated records and documents of a demonstration hospital')
    .requiredOption('--site <NAME>', 'each name gives other records')
    .option('--patients <COUNT>', 'how many', '400')
    .option('--json', 'print JSON')
    .action((folder: string, options: { site: string; patients: string; json?: boolean }) =>
      run(() => writeSample(folder, options), options.json ?? false),
    );
  withTarget(
    agent
      .command('import <PATH>')
      .description(
        'FHIR R4 records of a folder: bulk NDJSON (gzip or not) and transaction bundles; or, with --schema, a CSV table',
      ),
    'agent',
  )
    .option('--schema <FILE>', 'what the columns of the table PATH mean, as JSON')
    .action((path: string, options: ImportCommand) =>
      run(() => importFrom(path, false, options), options.json ?? false),
    );
  withTarget(
    agent
      .command('documents <DIR>')
      .description('internal documents (.md, .txt) that extractive-local quotes'),
    'agent',
  ).action((folder: string, options: TargetOptions) =>
    run(() => importFrom(folder, true, options), options.json ?? false),
  );
  withTarget(agent.command('opt-out <PATIENT>').description('never count this patient again'), 'agent')
    .option('--withdraw', 'count the patient again')
    .action((patient: string, options: TargetOptions & { withdraw?: boolean }) =>
      run(async () => {
        const optedOut = options.withdraw !== true;
        if (await isRunning(options))
          await withClient(connect(options, 'agent'), (client) =>
            client.json('POST', '/v1/admin/opt-outs', z.unknown(), { body: { patient, optedOut } }),
          );
        else
          await withHome(options, (home) =>
            optedOut ? home.records.optOut(patient) : home.records.withdrawOptOut(patient),
          );
        if (options.json === true) printJson({ optedOut });
        else say(optedOut ? 'Opted out; it counts from now on.' : 'Opt-out withdrawn.');
      }, options.json ?? false),
    );
  const key = agent.command('key').description('API keys of this site');
  withTarget(key.command('create').description('make a key; it is shown once'), 'agent')
    .requiredOption('--role <ROLE>', 'doctor, nurse, researcher, admin …')
    .requiredOption('--department <NAME>', 'whose budget it uses')
    .option('--name <NAME>', 'whose key it is; keys of one name share one user budget')
    .option(
      '--data-class <CLASS>',
      'the most sensitive class it may send, and the class of requests that name none; security_level of the configuration by default',
    )
    .action((options: KeyOptions) => run(() => createKey(options), options.json ?? false));
  withTarget(key.command('list').description('all keys'), 'agent').action((options: TargetOptions) =>
    run(() => listKeys(options), options.json ?? false),
  );
  withTarget(key.command('revoke <ID>').description('end a key at once'), 'agent').action(
    (id: string, options: TargetOptions) =>
      run(async () => {
        const shown = await withClient(connect(options, 'agent'), (client) =>
          client.json('DELETE', `/v1/admin/keys/${encodeURIComponent(id)}`, KeyShown),
        );
        if (options.json === true) printJson(shown);
        else say(`Key ${shown.id} is revoked.`);
      }, options.json ?? false),
  );
  withTarget(agent.command('status').description('how the running agent is'), 'agent').action(
    (options: TargetOptions) => run(() => showStatus(options), options.json ?? false),
  );
};
