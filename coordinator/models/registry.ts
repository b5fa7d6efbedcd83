/**
 * The model registry: versions with their lineage, signed by the coordinator. A file is on the disk before its record, and a record and the head of its
 * model are one write: after a crash there is a whole version or none.
 */
import type { Readable } from 'node:stream';
import type { Actor } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Identity } from '../../shared/crypto/signature.ts';
import { QflError } from '../../shared/errors.ts';
import { modelDigest, recordOf, signModel } from '../../shared/models/record.ts';
import type { TaskId } from '../../shared/ids.ts';
import { createSerial } from '../../shared/serial.ts';
import type { Store } from '../../shared/store/port.ts';
import {
  type ModelListed,
  type ModelName,
  type ModelRecord,
  type ModelShown,
  type ModelStage,
  type ModelSummary,
  type SignedModel,
  VERSION_MAX,
  type VersionRef,
} from '../../shared/wire/model.ts';
import { openModelBook } from './book.ts';
import { openModelShelf } from '../../shared/models/shelf.ts';
import { added, EMPTY_HEAD, type ModelHead, promoted, removed, rolledBack, versionAt } from './stages.ts';

export const MODELS_MAX = 1_000;
export const VERSIONS_MAX = 1_000;
/** Of one file. */
export const MODEL_BYTES_MAX = 512 * 1024 * 1024;

/** A version to be: what the registry adds is its number, its digest, its time and the signature. */
export type NewVersion = Pick<ModelRecord, 'name' | 'lineage' | 'metrics'> & {
  /** safetensors. */
  readonly file: Uint8Array;
};

export interface ModelRegistry {
  /**
   * Keeps and signs a version. Of one training there is one version, however often it is registered.
   * @throws QflError `too_large`, `overloaded` when there are as many as may be
   */
  register(version: NewVersion, by?: Actor): Promise<ModelShown>;
  /** By name. */
  list(): readonly ModelListed[];
  /** Newest first. @throws QflError `not_found` */
  versions(name: ModelName): readonly ModelSummary[];
  /** @throws QflError `not_found`, as all that follow */
  show(name: ModelName, ref: VersionRef): Promise<ModelShown>;
  signed(name: ModelName, ref: VersionRef): Promise<SignedModel>;
  /** The whole file. */
  file(summary: ModelSummary): Promise<Readable>;
  /** At most `length` bytes of it from `at` on. */
  piece(summary: ModelSummary, at: number, length: number): Promise<Uint8Array>;
  summary(name: ModelName, ref: VersionRef): ModelSummary;
  /** The version that a training left. */
  ofTraining(task: TaskId): Pick<ModelSummary, 'name' | 'version'> | undefined;
  /** @throws QflError `conflict` */
  promote(name: ModelName, ref: VersionRef, stage: ModelStage, by: Actor): Promise<ModelShown>;
  /** The production version before the present one comes back. @throws QflError `conflict` */
  rollBack(name: ModelName, by: Actor): Promise<ModelShown>;
  /** @throws QflError `conflict` for the version in production */
  remove(name: ModelName, ref: VersionRef, by: Actor): Promise<ModelSummary>;
}

export interface RegistryOptions {
  readonly home: string;
  readonly federation: string;
  readonly store: Store;
  readonly identity: () => Identity;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly clock: Pick<Clock, 'nowMs'>;
}

const absent = (what: string): QflError =>
  new QflError('not_found', { detail: `there is no ${what}`, next: 'See what there is: qfl model list' });

const checkRoom = (head: ModelHead | undefined, models: number, name: ModelName): void => {
  const isFull = head === undefined ? models >= MODELS_MAX : head.versions.length >= VERSIONS_MAX;
  if (!isFull && (head?.next ?? 1) <= VERSION_MAX) return;
  throw new QflError('overloaded', {
    detail:
      head === undefined
        ? `there are ${models} models, as many as may be`
        : `there are ${head.versions.length} versions of ${name}, as many as may be`,
    next: 'Delete what is not used any more: qfl model delete',
  });
};

const checkSize = (file: Uint8Array): void => {
  if (file.byteLength > MODEL_BYTES_MAX)
    throw new QflError('too_large', {
      detail: `this model has ${file.byteLength} bytes, and ${MODEL_BYTES_MAX} are allowed`,
    });
};

export const openModelRegistry = async (options: RegistryOptions): Promise<ModelRegistry> => {
  const { audit, clock } = options;
  const book = await openModelBook(options.store);
  const shelf = await openModelShelf(options.home, (digest) => book.owns(digest));
  const inTurn = createSerial();
  const nowMs = (): number => Math.trunc(clock.nowMs());

  const headOf = (name: ModelName): ModelHead => {
    const head = book.head(name);
    if (head === undefined) throw absent(`model ${name}`);
    return head;
  };
  const versionOf = (name: ModelName, ref: VersionRef): number => {
    const head = headOf(name);
    if (typeof ref === 'number' && head.versions.some(({ version }) => version === ref)) return ref;
    const found =
      typeof ref === 'number'
        ? undefined
        : ref === 'latest'
          ? head.versions.at(-1)?.version
          : versionAt(head, ref);
    if (found === undefined)
      throw absent(typeof ref === 'number' ? `version ${ref} of ${name}` : `${ref} version of ${name}`);
    return found;
  };
  const summary = (name: ModelName, ref: VersionRef): ModelSummary =>
    book.summary(name, versionOf(name, ref));
  const signed = (name: ModelName, ref: VersionRef): Promise<SignedModel> =>
    book.signed(name, versionOf(name, ref));
  const show = async (name: ModelName, ref: VersionRef): Promise<ModelShown> => {
    const { version, stage, stageMs } = summary(name, ref);
    const found = await book.signed(name, version);
    return { record: recordOf(found), stage, stageMs, signature: found.signature };
  };
  const note = (
    action: 'model.registered' | 'model.promoted' | 'model.rolled_back' | 'model.deleted',
    { name, version, digest, training }: Pick<ModelSummary, 'name' | 'version' | 'digest' | 'training'>,
    by: Actor | undefined,
    stage?: ModelStage,
  ) =>
    audit.record({
      action,
      outcome: 'ok',
      ...by,
      objects: [
        { kind: 'model', id: `${name}/${version}` },
        { kind: 'digest', id: digest },
        ...(training === null ? [] : [{ kind: 'task', id: training }]),
        ...(stage === undefined ? [] : [{ kind: 'stage', id: stage }]),
      ],
    });

  const register = async (
    { name, lineage, metrics, file }: NewVersion,
    by: Actor | undefined,
  ): Promise<ModelShown> => {
    const known = lineage.training === null ? undefined : book.ofTraining(lineage.training);
    if (known !== undefined) return show(known.name, known.version);
    checkRoom(book.head(name), book.models(), name);
    checkSize(file);
    const head = book.head(name) ?? EMPTY_HEAD;
    const record: ModelRecord = {
      v: 1,
      federation: options.federation,
      name,
      version: head.next,
      digest: modelDigest(file),
      bytes: file.byteLength,
      createdMs: nowMs(),
      lineage,
      metrics: [...metrics],
    };
    const made = signModel(options.identity(), record);
    await shelf.write(record.digest, file);
    await note('model.registered', { ...record, training: lineage.training }, by);
    await book.add(record, made, added(head, record.createdMs));
    return show(name, record.version);
  };

  /** In the log before it counts. */
  const change = async (
    action: 'model.promoted' | 'model.rolled_back',
    name: ModelName,
    next: ModelHead,
    by: Actor,
    about: number,
    stage: ModelStage,
  ): Promise<ModelShown> => {
    await note(action, book.summary(name, about), by, stage);
    await book.replaceHead(name, next);
    return show(name, about);
  };

  return {
    register: (version, by) => inTurn(() => register(version, by)),
    list: () =>
      book.names().map((name) => {
        const head = headOf(name);
        return {
          name,
          versions: head.versions.length,
          latest: versionOf(name, 'latest'),
          production: versionAt(head, 'production') ?? null,
          staging: versionAt(head, 'staging') ?? null,
          updatedMs: Math.max(...head.versions.map(({ stageMs }) => stageMs)),
        };
      }),
    versions: (name) =>
      headOf(name)
        .versions.map(({ version }) => book.summary(name, version))
        .toReversed(),
    show,
    signed,
    summary,
    ofTraining: (task) => book.ofTraining(task),
    file: ({ digest }) => shelf.read(digest),
    piece: ({ digest }, at, length) => shelf.piece(digest, at, length),
    promote: (name, ref, stage, by) =>
      inTurn(() => {
        const version = versionOf(name, ref);
        return change(
          'model.promoted',
          name,
          promoted(headOf(name), version, stage, nowMs()),
          by,
          version,
          stage,
        );
      }),
    rollBack: (name, by) =>
      inTurn(() => {
        const next = rolledBack(headOf(name), nowMs());
        const version = versionAt(next, 'production');
        if (version === undefined) throw absent(`production version of ${name}`);
        return change('model.rolled_back', name, next, by, version, 'production');
      }),
    remove: (name, ref, by) =>
      inTurn(async () => {
        const gone = summary(name, ref);
        const next = removed(headOf(name), gone.version);
        await note('model.deleted', gone, by);
        await book.remove(name, gone.version, next);
        // Two versions may have the same weights, and so one file.
        if (!book.owns(gone.digest)) await shelf.remove(gone.digest);
        return gone;
      }),
  };
};
