/**
 * Quantum jobs on the local simulator, in a worker thread. What does not fit into memory is refused before anything is kept, with the figure;
 * what fits alone waits until it fits beside the others. Simulated runs repeat exactly, so their results come from the cache the second time.
 */
import { constrainedMemory } from 'node:process';
import { totalmem } from 'node:os';
import { assert, QflError } from '../../../shared/errors.ts';
import type { Cache } from '../../../shared/cache/cache.ts';
import { DENSITY_QUBITS_MAX } from '../../../shared/quantum/density.ts';
import { fromQasm } from '../../../shared/quantum/qasm.ts';
import { stateBytes } from '../../../shared/quantum/state.ts';
import type { RandomBytes } from '../../../shared/random.ts';
import type { QuantumJob, TaskSpec } from '../../../shared/wire/task.ts';
import type { WorkerPool } from '../../workers/pool.ts';
import { digestOf } from '../create.ts';
import type { TaskExecutor } from '../executor.ts';
import { createRoom } from '../room.ts';

export interface QuantumExecutorOptions {
  readonly pool: Pick<WorkerPool, 'run'>;
  readonly cache: Cache;
  readonly random: RandomBytes;
  readonly qubitsMax: number;
  readonly jobsMax: number;
  /** Memory that all running simulations may take together. */
  readonly memoryBytes: number;
}

/** Half of the memory of this machine or of its container: the rest of the program lives there too. */
export const simulatorMemoryBytes = (): number => {
  const constrained = constrainedMemory();
  const there = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.floor(there / 2);
};

/** Roles that may use the simulator: it takes the coordinator's own processor. */
const MAY_RUN: ReadonlySet<string> = new Set(['admin', 'operator', 'researcher']);
/** Programs up to this size are read at once (0.2 ms), larger ones by the worker: a request of a hundred must not hold the event loop. */
const READ_AT_ONCE_CHARS = 1_024;
/** Where larger ones have to declare their qubits to be refused before they are queued. */
const HEAD_CHARS = 16 * 1024;

/** Qubits that a program declares, without reading all of it; undefined when the worker has to find out. */
const declaredQubits = (qasm: string): number | undefined => {
  if (qasm.length <= READ_AT_ONCE_CHARS) return fromQasm(qasm).qubits;
  const digits = /\bqubit\s*\[\s*(\d{1,9})\s*\]/.exec(qasm.slice(0, HEAD_CHARS))?.[1];
  return digits === undefined ? undefined : Number(digits);
};

const qubitsOf = (job: QuantumJob): number | undefined => {
  if (job.type === 'circuit') return declaredQubits(job.qasm);
  return job.type === 'qaoa' ? job.qubo.bits : 2;
};

/**
 * What a run holds at once: the state; the odds of every outcome and room to sort the draws; for QAOA twice the table of values and its
 * ranks; with noise the density matrix in place of the state.
 */
const bytesOf = (job: QuantumJob, qubits: number): number => {
  const table = 8 * 2 ** qubits;
  if (job.type === 'chsh') return 64 * 1024;
  const draws = 16 * job.shots;
  if (job.type === 'qaoa') return stateBytes(qubits, job.precision) + 4 * table + draws;
  const state =
    job.noise === undefined ? stateBytes(qubits, job.precision) : stateBytes(2 * qubits, 'float64');
  return state + table + draws;
};

const checkQubo = (job: QuantumJob): void => {
  if (job.type !== 'qaoa') return;
  const { bits, linear, quadratic } = job.qubo;
  const refuse = (detail: string): never => {
    throw new QflError('invalid_request', { detail, next: 'Correct the problem and send it again.' });
  };
  if (linear.length !== bits) refuse(`linear has ${linear.length} weights for ${bits} bits`);
  for (const [first, second] of quadratic)
    if (first === second || first >= bits || second >= bits)
      refuse(`a quadratic term joins bits ${first} and ${second}; it needs two different bits below ${bits}`);
};

const tooLarge = (qubits: number, bytes: number, most: number): QflError =>
  new QflError('invalid_request', {
    detail: `${qubits} qubits take ${bytes} bytes here, and simulations may take ${most} bytes together`,
    next: 'Use fewer qubits, float32 instead of float64, or no noise.',
    facts: { qubits, bytes, bytesMax: most },
  });

const quantumOf = (spec: TaskSpec): QuantumJob => {
  assert(spec.kind === 'quantum', 'an executor gets tasks of its kind');
  return spec.job;
};

export const createQuantumExecutor = (options: QuantumExecutorOptions): TaskExecutor => {
  const { pool, cache, random, qubitsMax, memoryBytes } = options;
  const room = createRoom(memoryBytes, options.jobsMax);

  const checkSize = (job: QuantumJob, qubits: number): void => {
    const most =
      job.type === 'circuit' && job.noise !== undefined ? Math.min(qubitsMax, DENSITY_QUBITS_MAX) : qubitsMax;
    if (qubits > most)
      throw new QflError('invalid_request', {
        detail: `the job has ${qubits} qubits; at most ${most} are simulated${most < qubitsMax ? ' with noise' : ''}`,
        next: 'Use fewer qubits; backends.simulator.max_qubits is the limit without noise.',
        facts: { qubits, qubitsMax: most },
      });
    const bytes = bytesOf(job, qubits);
    if (bytes > memoryBytes) throw tooLarge(qubits, bytes, memoryBytes);
  };

  return {
    kind: 'quantum',
    prepare(spec, { role }) {
      const job = quantumOf(spec);
      if (!MAY_RUN.has(role))
        throw new QflError('forbidden', {
          detail: `the simulator is for ${[...MAY_RUN].join(', ')}; this key has role ${role}`,
        });
      checkQubo(job);
      const qubits = qubitsOf(job);
      if (qubits !== undefined) checkSize(job, qubits);
      const seed = job.seed ?? Buffer.from(random(4)).readUInt32BE();
      return { kind: 'quantum', job: { ...job, seed } };
    },
    async run({ spec, signal, progress }) {
      const job = quantumOf(spec);
      const key = digestOf('qfl quantum result', job);
      const kept = cache.get(key);
      if (kept !== undefined) return { form: 'json', value: JSON.parse(kept), cached: true };
      const bytes = Math.min(memoryBytes, bytesOf(job, qubitsOf(job) ?? qubitsMax));
      const giveBack = await room.take(bytes, signal);
      try {
        const { seed } = job;
        const input = { job, seed, memoryBytes: 2 * memoryBytes };
        const value = await pool.run('quantum', input, { signal, onProgress: progress });
        cache.put(key, JSON.stringify(value));
        return { form: 'json', value, cached: false };
      } finally {
        giveBack();
      }
    },
  };
};
