/** Quantum tasks: what is refused before anything is kept, what comes from the cache, what the simulator says. */
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { createQuantumExecutor } from '../../../coordinator/tasks/executors/quantum.ts';
import type { TaskWork } from '../../../coordinator/tasks/executor.ts';
import { createRoom } from '../../../coordinator/tasks/room.ts';
import { runQuantumJob } from '../../../coordinator/workers/quantum-job.ts';
import { createCache } from '../../../shared/cache/cache.ts';
import { QuantumSpec, type TaskSpec } from '../../../shared/wire/task.ts';
import { HeldClock, operator, seededBytes } from './fixture.ts';
import { taskOf } from './task-of.ts';

const MEMORY_BYTES = 2 ** 30;
const bell =
  'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nh q[0];\ncx q[0], q[1];\nc = measure q;\n';
const specOf = (job: object): TaskSpec => QuantumSpec.parse({ kind: 'quantum', job });
const circuit = (rest: object = {}): TaskSpec =>
  specOf({ type: 'circuit', qasm: bell, shots: 1_000, ...rest });

const open = () => {
  const ran: unknown[] = [];
  const cache = createCache({ entriesMax: 10, bytesMax: 1e6, lifeMs: 1_000, clock: new HeldClock() });
  const executor = createQuantumExecutor({
    pool: {
      run: (_name, input) => {
        ran.push(input);
        return Promise.resolve(runQuantumJob(input, () => undefined));
      },
    },
    cache,
    random: seededBytes(5),
    qubitsMax: 30,
    jobsMax: 2,
    memoryBytes: MEMORY_BYTES,
  });
  const run = (spec: TaskSpec) => {
    const task = taskOf();
    const work: TaskWork = {
      id: task.id,
      task,
      spec,
      signal: new AbortController().signal,
      progress: () => undefined,
    };
    return executor.run(work);
  };
  return { executor, run, ran, cache };
};
const Counts = z.object({ counts: z.array(z.object({ bits: z.string(), count: z.int() })), seed: z.int() });

describe('quantum tasks', () => {
  test('a Bell pair: half 00, half 11, the same counts for the same seed', async () => {
    const { executor, run } = open();
    const output = await run(executor.prepare(circuit({ seed: 7 }), operator));
    expect(output).toMatchObject({ form: 'json', cached: false });
    const value = Counts.parse('value' in output ? output.value : null);
    expect(value.counts.map(({ bits }) => bits).toSorted()).toEqual(['00', '11']);
    expect(value.counts.reduce((sum, { count }) => sum + count, 0)).toBe(1_000);
    for (const { count } of value.counts) expect(Math.abs(count - 500)).toBeLessThan(80);
  });

  test('the same work a second time comes from the cache; with another seed it does not', async () => {
    const { executor, run, ran, cache } = open();
    const first = await run(executor.prepare(circuit({ seed: 7 }), operator));
    const second = await run(executor.prepare(circuit({ seed: 7 }), operator));
    expect(second).toEqual({ ...first, cached: true });
    await run(executor.prepare(circuit({ seed: 8 }), operator));
    expect(ran).toHaveLength(2);
    expect(cache.hitRatio()).toBeCloseTo(1 / 3);
  });

  test('without a seed one is drawn and kept with the task', () => {
    const { executor } = open();
    const prepared = executor.prepare(circuit(), operator);
    expect(prepared).toMatchObject({ job: { seed: expect.any(Number) } });
    expect(executor.prepare(circuit(), operator)).not.toEqual(prepared);
  });

  test('QAOA finds the best cut of a ring among its proposals', async () => {
    const quadratic = [
      [0, 1, 2],
      [1, 2, 2],
      [2, 3, 2],
      [0, 3, 2],
    ];
    const qubo = { bits: 4, linear: [-2, -2, -2, -2], quadratic, offset: 0 };
    const { executor, run } = open();
    const output = await run(
      executor.prepare(specOf({ type: 'qaoa', qubo, layers: 2, seed: 1, shots: 500 }), operator),
    );
    const value = z
      .object({
        least: z.number(),
        approximationRatio: z.number(),
        proposals: z.array(z.object({ bits: z.string(), value: z.number() })),
      })
      .parse('value' in output ? output.value : null);
    expect(value.least).toBe(-4);
    expect(value.proposals[0]).toMatchObject({ value: -4 });
    expect(['0101', '1010']).toContain(value.proposals[0]!.bits);
    expect(value.approximationRatio).toBeGreaterThan(0.8);
  });

  const wide = (qubits: number): string => bell.replaceAll('[2]', `[${qubits}]`);
  test.each([
    [
      'more qubits than fit into memory, with the figure',
      circuit({ qasm: wide(28) }),
      /28 qubits take \d+ bytes/,
    ],
    [
      'noise on more qubits than a density matrix has',
      circuit({ qasm: wide(13), noise: { depolarising: 0.01 } }),
      /13 qubits; at most 12/,
    ],
    ['a program that does not read', circuit({ qasm: 'qubit[2] q; boom q[0];' }), /OpenQASM line 1/],
    [
      'a large program with too many qubits, without reading all of it',
      circuit({ qasm: wide(29) + 'h q[0];\n'.repeat(10_000) }),
      /29 qubits/,
    ],
    [
      'a term of one bit with itself',
      specOf({ type: 'qaoa', qubo: { bits: 2, linear: [0, 0], quadratic: [[1, 1, 1]] } }),
      /bits 1 and 1/,
    ],
    [
      'a term of a bit that is not there',
      specOf({ type: 'qaoa', qubo: { bits: 2, linear: [0, 0], quadratic: [[0, 2, 1]] } }),
      /bits 0 and 2/,
    ],
    [
      'weights that are too few',
      specOf({ type: 'qaoa', qubo: { bits: 2, linear: [0], quadratic: [] } }),
      /1 weights for 2 bits/,
    ],
  ])('refuses %s', (_what, spec, detail) => {
    expect(() => open().executor.prepare(spec, operator)).toThrowError(
      expect.objectContaining({
        code: 'invalid_request',
        detail: expect.stringMatching(detail),
        next: expect.any(String),
      }),
    );
  });

  test('is for roles that may use the processor of the coordinator', () => {
    expect(() => open().executor.prepare(circuit(), { role: 'nurse', owner: 'n' })).toThrowError(
      expect.objectContaining({ code: 'forbidden' }),
    );
  });

  test('a result names the most frequent outcomes and says how many there were', () => {
    const qasm = `qubit[13] q;\n${Array.from({ length: 13 }, (_, at) => `h q[${at}];`).join('\n')}`;
    const job = { type: 'circuit', qasm, shots: 100_000 };
    const result = runQuantumJob({ job, seed: 1, memoryBytes: MEMORY_BYTES }, () => undefined);
    const value = Counts.extend({ outcomes: z.int(), shotsListed: z.int() }).parse(result);
    expect(value.counts).toHaveLength(2_048);
    expect(value.outcomes).toBe(8_192);
    expect(value.shotsListed).toBe(value.counts.reduce((sum, { count }) => sum + count, 0));
  });
});

describe('room for simulations', () => {
  const never = new AbortController().signal;

  test('memory and places are shared in the order of asking', async () => {
    const room = createRoom(10, 2);
    const order: string[] = [];
    const giveBack = await room.take(8, never);
    const large = room.take(6, never).then((back) => (order.push('large'), back));
    const small = room.take(1, never).then((back) => (order.push('small'), back));
    await new Promise((resolve) => setImmediate(resolve));
    // The small one would fit, and waits for its turn: the large one would never come to its own.
    expect(order).toEqual([]);
    giveBack();
    giveBack();
    (await large)();
    (await small)();
    expect(order).toEqual(['large', 'small']);
  });

  test('who no longer wants to wait makes way', async () => {
    const room = createRoom(10, 2);
    await room.take(8, never);
    const abort = new AbortController();
    const waiting = room.take(6, abort.signal);
    const behind = room.take(2, never);
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    expect(typeof (await behind)).toBe('function');
  });
});
