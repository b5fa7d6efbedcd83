/** Which version of a model stands where, and which stood in production before. Pure. */
import { z } from 'zod';
import { QflError } from '../../shared/errors.ts';
import { ModelStage, ModelVersion } from '../../shared/wire/model.ts';

/** Versions that were in production and may come back. */
const HISTORY_MAX = 100;

/** What is kept of a model besides its versions' records: one value, so that a change is whole or not there. */
export const ModelHead = z.strictObject({
  /** Of the next version: no number is given twice, also after a version was deleted. */
  next: ModelVersion,
  /** Every version there is. */
  versions: z.array(z.strictObject({ version: ModelVersion, stage: ModelStage, stageMs: z.int() })),
  /** Earlier production versions, newest last. */
  history: z.array(ModelVersion).max(HISTORY_MAX),
});
export type ModelHead = z.infer<typeof ModelHead>;

export const EMPTY_HEAD: ModelHead = { next: 1, versions: [], history: [] };

export const versionAt = (head: ModelHead, stage: ModelStage): number | undefined =>
  head.versions.findLast((one) => one.stage === stage)?.version;

const withStages = (head: ModelHead, stages: ReadonlyMap<number, ModelStage>, nowMs: number): ModelHead => ({
  ...head,
  versions: head.versions.map((one) => {
    const stage = stages.get(one.version);
    return stage === undefined || stage === one.stage ? one : { ...one, stage, stageMs: nowMs };
  }),
});

export const added = (head: ModelHead, nowMs: number): ModelHead => ({
  ...head,
  next: head.next + 1,
  versions: [...head.versions, { version: head.next, stage: 'none', stageMs: nowMs }],
});

/**
 * Brings a version to a stage. Production and staging hold one version each: what stood there is archived.
 * @throws QflError `conflict` when it stands there already
 */
export const promoted = (head: ModelHead, version: number, stage: ModelStage, nowMs: number): ModelHead => {
  if (head.versions.some((one) => one.version === version && one.stage === stage))
    throw new QflError('conflict', { detail: `version ${version} is at the stage ${stage} already` });
  const production = versionAt(head, 'production');
  const replaced = stage === 'production' || stage === 'staging' ? versionAt(head, stage) : undefined;
  // Whether another takes its place or it is taken away itself: it was in production, and may come back.
  const leaves = production !== undefined && (production === version || stage === 'production');
  const stages = new Map<number, ModelStage>([[version, stage]]);
  if (replaced !== undefined) stages.set(replaced, 'archived');
  return withStages(
    { ...head, history: leaves ? [...head.history, production].slice(-HISTORY_MAX) : head.history },
    stages,
    nowMs,
  );
};

/**
 * The production version before the present one comes back; the present one is archived.
 * @throws QflError `conflict` where there was none before
 */
export const rolledBack = (head: ModelHead, nowMs: number): ModelHead => {
  const present = versionAt(head, 'production');
  const history = head.history.slice();
  let before = history.pop();
  while (before !== undefined && before === present) before = history.pop();
  if (before === undefined)
    throw new QflError('conflict', {
      detail: 'no earlier version of this model was in production',
      next: 'Promote the version that is to be used.',
    });
  const stages = new Map<number, ModelStage>([[before, 'production']]);
  if (present !== undefined) stages.set(present, 'archived');
  return withStages({ ...head, history }, stages, nowMs);
};

/** @throws QflError `conflict` for the version in production */
export const removed = (head: ModelHead, version: number): ModelHead => {
  if (versionAt(head, 'production') === version)
    throw new QflError('conflict', {
      detail: `version ${version} is in production`,
      next: 'Promote another version, or archive this one first.',
    });
  return {
    ...head,
    versions: head.versions.filter((one) => one.version !== version),
    history: head.history.filter((one) => one !== version),
  };
};
