/** The state machine against a reference that says the same in another way: a table of what may follow what. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../../coordinator/tasks/backoff.ts';
import { decide, RESTARTS_MAX, type TaskEvent } from '../../../coordinator/tasks/state.ts';
import { ENDED, type Task } from '../../../coordinator/tasks/task.ts';
import { TaskId } from '../../../shared/ids.ts';
import { TaskKind } from '../../../shared/wire/task.ts';
import { taskOf } from './task-of.ts';

const A = TaskId.parse('a'.repeat(32));
const B = TaskId.parse('b'.repeat(32));

const attempt = fc.integer({ min: 0, max: 4 });
const uniform = fc.double({ min: 0, max: 0.999, noNaN: true });
const event: fc.Arbitrary<TaskEvent> = fc.oneof(
  fc.record({
    type: fc.constant('dependency_ended' as const),
    dependency: fc.constantFrom(A, B),
    state: fc.constantFrom('done' as const, 'done' as const, 'failed' as const, 'expired' as const),
  }),
  fc.constant({ type: 'started' as const }),
  fc.constant({ type: 'started' as const }),
  fc.record({ type: fc.constant('succeeded' as const), attempt, result: fc.constant(null) }),
  fc.record({
    type: fc.constant('attempt_failed' as const),
    attempt,
    failure: fc.constantFrom('timeout' as const, 'invalid_request' as const).map((code) => ({
      reason: 'attempt_failed' as const,
      code,
      detail: 'x',
      next: null,
    })),
    isRetryable: fc.boolean(),
    uniform,
  }),
  fc.record({ type: fc.constant('timed_out' as const), attempt, uniform }),
  fc.constant({ type: 'deadline_passed' as const }),
  fc.constant({ type: 'cancelled' as const }),
  fc.constant({ type: 'restarted' as const }),
);

/** The reference: three numbers and a word, and one rule a line. */
interface Reference {
  readonly state: string;
  readonly missing: readonly string[];
  readonly starts: number;
  readonly failures: number;
  readonly restarts: number;
  readonly readyMs: number;
}

const reference = (now: Reference, it: TaskEvent, nowMs: number, task: Task): Reference => {
  const once = ['chat', 'stats', 'ask'].includes(task.kind);
  const to = (state: string, rest: Partial<Reference> = {}): Reference => ({ ...now, state, ...rest });
  const retry = (again: boolean, waitMs: number): Reference =>
    again && !once && now.failures + 1 < task.attemptsMax
      ? to('queued', { failures: now.failures + 1, readyMs: nowMs + waitMs })
      : to('failed', { failures: now.failures + 1 });
  if (['done', 'failed', 'cancelled', 'expired'].includes(now.state)) return now;
  if (it.type === 'cancelled') return to('cancelled');
  if (it.type === 'deadline_passed')
    return task.deadlineMs !== null && nowMs >= task.deadlineMs ? to('expired') : now;
  if (now.state === 'waiting' && it.type === 'dependency_ended') {
    if (!now.missing.includes(it.dependency)) return now;
    if (it.state !== 'done') return to('failed');
    const missing = now.missing.filter((id) => id !== it.dependency);
    return to(missing.length === 0 ? 'queued' : 'waiting', { missing });
  }
  if (now.state === 'queued' && it.type === 'started')
    return nowMs < now.readyMs ? now : to('running', { starts: now.starts + 1, readyMs: 0 });
  if (now.state !== 'running') return now;
  if (it.type === 'restarted') {
    if (once || now.restarts === RESTARTS_MAX)
      return to('failed', { restarts: once ? now.restarts : now.restarts + 1 });
    return to('queued', { restarts: now.restarts + 1 });
  }
  if (!('attempt' in it) || it.attempt !== now.starts) return now;
  if (it.type === 'succeeded') return to('done');
  const waitMs = backoffMs(now.failures + 1, it.uniform);
  return retry(it.type === 'timed_out' || it.isRetryable, waitMs);
};

describe('the state machine', () => {
  test('does what the reference does, over any events in any order', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...TaskKind.options),
        fc.subarray([A, B]),
        fc.integer({ min: 1, max: 3 }),
        fc.option(fc.integer({ min: 0, max: 20_000 }), { nil: null }),
        fc.array(fc.tuple(event, fc.integer({ min: 0, max: 2_000 })), { maxLength: 40 }),
        (kind, missing, attemptsMax, deadlineMs, events) => {
          const state = missing.length === 0 ? 'queued' : 'waiting';
          let task = taskOf({ kind, state, waitingFor: missing, attemptsMax, deadlineMs });
          let model: Reference = { state, missing, starts: 0, failures: 0, restarts: 0, readyMs: 0 };
          let nowMs = 1_000;
          for (const [it, laterMs] of events) {
            nowMs += laterMs;
            model = reference(model, it, nowMs, task);
            const before = task;
            const decision = decide(task, it, nowMs);
            ({ task } = decision);
            expect([task.state, task.attempts, task.failures, task.restarts]).toEqual([
              model.state,
              model.starts,
              model.failures,
              model.restarts,
            ]);
            // Nothing happens without a new version, and one step is one version.
            expect(task.version - before.version).toBe(task === before ? 0 : 1);
            if (task === before) expect(decision.effects).toEqual([]);
            expect(decision.effects.some(({ type }) => type === 'ended')).toBe(
              ENDED.has(task.state) && task !== before,
            );
            expect(decision.effects.some(({ type }) => type === 'run')).toBe(
              before.state === 'queued' && task.state === 'running',
            );
            expect(task.endedMs === null).toBe(!ENDED.has(task.state));
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('what must not run twice starts at most once, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('stats', 'ask', 'chat'),
        fc.array(event, { maxLength: 60 }),
        (kind, events) => {
          let task = taskOf({ kind });
          events.forEach((it, at) => ({ task } = decide(task, it, 1_000 * at)));
          expect(task.attempts).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('back-off doubles up to its bound, of which at least half is waited', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), uniform, (failures, u) => {
        const whole = Math.min(60_000, 1_000 * 2 ** (failures - 1));
        const ms = backoffMs(failures, u);
        expect(ms).toBeGreaterThanOrEqual(whole / 2 - 1);
        expect(ms).toBeLessThanOrEqual(whole);
      }),
    );
  });
});
