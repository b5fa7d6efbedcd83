/** Records of model versions in the store, and what of them is asked for often, in memory. */
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import { assert } from '../../shared/errors.ts';
import type { TaskId } from '../../shared/ids.ts';
import { recordOf } from '../../shared/models/record.ts';
import type { Store, StoreOperation } from '../../shared/store/port.ts';
import { ModelName, type ModelRecord, type ModelSummary, SignedModel } from '../../shared/wire/model.ts';
import { ModelHead } from './stages.ts';

const PREFIX = 'model/';
const headKey = (name: ModelName): string => `${PREFIX}${name}/head`;
const recordKey = (name: ModelName, version: number): string =>
  `${PREFIX}${name}/version/${String(version).padStart(7, '0')}`;
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));

/** What of a version never changes. */
type Fixed = Omit<ModelSummary, 'stage' | 'stageMs'>;

export interface ModelBook {
  models(): number;
  /** In order. */
  names(): readonly ModelName[];
  head(name: ModelName): ModelHead | undefined;
  /** Of a version that is there. */
  summary(name: ModelName, version: number): ModelSummary;
  signed(name: ModelName, version: number): Promise<SignedModel>;
  ofTraining(task: TaskId): Pick<ModelSummary, 'name' | 'version'> | undefined;
  /** Does a version have a file of this digest? */
  owns(digest: string): boolean;
  add(record: ModelRecord, signed: SignedModel, head: ModelHead): Promise<void>;
  replaceHead(name: ModelName, head: ModelHead): Promise<void>;
  /** With the last version the model is gone, but not its numbers. */
  remove(name: ModelName, version: number, head: ModelHead): Promise<void>;
}

const fixedOf = ({ name, version, digest, bytes, createdMs, lineage, metrics }: ModelRecord): Fixed => ({
  name,
  version,
  digest,
  bytes,
  createdMs,
  kind: lineage.model.kind,
  training: lineage.training,
  sites: lineage.sites.length,
  rounds: lineage.rounds.length,
  privacy: lineage.privacy,
  metrics: metrics.at(-1)?.values ?? {},
});

export const openModelBook = async (store: Store): Promise<ModelBook> => {
  const heads = new Map<ModelName, ModelHead>();
  const facts = new Map<string, Fixed>();
  const keep = (record: ModelRecord): void =>
    void facts.set(recordKey(record.name, record.version), fixedOf(record));
  for await (const { key, value } of store.list({ prefix: PREFIX })) {
    const [name, kind] = key.slice(PREFIX.length).split('/');
    const parsed: unknown = JSON.parse(fromUtf8(value));
    if (kind === 'head') heads.set(ModelName.parse(name), ModelHead.parse(parsed));
    else keep(recordOf(SignedModel.parse(parsed)));
  }
  const used = (): ModelName[] =>
    [...heads].filter(([, { versions }]) => versions.length > 0).map(([name]) => name);
  const write = async (
    name: ModelName,
    head: ModelHead,
    ...others: readonly StoreOperation[]
  ): Promise<void> => {
    await store.write([...others, { type: 'put', key: headKey(name), value: json(head) }]);
    heads.set(name, head);
  };
  return {
    models: () => used().length,
    names: () => used().toSorted(),
    head: (name) => heads.get(name),
    summary(name, version) {
      const fixed = facts.get(recordKey(name, version));
      const standing = heads.get(name)?.versions.find((one) => one.version === version);
      assert(fixed !== undefined && standing !== undefined, 'a version of a head has its record');
      return { ...fixed, stage: standing.stage, stageMs: standing.stageMs };
    },
    async signed(name, version) {
      const value = await store.get(recordKey(name, version));
      assert(value !== undefined, 'a version of a head has its record');
      return SignedModel.parse(JSON.parse(fromUtf8(value)));
    },
    ofTraining(task) {
      const found = [...facts.values()].find(({ training }) => training === task);
      return found === undefined ? undefined : { name: found.name, version: found.version };
    },
    owns: (digest) => [...facts.values()].some((one) => one.digest === digest),
    async add(record, signed, head) {
      const key = recordKey(record.name, record.version);
      await write(record.name, head, { type: 'put', key, value: json(signed) });
      keep(record);
    },
    replaceHead: (name, head) => write(name, head),
    async remove(name, version, head) {
      const key = recordKey(name, version);
      await write(name, head, { type: 'del', key });
      facts.delete(key);
    },
  };
};
