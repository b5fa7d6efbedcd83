/** The states of a task, one event at a time. */
import { describe, expect, test } from 'vitest';
import { decide, RESTARTS_MAX, type TaskEvent } from '../../../coordinator/tasks/state.ts';
import type { Task } from '../../../coordinator/tasks/task.ts';
import { TaskId } from '../../../shared/ids.ts';
import type { TaskKind } from '../../../shared/wire/task.ts';
import { taskOf } from './task-of.ts';

const apply = (task: Task, ...events: readonly TaskEvent[]): Task =>
  events.reduce((now, event) => decide(now, event, 1_000).task, task);
const failed = (code: 'timeout' | 'invalid_request' | 'cut', isRetryable = true): TaskEvent => ({
  type: 'attempt_failed',
  attempt: 1,
  failure: { reason: 'attempt_failed', code, detail: 'it did not work', next: null },
  isRetryable,
  uniform: 0.5,
});
const running = (kind: TaskKind = 'quantum'): Task => apply(taskOf({ kind }), { type: 'started' });
const dependency = TaskId.parse('0'.repeat(32));

describe('a task', () => {
  test('runs when its dependencies are done, one after the other', () => {
    const second = TaskId.parse('1'.repeat(32));
    const waiting = taskOf({ state: 'waiting', queuedMs: null, waitingFor: [dependency, second] });
    const half = apply(waiting, { type: 'dependency_ended', dependency, state: 'done' });
    expect([half.state, half.waitingFor]).toEqual(['waiting', [second]]);
    const queued = apply(half, { type: 'dependency_ended', dependency: second, state: 'done' });
    expect([queued.state, queued.queuedMs]).toEqual(['queued', 1_000]);
  });

  test.each(['failed', 'cancelled', 'expired'] as const)(
    'fails by name when a dependency ends as %s',
    (state) => {
      const waiting = taskOf({ state: 'waiting', queuedMs: null, waitingFor: [dependency] });
      const { task, effects } = decide(waiting, { type: 'dependency_ended', dependency, state }, 1_000);
      expect(task).toMatchObject({ state: 'failed', failure: { reason: 'dependency_failed', dependency } });
      expect(effects).toEqual([{ type: 'ended' }]);
    },
  );

  test('comes back after a back-off, at its old place, and not before', () => {
    const again = apply(running(), failed('timeout'));
    expect(again).toMatchObject({ state: 'queued', failures: 1, notBeforeMs: 1_750, queuedMs: 500 });
    expect(decide(again, { type: 'started' }, 1_749).task).toBe(again);
    expect(decide(again, { type: 'started' }, 1_750).task).toMatchObject({ state: 'running', attempts: 2 });
  });

  test('does not come back when the same again cannot go well, or its attempts are used up', () => {
    expect(apply(running(), failed('invalid_request', false)).state).toBe('failed');
    expect(apply({ ...running(), failures: 2 }, failed('timeout'))).toMatchObject({
      state: 'failed',
      failures: 3,
    });
  });

  test('that must not run twice ends with an unknown outcome where nobody knows it', () => {
    const unknown = { state: 'failed', failure: { reason: 'outcome_unknown', code: 'outcome_unknown' } };
    expect(apply(running('ask'), failed('cut'))).toMatchObject(unknown);
    expect(apply(running('ask'), { type: 'restarted' })).toMatchObject(unknown);
    expect(apply(running('stats'), { type: 'timed_out', attempt: 1, uniform: 0 })).toMatchObject(unknown);
    expect(apply(running('ask'), failed('invalid_request', false))).toMatchObject({
      state: 'failed',
      failure: { code: 'invalid_request' },
    });
  });

  test('that may run twice does so after a death of the coordinator, but not for ever', () => {
    let task = running('quantum');
    for (let death = 1; death <= RESTARTS_MAX; death += 1) {
      task = apply(task, { type: 'restarted' });
      expect(task).toMatchObject({ state: 'queued', restarts: death, failures: 0 });
      task = apply(task, { type: 'started' });
    }
    expect(apply(task, { type: 'restarted' })).toMatchObject({ state: 'failed', failure: { code: 'cut' } });
  });

  test('cancelled, late or out of time while it runs: its worker is told', () => {
    const task = { ...running(), deadlineMs: 900 };
    const effectsOf = (event: TaskEvent) => decide(task, event, 1_000).effects;
    expect(effectsOf({ type: 'cancelled' })).toEqual([
      { type: 'abort', reason: 'cancelled' },
      { type: 'ended' },
    ]);
    expect(effectsOf({ type: 'deadline_passed' })).toEqual([
      { type: 'abort', reason: 'deadline' },
      { type: 'ended' },
    ]);
    expect(effectsOf({ type: 'timed_out', attempt: 1, uniform: 0 })).toEqual([
      { type: 'abort', reason: 'timeout' },
    ]);
  });

  test('hears nothing of attempts that are over', () => {
    const second = apply(running(), failed('timeout'), { type: 'started' });
    const now = { ...second, notBeforeMs: null, state: 'running' as const, attempts: 2 };
    expect(apply(now, { type: 'succeeded', attempt: 1, result: null })).toBe(now);
    expect(apply(now, failed('timeout'))).toBe(now);
    expect(apply(now, { type: 'timed_out', attempt: 1, uniform: 0 })).toBe(now);
  });
});
