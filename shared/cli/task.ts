/** `qfl task …`: work of the coordinator and what passes through it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { type ErrorCode, QflError, toQflError } from '../errors.ts';
import type { HttpClient } from '../http/client.ts';
import { errorOfProblem } from '../http/problem.ts';
import { TaskId } from '../ids.ts';
import { secureRandomBytes, randomHex } from '../random.ts';
import { LIST_LIMIT_MAX, TaskNews, TaskPage, TaskShown, TasksMade } from '../wire/task.ts';
import { connect, type TargetOptions, withClient, withTarget } from './connect.ts';
import { EXIT_FAILED, note, printJson, run, say } from './output.ts';
import { type CreateOptions, deadlineOf, given, invalid, numberOf, requestOf } from './task-request.ts';
import { writeWholeFile } from '../whole-file.ts';
import { exportState, importState } from './task-state.ts';
import { createTaskWatcher, taskTable, taskText } from './task-text.ts';

const RECONNECTS_MAX = 30;
const RECONNECT_MS = 1_000;
/** What ends a watch although the task goes on. */
const IS_CUT: ReadonlySet<ErrorCode> = new Set(['cut', 'not_connected', 'timeout']);

/** One stream of news; ends with the task, or throws when it was cut off. */
async function* newsOf(client: HttpClient, id: TaskId): AsyncGenerator<TaskNews> {
  for await (const { event, data } of client.sse('GET', `/v1/tasks/${id}/watch`)) {
    const body: unknown = JSON.parse(data);
    if (event === 'error') throw errorOfProblem(body) ?? new QflError('cut');
    const news = TaskNews.parse(body);
    yield news;
    if (news.task.endedMs !== null) return;
  }
  throw new QflError('cut', { detail: 'the coordinator ended the stream' });
}

/** Follows a task to its end, over restarts of the coordinator: each connection takes the key of the program that runs then. */
export const watchTask = async (options: TargetOptions, id: TaskId): Promise<TaskShown> => {
  const json = options.json ?? false;
  const watcher = json ? undefined : createTaskWatcher(process.stderr);
  let version = 0;
  let failures = 0;
  const follow = async (client: HttpClient): Promise<TaskShown> => {
    for await (const news of newsOf(client, id)) {
      failures = 0;
      // After a reconnection the present state comes first; it may be known already.
      if (news.what === 'state' && news.task.version === version) continue;
      ({ version } = news.task);
      if (json) process.stdout.write(`${JSON.stringify(news)}\n`);
      watcher?.show(news);
      if (news.task.endedMs !== null) return news.task;
    }
    throw new QflError('cut');
  };
  // Until it has written its new key, a coordinator that came up again refuses the old one.
  const isPassing = (code: ErrorCode): boolean =>
    IS_CUT.has(code) || (version > 0 && code === 'unauthenticated');
  try {
    for (;;) {
      try {
        return await withClient(connect(options, 'coordinator'), follow);
      } catch (thrown) {
        const error = toQflError(thrown);
        failures += 1;
        if (version === 0 || !isPassing(error.code) || failures > RECONNECTS_MAX) throw error;
        if (failures === 1) note(`connection lost (${error.code}); trying again`);
        await delay(RECONNECT_MS);
      }
    }
  } finally {
    watcher?.stop();
  }
};

/** The exit code of a watched task: anything but done is a failure. */
const endWith = ({ state }: TaskShown): void => {
  if (state !== 'done') process.exitCode = EXIT_FAILED;
};

const create = (options: CreateOptions): Promise<void> =>
  run(async () => {
    const body = await requestOf(options);
    await withClient(connect(options, 'coordinator'), async (client) => {
      // A key of our own: a request that was repeated after a lost answer makes nothing twice.
      const key = options.idempotencyKey ?? randomHex(secureRandomBytes, 16);
      const headers = { 'idempotency-key': key };
      const made = await client.json('POST', '/v1/tasks', TasksMade, { body, headers });
      if (options.watch === true && made.tasks.length === 1) {
        const json = options.json ?? false;
        const ended = await watchTask(options, made.tasks[0]!.id);
        if (!json) say(taskText(ended));
        return endWith(ended);
      }
      if (options.json === true) return printJson(made);
      if (made.repeated) note('this idempotency key had made them before');
      for (const task of made.tasks) say(`${task.id}  ${task.kind}  ${task.state}`);
      return note(`Follow one with:  qfl task watch ${made.tasks[0]?.id ?? 'ID'}`);
    });
  }, options.json ?? false);

interface ListOptions extends TargetOptions {
  readonly state?: string;
  readonly kind?: string;
  readonly site?: string;
  readonly since?: string;
  readonly limit: string;
}

const list = (options: ListOptions): Promise<void> =>
  run(async () => {
    const wanted = numberOf(options.limit, 'limit') ?? 0;
    const sinceMs = deadlineOf(options.since);
    const tasks: TaskShown[] = [];
    await withClient(connect(options, 'coordinator'), async (client) => {
      for (let after: string | null | undefined; after !== null && tasks.length < wanted;) {
        const { state, kind, site } = options;
        const limit = Math.min(LIST_LIMIT_MAX, wanted - tasks.length);
        const query = given({ state, kind, site, sinceMs, after, limit });
        const text = new URLSearchParams(
          Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
        );
        const page = await client.json('GET', `/v1/tasks?${text.toString()}`, TaskPage);
        tasks.push(...page.tasks);
        after = page.next;
      }
    });
    if (options.json === true) return printJson(tasks);
    if (tasks.length === 0) return say('No such tasks. Make one with "qfl task create".');
    return say(taskTable(tasks, Date.now()));
  }, options.json ?? false);

const idOf = (text: string): TaskId => {
  const id = TaskId.safeParse(text);
  if (id.success) return id.data;
  throw invalid(`${text} is not the id of a task`, 'An id has 32 characters; "qfl task list" shows them.');
};

const show = (text: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const id = idOf(text);
    const task = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('GET', `/v1/tasks/${id}`, TaskShown),
    );
    if (options.json === true) printJson(task);
    else say(taskText(task));
  }, options.json ?? false);

const watch = (text: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const id = idOf(text);
    const json = options.json ?? false;
    const ended = await watchTask(options, id);
    if (!json) say(taskText(ended));
    endWith(ended);
  }, options.json ?? false);

const cancel = (text: string, options: TargetOptions): Promise<void> =>
  run(async () => {
    const id = idOf(text);
    const task = await withClient(connect(options, 'coordinator'), (client) =>
      client.json('POST', `/v1/tasks/${id}/cancel`, TaskShown),
    );
    if (options.json === true) printJson(task);
    else say(`Task ${id} is cancelled.`);
  }, options.json ?? false);

const result = (text: string, options: TargetOptions & { readonly out?: string }): Promise<void> =>
  run(async () => {
    const id = idOf(text);
    await withClient(connect(options, 'coordinator'), async (client) => {
      const path = `/v1/tasks/${id}/result`;
      if (options.out !== undefined) {
        await writeWholeFile(options.out, client.bytes('GET', path));
        return options.json === true ? printJson({ file: options.out }) : say(`Written to ${options.out}.`);
      }
      const { result: kept } = await client.json('GET', `/v1/tasks/${id}`, TaskShown);
      if (kept?.form === 'file')
        throw invalid('this result is a file', 'Say where to write it with --out FILE.');
      return printJson(await client.json('GET', path, z.unknown()));
    });
  }, options.json ?? false);

export const registerTask = (program: Command): void => {
  const task = program.command('task').description('work of the coordinator, and what passes through it');
  const at = (name: string, description: string): Command =>
    withTarget(task.command(name).description(description), 'coordinator');
  at(
    'create',
    'queue a task: a quantum circuit, QAOA, a CHSH test, an audit export, or whole graphs from a file',
  )
    .option('--qasm <FILE>', 'OpenQASM 3 program to run on the simulator')
    .option(
      '--qubo <FILE>',
      'JSON {bits, linear, quadratic: [[i, j, weight]], offset} to make small with QAOA',
    )
    .option('--chsh', 'test of the back end by the inequality of Clauser, Horne, Shimony and Holt')
    .option('--audit-export', 'the logs of the federation as a file')
    .option('--file <FILE>', 'a request as JSON: one task, or {"tasks": […]} with refs and dependsOn')
    .option('--shots <N>', 'measurements (with --chsh: for each setting)')
    .option('--seed <N>', 'the same seed gives the same counts')
    .option('--layers <N>', 'with --qubo: layers of QAOA')
    .option('--precision <NAME>', 'float64 or float32')
    .option('--ground <TEXT>', 'with --audit-export: why, kept in the file')
    .option('--priority <0-9>', '9 is the most urgent')
    .option('--timeout <SECONDS>', 'for each attempt')
    .option('--deadline <TIME>', 'such as 2030-01-31T18:00:00Z; not done by then, it expires')
    .option('--attempts <N>', 'attempts that may fail')
    .option('--after <ID...>', 'tasks that have to be done first')
    .option('--idempotency-key <KEY>', 'repeating a request with the same key makes nothing twice')
    .option('--watch', 'follow it to its end')
    .action(create);
  at('list', 'tasks, newest first')
    .option('--state <STATE>', 'waiting, queued, running, done, failed, cancelled or expired')
    .option('--kind <KIND>', 'chat, stats, ask, train, quantum or export')
    .option('--site <NAME>', 'served by this site')
    .option('--since <TIME>', 'created at or after, such as 2030-01-31T18:00:00Z')
    .option('--limit <N>', 'how many at most', '50')
    .action(list);
  at('show <ID>', 'one task').action(show);
  at('watch <ID>', 'follow a task to its end (exit 0 when it is done, 1 otherwise)').action(watch);
  at('result <ID>', 'what a task gave').option('--out <FILE>', 'write it to a file').action(result);
  at('cancel <ID>', 'end a task; work under way stops').action(cancel);
  at('export', 'save the state of all tasks, sealed against changes')
    .requiredOption('--out <FILE>', 'file to write')
    .action(exportState);
  at('import <FILE>', 'read a saved state back; never puts an older state over a newer one')
    .option('--dry-run', 'say what would happen, and change nothing')
    .action(importState);
};
