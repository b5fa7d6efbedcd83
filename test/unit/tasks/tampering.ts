/** Changes to a saved page, one at a time: which of them are taken. */
import type { Tasks } from '../../../coordinator/tasks/tasks.ts';
import { TaskId } from '../../../shared/ids.ts';
import type { TaskStatePage } from '../../../shared/wire/task.ts';

export const pagesOf = async (tasks: Pick<Tasks, 'exportPage'>): Promise<readonly TaskStatePage[]> => {
  const pages: TaskStatePage[] = [];
  for (let from: TaskId | null = null; ;) {
    const page = await tasks.exportPage({ page: pages.length, tag: pages.at(-1)?.tag ?? '', from });
    pages.push(page);
    if (page.last) return pages;
    from = page.next;
  }
};

const changes: Readonly<Record<string, (page: TaskStatePage) => TaskStatePage>> = {
  'a letter of a task': (page) => ({
    ...page,
    tasks: page.tasks.map((text, at) => (at === 0 ? text.replace('"priority":4', '"priority":5') : text)),
  }),
  'a task left out': (page) => ({ ...page, tasks: page.tasks.slice(1) }),
  'a task twice': (page) => ({ ...page, tasks: [...page.tasks, page.tasks[0]!] }),
  'tasks in another order': (page) => ({ ...page, tasks: page.tasks.toReversed() }),
  'its number': (page) => ({ ...page, page: page.page + 1 }),
  'its time': (page) => ({ ...page, createdMs: page.createdMs + 1 }),
  'whether it is the last': (page) => ({ ...page, last: !page.last }),
  'what comes next': (page) => ({ ...page, next: TaskId.parse('1'.repeat(32)) }),
  'the page before': (page) => ({ ...page, previousTag: '0'.repeat(64) }),
  'the federation': (page) => ({ ...page, federation: 'another' }),
  'the tag': (page) => ({ ...page, tag: page.tag.replace(/^./, (first) => (first === '0' ? '1' : '0')) }),
};

/** @returns the changes that were not refused as `bad_signature` */
export const refusesTampering = async (
  page: TaskStatePage,
  read: (page: TaskStatePage) => Promise<unknown>,
): Promise<readonly string[]> => {
  const taken: string[] = [];
  for (const [name, change] of Object.entries(changes)) {
    const code = await read(change(page)).then(
      () => 'taken',
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'another error'),
    );
    if (code !== 'bad_signature') taken.push(name);
  }
  return taken;
};
