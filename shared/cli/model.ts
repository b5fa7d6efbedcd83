/** `qfl model …`: trained models in the coordinator's registry. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { utf8 } from '../bytes.ts';
import { QflError } from '../errors.ts';
import { createMlflowClient } from '../mlflow/client.ts';
import { credentialsOf, exportToMlflow } from '../mlflow/export.ts';
import { checkDigest, recordOf } from '../models/record.ts';
import { writeWholeFile } from '../whole-file.ts';
import { ModelName, ModelStage, type ModelShown, type SignedModel, VersionRef } from '../wire/model.ts';
import { type TargetOptions, withTarget } from './connect.ts';
import { withCoordinator } from './coordinator.ts';
import { modelCard, modelTable, versionTable, versionText } from './model-text.ts';
import { printJson, run, say } from './output.ts';

/** @throws QflError `invalid_request` */
const paramsOf = (name: string, version: string): { readonly name: string; readonly version: string } => {
  const checked = ModelName.safeParse(name);
  if (!checked.success)
    throw new QflError('invalid_request', {
      detail: `"${name}" is no model name`,
      next: 'See the names with "qfl model list".',
    });
  if (!VersionRef.safeParse(version).success)
    throw new QflError('invalid_request', {
      detail: `"${version}" is no version`,
      next: 'Give its number, or latest, production or staging.',
    });
  return { name, version };
};

interface ListOptions extends TargetOptions {
  readonly stage?: string;
  readonly after?: string;
  readonly before?: string;
  readonly limit?: string;
}

const countOf = (text: string | undefined): { readonly limit?: number } =>
  text === undefined ? {} : { limit: Number(text) };

const listModels = async ({ after, limit, ...options }: ListOptions): Promise<void> => {
  const page = await withCoordinator(options, ({ models }) =>
    models.list({ query: { ...(after === undefined ? {} : { after }), ...countOf(limit) } }),
  );
  if (options.json === true) return printJson(page);
  if (page.models.length === 0)
    return say('No models yet. A training that ends well registers one: qfl round start --help');
  say(modelTable(page.models, Date.now()));
  if (page.next !== null) say(`More with:  qfl model list --after ${page.next}`);
};

const listVersions = async (name: string, options: ListOptions): Promise<void> => {
  const { before, limit, stage } = options;
  const page = await withCoordinator(options, ({ models }) =>
    models.versions({
      params: { name: paramsOf(name, 'latest').name },
      query: {
        ...(before === undefined ? {} : { before: Number(before) }),
        ...(stage === undefined ? {} : { stage: ModelStage.parse(stage) }),
        ...countOf(limit),
      },
    }),
  );
  if (options.json === true) return printJson(page);
  say(versionTable(page.versions));
  if (page.next !== null) say(`More with:  qfl model list ${name} --before ${page.next}`);
};

interface Fetched {
  readonly shown: ModelShown;
  readonly signed: SignedModel;
  readonly file: Uint8Array;
}

/** A version whole; its bytes are those of its record. @throws QflError `bad_signature` when they are not */
const fetchVersion = (options: TargetOptions, name: string, version: string): Promise<Fetched> =>
  withCoordinator(options, async ({ models }) => {
    const shown = await models.show({ params: paramsOf(name, version) });
    const params = { name, version: String(shown.record.version) };
    const signed = await models.record({ params });
    const pieces: Uint8Array[] = [];
    for await (const piece of models.tensors({ params })) pieces.push(piece);
    const file = Buffer.concat(pieces);
    checkDigest(recordOf(signed), file);
    return { shown, signed, file };
  });

const pull = async (
  name: string,
  version: string,
  options: TargetOptions & { out?: string },
): Promise<void> => {
  const { shown, file } = await fetchVersion(options, name, version);
  const out = options.out ?? `${name}-${shown.record.version}.safetensors`;
  await writeWholeFile(out, file);
  if (options.json === true) return printJson({ file: out, ...shown });
  say(
    `${out}: version ${shown.record.version}, ${file.byteLength} bytes, digest as signed (${shown.record.digest}).`,
  );
};

const exportFolder = async (
  name: string,
  version: string,
  options: TargetOptions & { out?: string },
): Promise<void> => {
  const { shown, signed, file } = await fetchVersion(options, name, version);
  const folder = options.out ?? `${name}-${shown.record.version}`;
  await mkdir(folder, { recursive: true });
  await writeWholeFile(join(folder, 'model.safetensors'), file);
  await writeWholeFile(join(folder, 'record.json'), utf8(JSON.stringify(signed)));
  await writeWholeFile(join(folder, 'README.md'), utf8(modelCard(shown)));
  if (options.json === true) return printJson({ folder, ...shown });
  say(
    `${folder}: model.safetensors, record.json (as signed) and README.md of version ${shown.record.version}.`,
  );
};

interface MlflowCliOptions extends TargetOptions {
  readonly mlflowUrl?: string;
  readonly experiment?: string;
}

const toMlflow = async (name: string, version: string, options: MlflowCliOptions): Promise<void> => {
  const url = options.mlflowUrl ?? process.env['MLFLOW_TRACKING_URI'];
  if (url === undefined || url === '')
    throw new QflError('invalid_request', {
      detail: 'no MLflow server was named',
      next: 'Give --mlflow-url https://…, or set MLFLOW_TRACKING_URI.',
    });
  const client = createMlflowClient({ url, credentials: credentialsOf(process.env) });
  const done = await withCoordinator(options, async ({ models, federation }, at) => {
    const shown = await models.show({ params: paramsOf(name, version) });
    const path = `/v1/registry/${name}/versions/${shown.record.version}/tensors`;
    const experiment = options.experiment ?? (await federation.show()).name;
    return exportToMlflow(client, shown, { experiment, source: at + path });
  });
  if (options.json === true) return printJson(done);
  const how = done.isNew ? 'is exported' : 'was exported before';
  say(
    `${name} ${how}: experiment ${done.experiment}, run ${done.runId}, version ${done.modelVersion} there.`,
  );
};

const withModel = (parent: Command, usage: string, text: string): Command =>
  withTarget(parent.command(usage).description(text), 'coordinator');

const registerReading = (model: Command): void => {
  withModel(model, 'list [NAME]', 'models; with a name its versions, newest first')
    .option('--stage <STAGE>', 'only versions at this stage: none, staging, production, archived')
    .option('--limit <COUNT>', 'so many at once; 50 when left out')
    .option('--after <NAME>', 'models after this one')
    .option('--before <VERSION>', 'versions before this one')
    .action((name: string | undefined, options: ListOptions) =>
      run(
        () => (name === undefined ? listModels(options) : listVersions(name, options)),
        options.json ?? false,
      ),
    );
  withModel(
    model,
    'show <NAME> [VERSION]',
    'a version: lineage, privacy, figures; the latest when left out',
  ).action((name: string, version: string | undefined, options: TargetOptions) =>
    run(async () => {
      const shown = await withCoordinator(options, ({ models }) =>
        models.show({ params: paramsOf(name, version ?? 'latest') }),
      );
      return options.json === true ? printJson(shown) : say(versionText(shown));
    }, options.json ?? false),
  );
  withModel(model, 'pull <NAME> [VERSION]', 'fetch the weights; the one in production when left out')
    .option('--out <FILE>', 'where to; NAME-VERSION.safetensors when left out')
    .action((name: string, version: string | undefined, options: TargetOptions & { out?: string }) =>
      run(() => pull(name, version ?? 'production', options), options.json ?? false),
    );
  withModel(model, 'export <NAME> [VERSION]', 'weights, signed record and a page for people, in a folder')
    .option('--out <FOLDER>', 'where to; NAME-VERSION when left out')
    .action((name: string, version: string | undefined, options: TargetOptions & { out?: string }) =>
      run(() => exportFolder(name, version ?? 'production', options), options.json ?? false),
    );
};

const registerMlflow = (model: Command): void => {
  withModel(
    model,
    'export-mlflow <NAME> [VERSION]',
    'figures, lineage and a model version to an MLflow tracking server; the one in production when left out',
  )
    .option('--mlflow-url <URL>', 'address of the tracking server (or MLFLOW_TRACKING_URI)')
    .option('--experiment <NAME>', 'there; the name of the federation when left out')
    .addHelpText(
      'after',
      '\nKeys come from the environment: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.',
    )
    .action((name: string, version: string | undefined, options: MlflowCliOptions) =>
      run(() => toMlflow(name, version ?? 'production', options), options.json ?? false),
    );
};

const registerChanging = (model: Command): void => {
  withModel(model, 'promote <NAME> <VERSION>', 'bring a version to a stage; what was there is archived')
    .option('--stage <STAGE>', 'none, staging, production or archived', 'production')
    .action((name: string, version: string, options: TargetOptions & { stage: string }) =>
      run(async () => {
        const stage = ModelStage.safeParse(options.stage);
        if (!stage.success)
          throw new QflError('invalid_request', {
            detail: `"${options.stage}" is no stage`,
            next: `Stages are ${ModelStage.options.join(', ')}.`,
          });
        const shown = await withCoordinator(options, ({ models }) =>
          models.promote({ params: paramsOf(name, version), body: { stage: stage.data } }),
        );
        if (options.json === true) return printJson(shown);
        say(`${name} ${shown.record.version} is at the stage ${shown.stage}.`);
      }, options.json ?? false),
    );
  withModel(model, 'rollback <NAME>', 'bring back the version that was in production before').action(
    (name: string, options: TargetOptions) =>
      run(async () => {
        const shown = await withCoordinator(options, ({ models }) =>
          models.rollback({ params: { name: paramsOf(name, 'latest').name } }),
        );
        if (options.json === true) return printJson(shown);
        say(`${name} ${shown.record.version} is in production again.`);
      }, options.json ?? false),
  );
  withModel(model, 'delete <NAME> <VERSION>', 'delete a version that is not in production').action(
    (name: string, version: string, options: TargetOptions) =>
      run(async () => {
        const gone = await withCoordinator(options, ({ models }) =>
          models.remove({ params: paramsOf(name, version) }),
        );
        if (options.json === true) return printJson(gone);
        say(`${name} ${gone.version} is deleted; its number is not given again.`);
      }, options.json ?? false),
  );
};

export const registerModel = (program: Command): void => {
  const model = program.command('model').description('trained models: versions, lineage, stages, files');
  registerReading(model);
  registerChanging(model);
  registerMlflow(model);
};
