/** `qfl task export|import`: the state of all tasks as a file of pages, whole or not at all. */
import { QflError } from '../errors.ts';
import type { HttpClient } from '../http/client.ts';
import { writeWholeFile } from '../whole-file.ts';
import { TaskImportAnswer, TaskStatePage } from '../wire/task.ts';
import { connect, type TargetOptions, withClient } from './connect.ts';
import { printJson, run, say } from './output.ts';
import { invalid, readText } from './task-request.ts';

/** Pages as the lines of a file. */
async function* pagesOf(client: HttpClient, counted: (tasks: number) => void): AsyncGenerator<string> {
  for (let [page, tag, from]: [number, string, string | null] = [0, '', null]; ;) {
    const text = new URLSearchParams({ page: String(page), tag, ...(from === null ? {} : { from }) });
    const got = await client.json('GET', `/v1/tasks/export?${text.toString()}`, TaskStatePage);
    counted(got.tasks.length);
    yield `${JSON.stringify(got)}\n`;
    if (got.last) return;
    [page, tag, from] = [page + 1, got.tag, got.next];
  }
}

export const exportState = (options: TargetOptions & { readonly out: string }): Promise<void> =>
  run(async () => {
    let tasks = 0;
    await withClient(connect(options, 'coordinator'), (client) =>
      writeWholeFile(
        options.out,
        pagesOf(client, (more) => (tasks += more)),
      ),
    );
    if (options.json === true) printJson({ file: options.out, tasks });
    else
      say(
        `${tasks} tasks written to ${options.out}. Only this coordinator reads it back, with "qfl task import".`,
      );
  }, options.json ?? false);

/** The pages of a file, in one piece. @throws QflError `invalid_request` when one is missing or the file ends early */
const readPages = async (file: string): Promise<readonly TaskStatePage[]> => {
  const pages = (await readText(file))
    .split('\n')
    .filter((line) => line !== '')
    .map((line, at) => {
      try {
        return TaskStatePage.parse(JSON.parse(line));
      } catch (cause) {
        throw new QflError('invalid_request', {
          detail: `line ${at + 1} of ${file} is not a page of a saved state`,
          next: 'Take the file from where it was kept again.',
          cause,
        });
      }
    });
  const isWhole = pages.every(
    ({ previousTag, page, last }, at) =>
      page === at && previousTag === (pages[at - 1]?.tag ?? '') && last === (at === pages.length - 1),
  );
  if (pages.length > 0 && isWhole) return pages;
  throw invalid(
    `${file} is not whole: pages are missing or in another order`,
    'Take the file from where it was kept again.',
  );
};

export const importState = (
  file: string,
  options: TargetOptions & { readonly dryRun?: boolean },
): Promise<void> =>
  run(async () => {
    const pages = await readPages(file);
    const sum = { added: 0, unchanged: 0, kept: [] as TaskImportAnswer['kept'], unknown: 0, applied: false };
    await withClient(connect(options, 'coordinator'), async (client) => {
      const send = (page: TaskStatePage, dryRun: boolean) =>
        client.json('POST', `/v1/tasks/import?dryRun=${dryRun}`, TaskImportAnswer, { body: page });
      // All pages are looked at before the first one changes anything.
      const looked: TaskImportAnswer[] = [];
      for (const page of pages) looked.push(await send(page, true));
      const answers = options.dryRun === true ? looked : [];
      if (options.dryRun !== true) for (const page of pages) answers.push(await send(page, false));
      for (const { added, unchanged, kept, unknown, applied } of answers) {
        sum.added += added;
        sum.unchanged += unchanged;
        sum.kept.push(...kept);
        sum.unknown += unknown;
        sum.applied = applied;
      }
    });
    if (options.json === true) return printJson(sum);
    say(`${sum.applied ? 'Added' : 'Would add'} ${sum.added} tasks; ${sum.unchanged} were here already.`);
    if (sum.unknown > 0)
      say(`${sum.unknown} were under way and must not run twice: they end with an unknown outcome.`);
    for (const { id, here, given: old } of sum.kept)
      say(`${id}: here in version ${here}, newer than version ${old} of the file; left as it is.`);
  }, options.json ?? false);
