/** One quantum job on the local simulator: exact, seeded, the same counts for the same seed on every machine. */
import { z } from 'zod';
import { runCircuit } from '../../shared/quantum/apply.ts';
import { CHSH_CIRCUITS, certify } from '../../shared/quantum/chsh.ts';
import type { Circuit } from '../../shared/quantum/circuit.ts';
import { readOdds, runNoisy } from '../../shared/quantum/density.ts';
import { approximationRatio, proposals, runQaoa } from '../../shared/quantum/qaoa.ts';
import { fromQasm } from '../../shared/quantum/qasm.ts';
import { type Counts, sampleShots } from '../../shared/quantum/sampling.ts';
import { probabilitiesOf } from '../../shared/quantum/state.ts';
import { type Seeded, seeded } from '../../shared/seeded.ts';
import { QuantumJob } from '../../shared/wire/task.ts';
import type { JobProgress } from './pool.ts';

/** Outcomes that a result names; the rest is told as a number. */
export const OUTCOMES_MAX = 2_048;

const Input = z.object({ job: QuantumJob, seed: z.int(), memoryBytes: z.number().positive() });
type CircuitJob = Extract<QuantumJob, { type: 'circuit' }>;
type QaoaJob = Extract<QuantumJob, { type: 'qaoa' }>;
type ChshJob = Extract<QuantumJob, { type: 'chsh' }>;

const bitsOf = (state: number, width: number): string => state.toString(2).padStart(width, '0');

const listed = (counts: Counts, width: number) => {
  const ranked = [...counts].toSorted(([a, left], [b, right]) => right - left || a - b);
  const shown = ranked.slice(0, OUTCOMES_MAX);
  return {
    /** Bit 0 on the right; most frequent first. */
    counts: shown.map(([state, count]) => ({ bits: bitsOf(state, width), count })),
    outcomes: ranked.length,
    shotsListed: shown.reduce((sum, [, count]) => sum + count, 0),
  };
};

const oddsOf = (
  circuit: Circuit,
  job: Pick<CircuitJob, 'noise' | 'precision'>,
  memoryBytes: number,
): Float64Array => {
  const { noise, precision } = job;
  if (noise === undefined) return probabilitiesOf(runCircuit(circuit, { precision, memoryBytes }));
  const { depolarising = 0, amplitudeDamping = 0 } = noise;
  return readOdds(runNoisy(circuit, { depolarising, amplitudeDamping }));
};

const runCircuitJob = (job: CircuitJob, random: Seeded, memoryBytes: number) => {
  const circuit = fromQasm(job.qasm);
  const counts = sampleShots(oddsOf(circuit, job, memoryBytes), job.shots, random, job.readout);
  return {
    qubits: circuit.qubits,
    gates: circuit.gates.length,
    shots: job.shots,
    ...listed(counts, circuit.qubits),
  };
};

const runQaoaJob = (job: QaoaJob, random: Seeded, memoryBytes: number) => {
  const { qubo, layers, precision, evaluationsMax, shots } = job;
  const result = runQaoa(qubo, { layers, precision, evaluationsMax, memoryBytes });
  const drawn = proposals(result, qubo, shots, random);
  const text = (bits: readonly number[]): string => bits.toReversed().join('');
  return {
    bits: qubo.bits,
    shots,
    angles: result.angles,
    expectation: result.expectation,
    least: result.least,
    approximationRatio: approximationRatio(result),
    evaluations: result.evaluations,
    /** Best value first; bit 0 on the right. */
    proposals: drawn
      .slice(0, OUTCOMES_MAX)
      .map(({ bits, value, count }) => ({ bits: text(bits), value, count })),
    outcomes: drawn.length,
  };
};

const runChshJob = ({ shotsPerSetting, readout }: ChshJob, random: Seeded) => {
  const counts = CHSH_CIRCUITS.map((circuit) =>
    sampleShots(probabilitiesOf(runCircuit(circuit)), shotsPerSetting, random, readout),
  );
  return { ...certify(counts, shotsPerSetting) };
};

/** @throws QflError `invalid_request`: a program that does not read, more qubits than fit into memory (with the figure) */
export const runQuantumJob = (input: unknown, progress: (progress: JobProgress) => void): unknown => {
  const { job, seed, memoryBytes } = Input.parse(input);
  const random = seeded(seed);
  progress({ done: 0, total: 1, unit: 'runs' });
  const backend = { backend: 'simulator', type: job.type, seed };
  if (job.type === 'circuit') return { ...backend, ...runCircuitJob(job, random, memoryBytes) };
  if (job.type === 'qaoa') return { ...backend, ...runQaoaJob(job, random, memoryBytes) };
  return { ...backend, ...runChshJob(job, random) };
};
