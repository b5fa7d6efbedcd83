/** The audit export as a task: a file that is there whole or not at all. */
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { createExportExecutor } from '../../../coordinator/tasks/executors/export.ts';
import { executorsOf } from '../../../coordinator/tasks/executor.ts';
import { openTaskFiles } from '../../../coordinator/tasks/files.ts';
import { createDeferred } from '../../../shared/deferred.ts';
import { TaskId } from '../../../shared/ids.ts';
import { TaskRequest } from '../../../shared/wire/task.ts';
import { type Bench, openBench, operator, request, settled } from './fixture.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
const exportRequest = (ground?: string): TaskRequest =>
  TaskRequest.parse({ spec: { kind: 'export', ...(ground === undefined ? {} : { ground }) } });

const open = async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qfl-files-'));
  closing.push(() => rm(folder, { recursive: true, force: true }));
  const more = createDeferred<void>();
  const asked: unknown[] = [];
  const recorded: string[] = [];
  const files = await openTaskFiles(folder, () => false);
  const executor = createExportExecutor({
    files,
    exportLogs: async function* exportLogs(wanted) {
      asked.push(wanted, [...recorded]);
      yield Buffer.from('first,');
      await more.promise;
      yield Buffer.from('second');
    },
    record: ({ role, owner }) => Promise.resolve(recorded.push(`${role} ${owner}`)),
  });
  const bench: Bench = await openBench({ executors: () => executorsOf(executor) });
  closing.push(() => bench.close());
  const { tasks: made } = await bench.tasks.create(request(exportRequest('review')), operator);
  const until = async (what: () => boolean): Promise<void> => {
    for (let turn = 0; turn < 200 && !what(); turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(what()).toBe(true);
  };
  return { ...bench, folder, files, more, asked, until, id: made[0]!.id };
};

describe('an audit export', () => {
  test('is logged before it begins, and says how far it is', async () => {
    const { tasks, id, asked, until, more } = await open();
    await until(() => tasks.get(id, operator).progress !== null);
    expect(asked).toEqual([{ requestedBy: 'operator', ground: 'review' }, ['operator operator']]);
    expect(tasks.get(id, operator).progress).toEqual({ done: 6, total: null, unit: 'bytes' });
    more.resolve();
    await until(() => tasks.get(id, operator).state === 'done');
    expect(tasks.get(id, operator).result).toMatchObject({
      form: 'file',
      contentType: 'application/x-tar',
      bytes: 12,
    });
  });

  test('that is cancelled leaves nothing', async () => {
    const { tasks, id, folder, until } = await open();
    await until(() => tasks.get(id, operator).progress !== null);
    await tasks.cancel(id, operator);
    // The source is silent still, and may stay so.
    await until(() => tasks.readings().running === 0);
    await settled();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is for those who may read the logs', async () => {
    const { tasks } = await open();
    await expect(
      tasks.create(request(exportRequest()), { role: 'researcher', owner: 'r' }),
    ).rejects.toMatchObject({ code: 'forbidden' });
  });

  test('files that no task owns, and parts of writes that were killed, go at the next start', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'qfl-files-'));
    closing.push(() => rm(folder, { recursive: true, force: true }));
    const [kept, orphan] = [TaskId.parse('1'.repeat(32)), TaskId.parse('2'.repeat(32))];
    for (const name of [`${kept}.result`, `${orphan}.result`, `${kept}.partial`])
      writeFileSync(join(folder, name), 'x');
    const files = await openTaskFiles(folder, (id) => id === kept);
    expect(readdirSync(folder)).toEqual([`${kept}.result`]);
    expect(await text(files.read(kept))).toBe('x');
  });
});
