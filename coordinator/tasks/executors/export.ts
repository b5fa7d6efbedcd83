/** The audit export as a task: for logs that take longer than anybody holds a connection open. */
import { assert, QflError } from '../../../shared/errors.ts';
import type { ExportRequest } from '../../audit/export.ts';
import type { TaskCaller, TaskExecutor } from '../executor.ts';
import type { TaskFiles } from '../files.ts';

const MAY_EXPORT: ReadonlySet<string> = new Set(['admin', 'auditor', 'operator']);

export interface ExportExecutorOptions {
  readonly files: TaskFiles;
  /** The archive's bytes, as they come. */
  readonly exportLogs: (request: Pick<ExportRequest, 'requestedBy' | 'ground'>) => AsyncIterable<Uint8Array>;
  /** No entry, no action. */
  readonly record: (by: TaskCaller) => Promise<unknown>;
}

export const createExportExecutor = ({ files, exportLogs, record }: ExportExecutorOptions): TaskExecutor => ({
  kind: 'export',
  prepare(spec, { role }) {
    if (!MAY_EXPORT.has(role))
      throw new QflError('forbidden', {
        detail: `an audit export is for ${[...MAY_EXPORT].join(', ')}; this key has role ${role}`,
      });
    return spec;
  },
  async run({ id, task, spec, signal, progress }) {
    assert(spec.kind === 'export', 'an executor gets tasks of its kind');
    const { role } = task.createdBy;
    await record(task.createdBy);
    const archive = exportLogs({ requestedBy: role, ground: spec.ground });
    const bytes = await files.write(id, archive, signal, (bytesDone) =>
      progress({ done: bytesDone, total: null, unit: 'bytes' }),
    );
    return { form: 'file', contentType: 'application/x-tar', bytes };
  },
});
