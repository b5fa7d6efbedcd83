/** Models that this site fetched: the signed record in its encrypted store, the file beside it, both checked again each time a model is loaded. */
import type { Actor } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { AuditAction, AuditOutcome } from '../../shared/audit/entry.ts';
import { fromUtf8, utf8 } from '../../shared/bytes.ts';
import type { Clock } from '../../shared/clock.ts';
import { QflError, toQflError } from '../../shared/errors.ts';
import { checkDigest, type ModelTrust, recordOf, verifyModel } from '../../shared/models/record.ts';
import { openModelShelf } from '../../shared/models/shelf.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import { type ModelName, type ModelRecord, SignedModel } from '../../shared/wire/model.ts';
import type { PulledModel } from '../../shared/wire/pulled-model.ts';
import { z } from 'zod';
import { fetchModel, type ModelCaller } from './fetch.ts';

const PREFIX = 'pulled-model/';
/** Versions at once. */
export const PULLED_MAX = 200;

const Stored = z.strictObject({ signed: SignedModel, pulledMs: z.int() });
type Stored = z.infer<typeof Stored>;
interface Held {
  readonly record: ModelRecord;
  readonly stored: Stored;
}

export interface LoadedModel {
  readonly record: ModelRecord;
  readonly file: Uint8Array;
}

type Asked = Parameters<typeof fetchModel>[2];

export interface PulledModels {
  /** Fetches a version, or the same one again; it is the one in use from then on. @throws QflError as `fetchModel`, and `overloaded` */
  pull(asked: Asked, by: Actor, signal: AbortSignal): Promise<PulledModel>;
  /** By name and version. */
  list(): readonly PulledModel[];
  /** What is in use of this model, or the version that is named. @throws QflError `not_found` */
  find(name: ModelName, version?: number): ModelRecord;
  /** Record and file as they are on the disk, checked. @throws QflError `not_found`, `bad_signature` */
  load(name: ModelName, version?: number): Promise<LoadedModel>;
  /** The same, for people: what is checked is told. */
  verify(name: ModelName, version: number): Promise<PulledModel>;
  /** @throws QflError `not_found` */
  remove(name: ModelName, version: number, by: Actor): Promise<PulledModel>;
}

export interface PulledOptions {
  readonly home: string;
  readonly store: Store;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly trust: () => ModelTrust;
  readonly caller: () => ModelCaller;
}

const keyOf = (name: string, version: number): string =>
  `${PREFIX}${name}/${String(version).padStart(7, '0')}`;

const readHeld = async (store: Store): Promise<Map<string, Held>> => {
  const held = new Map<string, Held>();
  for await (const { key, value } of store.list({ prefix: PREFIX })) {
    const stored = Stored.parse(JSON.parse(fromUtf8(value)));
    held.set(key, { stored, record: recordOf(stored.signed) });
  }
  return held;
};

const newest = (some: readonly Held[]): Held | undefined =>
  some.reduce<Held | undefined>(
    (best, one) => (best === undefined || one.stored.pulledMs >= best.stored.pulledMs ? one : best),
    undefined,
  );

const shownOf = ({ record, stored }: Held, inUse: boolean): PulledModel => ({
  name: record.name,
  version: record.version,
  digest: record.digest,
  bytes: record.bytes,
  createdMs: record.createdMs,
  kind: record.lineage.model.kind,
  training: record.lineage.training,
  sites: record.lineage.sites.length,
  rounds: record.lineage.rounds.length,
  privacy: record.lineage.privacy,
  metrics: record.metrics.at(-1)?.values ?? {},
  pulledMs: stored.pulledMs,
  inUse,
});

export const openPulledModels = async (options: PulledOptions): Promise<PulledModels> => {
  const { store, audit, clock, trust } = options;
  const held = await readHeld(store);
  const owns = (digest: string): boolean => [...held.values()].some(({ record }) => record.digest === digest);
  const shelf = await openModelShelf(options.home, owns);
  const inTurn = createSerial();

  const ofName = (name: ModelName): Held[] => [...held.values()].filter(({ record }) => record.name === name);
  const inUse = (name: ModelName): Held | undefined => newest(ofName(name));
  const findHeld = (name: ModelName, version: number | undefined): Held => {
    const found = version === undefined ? inUse(name) : held.get(keyOf(name, version));
    if (found !== undefined) return found;
    throw new QflError('not_found', {
      detail: `this site has no ${version === undefined ? 'version' : `version ${version}`} of the model ${name}`,
      next: `Fetch it: qfl agent model pull ${name}`,
    });
  };
  const show = (one: Held): PulledModel => shownOf(one, inUse(one.record.name) === one);
  const note = (
    action: AuditAction,
    outcome: AuditOutcome,
    what: string,
    digest: string | null,
    by?: Actor,
  ) =>
    audit.record({
      action,
      outcome,
      ...by,
      objects: [{ kind: 'model', id: what }, ...(digest === null ? [] : [{ kind: 'digest', id: digest }])],
    });
  /** What does not hold is in the log: somebody changed a model, or stands between. */
  const refusing = async <T>(what: string, work: () => Promise<T>, by?: Actor): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (toQflError(error).code === 'bad_signature') await note('model.refused', 'refused', what, null, by);
      throw error;
    }
  };
  const nextMs = (name: ModelName): number =>
    // Of two that were fetched in one moment the later one is in use.
    Math.max(Math.trunc(clock.nowMs()), (inUse(name)?.stored.pulledMs ?? 0) + 1);

  const pull = async (asked: Asked, by: Actor, signal: AbortSignal): Promise<PulledModel> => {
    const { name } = asked;
    const { record, signed, file } = await refusing(
      `${name}/${asked.version}`,
      () => fetchModel(options.caller(), trust(), asked, signal),
      by,
    );
    const key = keyOf(name, record.version);
    if (!held.has(key) && held.size >= PULLED_MAX)
      throw new QflError('overloaded', {
        detail: `there are ${held.size} models here, as many as may be`,
        next: 'Remove what is not used: qfl agent model remove',
      });
    await shelf.write(record.digest, file);
    const stored: Stored = { signed, pulledMs: nextMs(name) };
    await note('model.pulled', 'ok', `${name}/${record.version}`, record.digest, by);
    await store.write([{ type: 'put', key, value: utf8(JSON.stringify(stored)) }]);
    const one = { record, stored };
    held.set(key, one);
    return show(one);
  };
  const load = ({ stored, record: { name, version, digest } }: Held): Promise<LoadedModel> =>
    refusing(`${name}/${version}`, async () => {
      const record = verifyModel(trust(), stored.signed);
      const file = await shelf.whole(digest);
      checkDigest(record, file);
      return { record, file };
    });

  return {
    pull: (asked, by, signal) => inTurn(() => pull(asked, by, signal)),
    list: () => [...held].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([, one]) => show(one)),
    find: (name, version) => findHeld(name, version).record,
    load: async (name, version) => load(findHeld(name, version)),
    async verify(name, version) {
      const one = findHeld(name, version);
      await load(one);
      return show(one);
    },
    remove: (name, version, by) =>
      inTurn(async () => {
        const gone = findHeld(name, version);
        const shown = show(gone);
        await note('model.removed', 'ok', `${name}/${version}`, gone.record.digest, by);
        await store.write([{ type: 'del', key: keyOf(name, version) }]);
        held.delete(keyOf(name, version));
        if (!owns(gone.record.digest)) await shelf.remove(gone.record.digest);
        return shown;
      }),
  };
};
