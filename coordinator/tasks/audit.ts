/** What the audit log says of tasks: ids, kinds and roles. Relayed queries have entries of their own. */
import type { Actor } from '../../shared/access/actor.ts';
import type { AuditLog } from '../../shared/audit/audit-log.ts';
import type { AuditOutcome } from '../../shared/audit/entry.ts';
import type { Task } from './task.ts';

type Recorder = Pick<AuditLog, 'record'>;

/** An entry names at most 64 objects. */
const OBJECTS_MAX = 64;

const objectsOf = (tasks: readonly Task[]): { readonly kind: string; readonly id: string }[] =>
  tasks.map(({ id, kind }) => ({ kind: `task.${kind}`, id }));

const chunks = <Value>(values: readonly Value[]): Value[][] =>
  Array.from({ length: Math.ceil(values.length / OBJECTS_MAX) }, (_, at) =>
    values.slice(at * OBJECTS_MAX, (at + 1) * OBJECTS_MAX),
  );

export const recordMade = async (audit: Recorder, by: Actor, tasks: readonly Task[]): Promise<void> => {
  for (const chunk of chunks(tasks))
    await audit.record({ action: 'task.created', outcome: 'ok', ...by, objects: objectsOf(chunk) });
};

export const recordStart = async (audit: Recorder, task: Task): Promise<void> => {
  await audit.record({
    action: 'task.started',
    outcome: 'begun',
    role: task.createdBy.role,
    objects: objectsOf([task]),
  });
};

const outcomeOf = ({ state, failure }: Task): AuditOutcome => {
  if (state === 'done') return 'ok';
  return failure?.reason === 'outcome_unknown' ? 'unknown' : 'failed';
};

export const recordEnds = async (audit: Recorder, tasks: readonly Task[]): Promise<void> => {
  for (const outcome of ['ok', 'failed', 'unknown'] as const)
    for (const chunk of chunks(tasks.filter((task) => outcomeOf(task) === outcome)))
      await audit.record({ action: 'task.ended', outcome, objects: objectsOf(chunk) });
};
