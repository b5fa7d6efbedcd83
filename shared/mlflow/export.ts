/**
 * A model version of the registry in an MLflow tracking server: a run with its figures and lineage, and a version of a registered model that names it. Exported
 * again it is the same run and the same version; a run that a cut export left half is taken away and made anew.
 */
import { QflError } from '../errors.ts';
import type { ModelRecord, ModelShown } from '../wire/model.ts';
import type { Batch, Metric, MlflowClient, Tag } from './client.ts';

/** Of a version, over all coordinators: what a run is found again by. */
const IDENTITY_TAG = 'qfl.version';
/** Of one request, by MLflow's limits: a thousand entries in all, a hundred of them parameters. */
const METRICS_PER_BATCH = 900;
const PARAM_CHARS_MAX = 500;

export interface MlflowExport {
  readonly experiment: string;
  readonly experimentId: string;
  readonly runId: string;
  readonly model: string;
  /** MLflow's own number. */
  readonly modelVersion: string;
  /** False where all of it was there already. */
  readonly isNew: boolean;
}

const identityOf = ({ federation, name, version, digest }: ModelRecord): string =>
  `${federation}/${name}/${version}/${digest}`;

const tagsOf = (record: ModelRecord, stage: string): Tag[] => {
  const { lineage } = record;
  const tags: [string, string][] = [
    [IDENTITY_TAG, identityOf(record)],
    ['qfl.digest', record.digest],
    ['qfl.stage', stage],
    ['qfl.federation', record.federation],
    ['qfl.training', lineage.training ?? ''],
    ['qfl.data_hash', lineage.dataHash ?? ''],
    ['qfl.sites', lineage.sites.join(',').slice(0, 4_000)],
    ['qfl.rounds', String(lineage.rounds.length)],
  ];
  return tags.filter(([, value]) => value !== '').map(([key, value]) => ({ key, value }));
};

const paramsOf = ({ version, lineage: { model, privacy, data, sites } }: ModelRecord): Tag[] => {
  const params: [string, string][] = [
    ['version', String(version)],
    ['model', JSON.stringify(model)],
    ['privacy_unit', privacy.unit],
    ['epsilon', String(privacy.epsilon)],
    ['delta', String(privacy.delta)],
    ['sites', String(sites.length)],
    ...(data === null
      ? []
      : ([
          ['target', JSON.stringify(data.target)],
          ['features', String(data.features.length)],
        ] as [string, string][])),
  ];
  return params.map(([key, value]) => ({ key, value: value.slice(0, PARAM_CHARS_MAX) }));
};

/** All at one time, that of the version: so that the same figure sent twice is one point. */
const metricsOf = ({ metrics, createdMs }: ModelRecord): Metric[] =>
  metrics.flatMap(({ step, values }) =>
    Object.entries(values).map(([key, value]) => ({ key, value, timestamp: createdMs, step })),
  );

const batchesOf = (record: ModelRecord): Batch[] => {
  const metrics = metricsOf(record);
  const batches: Batch[] = [{ metrics: [], params: paramsOf(record), tags: [] }];
  for (let at = 0; at < metrics.length; at += METRICS_PER_BATCH)
    batches.push({ metrics: metrics.slice(at, at + METRICS_PER_BATCH), params: [], tags: [] });
  return batches;
};

/** Made by somebody else between the question and the answer: then it is there. */
const experimentOf = async (client: MlflowClient, name: string): Promise<string> => {
  const found = await client.experiment(name);
  if (found !== undefined) return found;
  try {
    return await client.createExperiment(name);
  } catch (error) {
    const made = await client.experiment(name);
    if (made === undefined) throw error;
    return made;
  }
};

const finishedRun = async (
  client: MlflowClient,
  experiment: string,
  { record, stage }: ModelShown,
): Promise<{ readonly id: string; readonly isNew: boolean }> => {
  const known = await client.runs(experiment, { key: IDENTITY_TAG, value: identityOf(record) });
  const finished = known.find(({ status }) => status === 'FINISHED');
  // Figures are added, never replaced: a run that was left half cannot be gone on with.
  for (const { id, status } of known) if (status !== 'FINISHED') await client.deleteRun(id);
  if (finished !== undefined) return { id: finished.id, isNew: false };
  const id = await client.createRun(experiment, {
    name: `${record.name} ${record.version}`,
    startMs: record.createdMs,
    tags: tagsOf(record, stage),
  });
  for (const batch of batchesOf(record)) await client.log(id, batch);
  await client.finishRun(id, record.createdMs);
  return { id, isNew: true };
};

/**
 * @param source address under which the coordinator gives the weights
 * @throws QflError as the client does
 */
export const exportToMlflow = async (
  client: MlflowClient,
  shown: ModelShown,
  { experiment, source }: { readonly experiment: string; readonly source: string },
): Promise<MlflowExport> => {
  const { record } = shown;
  const experimentId = await experimentOf(client, experiment);
  const run = await finishedRun(client, experimentId, shown);
  await client.createModel(record.name, `Trained in the federation ${record.federation}`);
  const [version] = await client.versions(record.name, run.id);
  const modelVersion =
    version ??
    (await client.createVersion({
      name: record.name,
      source,
      run: run.id,
      tags: tagsOf(record, shown.stage),
      description: `Version ${record.version}, BLAKE2b-256 ${record.digest}`,
    }));
  return {
    experiment,
    experimentId,
    runId: run.id,
    model: record.name,
    modelVersion,
    isNew: run.isNew || version === undefined,
  };
};

/**
 * As MLflow's own clients read them: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`. Never options of a command, where other
 * users of the machine would see them.
 */
export const credentialsOf = (env: Readonly<Record<string, string | undefined>>) => {
  const token = env['MLFLOW_TRACKING_TOKEN'];
  if (token !== undefined && token !== '') return { kind: 'bearer' as const, token };
  const user = env['MLFLOW_TRACKING_USERNAME'];
  const password = env['MLFLOW_TRACKING_PASSWORD'];
  if (user === undefined || user === '') return { kind: 'none' as const };
  if (password === undefined)
    throw new QflError('config_invalid', {
      detail: 'MLFLOW_TRACKING_USERNAME is set, and MLFLOW_TRACKING_PASSWORD is not',
    });
  return { kind: 'basic' as const, user, password };
};
