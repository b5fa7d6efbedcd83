/** How tasks look on a terminal. */
import { MultiBar, type SingleBar } from 'cli-progress';
import type { TaskNews, TaskShown } from '../wire/task.ts';
import { ago, note, table } from './output.ts';

const time = (ms: number | null): string => (ms === null ? '–' : new Date(ms).toISOString());

const took = ({ startedMs, endedMs }: TaskShown, nowMs: number): string =>
  startedMs === null ? '–' : ago((endedMs ?? nowMs) - startedMs);

/** One line of how far it is. */
export const progressText = ({ progress, state, failure, notBeforeMs }: TaskShown): string => {
  if (failure !== null) {
    const later = notBeforeMs === null ? '' : `; again at ${time(notBeforeMs)}`;
    return `${failure.reason}: ${failure.detail}${later}`;
  }
  if (progress === null) return state;
  const { done, total, unit } = progress;
  return total === null
    ? `${done.toLocaleString('en')} ${unit}`
    : `${Math.floor((100 * done) / total)} % of ${total.toLocaleString('en')} ${unit}`;
};

const FIGURE_DIGITS = 4;
/** Such as `step 3, loss 0.4422, accuracy 0.8634`. */
const figuresText = (figures: Readonly<Record<string, number>>): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${Number(value.toPrecision(FIGURE_DIGITS))}`)
    .join(', ');

export const taskTable = (tasks: readonly TaskShown[], nowMs: number): string =>
  table(
    ['task', 'kind', 'state', 'priority', 'site', 'age', 'ran', 'note'],
    tasks.map((task) => [
      task.id,
      task.kind,
      task.state,
      String(task.priority),
      task.site ?? '–',
      ago(nowMs - task.createdMs),
      took(task, nowMs),
      task.failure === null && task.progress === null ? '' : progressText(task),
    ]),
  );

export const taskText = (task: TaskShown): string =>
  [
    `${task.kind} task ${task.id}: ${task.state}`,
    `  created ${time(task.createdMs)} by ${task.createdBy}, priority ${task.priority}`,
    `  queued ${time(task.queuedMs)}, started ${time(task.startedMs)}, ended ${time(task.endedMs)}`,
    `  attempts ${task.attempts}, at most ${task.attemptsMax} failed ones, ${task.timeoutMs / 1_000} s each; ${task.delivery === 'at_most_once' ? 'never runs twice' : 'runs again if the coordinator dies'}`,
    ...(task.deadlineMs === null ? [] : [`  deadline ${time(task.deadlineMs)}`]),
    ...(task.site === null ? [] : [`  site ${task.site}`]),
    ...(task.reference === null ? [] : [`  query ${task.reference}`]),
    ...(task.dependsOn.length === 0 ? [] : [`  depends on ${task.dependsOn.join(', ')}`]),
    ...(task.progress === null ? [] : [`  ${progressText(task)}`]),
    ...(task.failure === null ? [] : [`  ${task.failure.reason}: ${task.failure.detail}`]),
    ...(task.failure?.next === null || task.failure === null ? [] : [`  next: ${task.failure.next}`]),
    ...(task.result === null
      ? []
      : [
          `  result: ${task.result.bytes.toLocaleString('en')} bytes${task.result.cached ? ', from the cache' : ''}; "qfl task result ${task.id}"`,
        ]),
  ].join('\n');

export interface TaskWatcher {
  show(news: TaskNews): void;
  /** Leaves the terminal as it was. */
  stop(): void;
}

/** Changes of state as lines, progress as a bar; without a terminal, progress as lines too, one for each tenth. */
export const createTaskWatcher = (stream: NodeJS.WriteStream): TaskWatcher => {
  const bars = new MultiBar({
    stream,
    format: '{what} [{bar}] {percentage}%',
    hideCursor: true,
    clearOnComplete: true,
    noTTYOutput: false,
  });
  let bar: SingleBar | undefined;
  let told = '';
  const line = (text: string): void => {
    if (text === told) return;
    told = text;
    if (stream.isTTY) bars.log(`${text}\n`);
    else note(text);
  };
  return {
    show({ what, task }) {
      if (what === 'state') return line(`${new Date().toISOString()}  ${task.state}  ${progressText(task)}`);
      const { progress } = task;
      if (progress === null) return undefined;
      const figures = progress.figures === undefined ? '' : figuresText(progress.figures);
      if (!stream.isTTY || progress.total === null) {
        const tenth = progress.total === null ? '' : Math.floor((10 * progress.done) / progress.total) * 10;
        const far = tenth === '' ? progressText(task) : `${tenth} %`;
        return line(figures === '' ? far : `${far}  ${figures}`);
      }
      if (figures !== '') line(figures);
      bar ??= bars.create(progress.total, 0, { what: progress.unit });
      bar.setTotal(progress.total);
      return bar.update(progress.done, { what: progress.unit });
    },
    stop: () => bars.stop(),
  };
};
