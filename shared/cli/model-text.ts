/** Models and their versions in words. */
import type { ModelListed, ModelMetric, ModelShown, ModelSummary } from '../wire/model.ts';
import { ago, table } from './output.ts';

const short = (value: number): string => Number(value.toPrecision(4)).toString();
const figures = (values: ModelMetric['values']): string =>
  Object.entries(values)
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(', ');

export const modelTable = (models: readonly ModelListed[], nowMs: number): string =>
  table(
    ['model', 'versions', 'latest', 'production', 'staging', 'changed'],
    models.map(({ name, versions, latest, production, staging, updatedMs }) => [
      name,
      String(versions),
      String(latest),
      production === null ? '–' : String(production),
      staging === null ? '–' : String(staging),
      `${ago(nowMs - updatedMs)} ago`,
    ]),
  );

export const versionTable = (versions: readonly ModelSummary[]): string =>
  table(
    ['version', 'stage', 'kind', 'privacy', 'sites', 'rounds', 'figures of the last step', 'digest'],
    versions.map(({ version, stage, kind, privacy, sites, rounds, metrics, digest }) => [
      String(version),
      stage,
      kind,
      `ε ${short(privacy.epsilon)}, δ ${short(privacy.delta)} per ${privacy.unit}`,
      String(sites),
      String(rounds),
      figures(metrics),
      digest.slice(0, 16),
    ]),
  );

/** A version with where it came from and how its figures went. */
export const versionText = ({ record, stage, stageMs }: ModelShown): string => {
  const { name, version, digest, bytes, createdMs, lineage, metrics } = record;
  const { training, sites, rounds, model, data, dataHash, privacy } = lineage;
  const lost = rounds.reduce((sum, round) => sum + (round.lost?.length ?? 0), 0);
  return [
    `${name} version ${version}: ${stage} since ${new Date(stageMs).toISOString()}`,
    `made     ${new Date(createdMs).toISOString()}${training === null ? '' : ` by the training ${training}`}`,
    `file     ${bytes} bytes, BLAKE2b-256 ${digest}`,
    `model    ${JSON.stringify(model)}`,
    ...(data === null
      ? []
      : [
          `learned  to tell ${JSON.stringify(data.target)} from ${data.features.length} features (data ${dataHash ?? '–'})`,
        ]),
    `privacy  epsilon ${short(privacy.epsilon)}, delta ${short(privacy.delta)} for each ${privacy.unit}`,
    `sites    ${sites.join(', ')}`,
    `rounds   ${rounds.length}; sites that were lost on the way: ${lost}`,
    ...metrics.map(({ step, values }) => `step ${String(step).padStart(3)} ${figures(values)}`),
  ].join('\n');
};

/** A page for people beside an exported model: what it is, where it came from, what it may be used for. */
export const modelCard = (shown: ModelShown): string => {
  const { record } = shown;
  const { lineage } = record;
  const lines = [
    `# ${record.name} ${record.version}`,
    '',
    `Trained in the federation "${record.federation}" without patient data leaving its hospitals.`,
    '',
    '```',
    versionText(shown),
    '```',
    '',
    '## Data',
    '',
    lineage.data === null
      ? 'The trainer of the hospitals does not say what it learned from.'
      : 'What each hospital made of its records, as JSON:',
    ...(lineage.data === null ? [] : ['', '```json', JSON.stringify(lineage.data, null, 2), '```']),
    '',
    'The figures are noisy sums over the hospitals that took part. They say nothing about patients elsewhere.',
  ];
  return `${lines.join('\n')}\n`;
};
