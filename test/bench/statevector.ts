/**
 * `statevector`: one QAOA layer (cost phase of MaxCut on a ring, then RX on every qubit) on the exact simulator, float64, one thread.
 * Beside it, in the same run: the machine's measured memory bandwidth, of which the layer's traffic is a share, and the npm package
 * `quantum-circuit` on the same layer gate by gate, and our own gate by gate.
 */
import QuantumCircuit from 'quantum-circuit';
import { applyGate } from '../../shared/quantum/apply.ts';
import { type Gate, gate } from '../../shared/quantum/circuit.ts';
import { maxCutQubo, quboTable } from '../../shared/quantum/ising.ts';
import { applyRankedLayer, rankValues } from '../../shared/quantum/layer.ts';
import { BLOCK_QUBITS } from '../../shared/quantum/mixer.ts';
import { createState, type State } from '../../shared/quantum/state.ts';

const REPEATS = 25;
const PEER_QUBITS = 16;
const SIZES = [16, 18, 20, 22] as const;
const [GAMMA, BETA] = [0.37, 0.61];
const BYTES_PER_AMPLITUDE = 16;

export interface StatevectorRow {
  readonly qubits: number;
  readonly layerMsP50: number;
  readonly layerMsP95: number;
  /** Bytes of amplitudes read and written once per pass over all of them, per second. */
  readonly gigabytesPerSecond: number;
  readonly bandwidthShare: number;
}

export interface StatevectorResult {
  readonly bench: 'statevector';
  readonly precision: 'float64';
  readonly copyGigabytesPerSecond: number;
  readonly rows: readonly StatevectorRow[];
  readonly peer: {
    readonly name: 'quantum-circuit';
    readonly qubits: number;
    readonly peerLayerMs: number;
    readonly gateByGateMs: number;
    readonly fusedMs: number;
    readonly ratioGateByGate: number;
    readonly ratioFused: number;
  };
}

const ringEdges = (qubits: number): (readonly [number, number, number])[] =>
  Array.from({ length: qubits }, (_, at) => [at, (at + 1) % qubits, 1] as const);

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;

const timesOf = (repeats: number, action: () => void): number[] =>
  Array.from({ length: repeats }, () => {
    const begunMs = performance.now();
    action();
    return performance.now() - begunMs;
  }).toSorted((left, right) => left - right);

/** One pass for the phase and the qubits inside the cache's block, one for each three above it. */
const passesOf = (qubits: number): number => 1 + Math.max(0, Math.ceil((qubits - BLOCK_QUBITS) / 3));

const layerOf = (qubits: number): (() => void) => {
  const ranked = rankValues(quboTable(maxCutQubo(qubits, ringEdges(qubits))));
  if (ranked === undefined) throw new Error('a ring has few values');
  const state = createState(qubits, 'float64');
  return () => applyRankedLayer(state, ranked, GAMMA, BETA);
};

/** Read and write of 64 MB in turn, the best of some runs: what memory gives to one thread. */
const copyBandwidth = (): number => {
  const from = new Float64Array(8 * 1024 * 1024).fill(1);
  const to = new Float64Array(from.length);
  const [best = Number.NaN] = timesOf(15, () => to.set(from));
  return (2 * from.byteLength) / best / 1e6;
};

const measureRow = (qubits: number, copyGigabytesPerSecond: number): StatevectorRow => {
  const layer = layerOf(qubits);
  timesOf(5, layer);
  const times = timesOf(REPEATS, layer);
  const p50 = quantile(times, 0.5);
  const gigabytesPerSecond = (2 * 2 ** qubits * BYTES_PER_AMPLITUDE * passesOf(qubits)) / p50 / 1e6;
  return {
    qubits,
    layerMsP50: p50,
    layerMsP95: quantile(times, 0.95),
    gigabytesPerSecond,
    bandwidthShare: gigabytesPerSecond / copyGigabytesPerSecond,
  };
};

/** The layer as gates: MaxCut's phase on an edge is rz between two cx. */
const layerGates = (qubits: number): Gate[] => [
  ...ringEdges(qubits).flatMap(([a, b]) => [gate('cx', [a, b]), gate('rz', [b], GAMMA), gate('cx', [a, b])]),
  ...Array.from({ length: qubits }, (_, qubit) => gate('rx', [qubit], 2 * BETA)),
];

const hadamards = (qubits: number): Gate[] =>
  Array.from({ length: qubits }, (_, qubit) => gate('h', [qubit]));

const peerTimeMs = (qubits: number, gates: readonly Gate[]): number => {
  const peer = new QuantumCircuit(qubits);
  gates.forEach(({ name, qubits: on, angles: [angle = 0] }, column) => {
    const params = name === 'rz' ? { phi: angle } : { theta: angle };
    peer.addGate(name, column, on.length === 1 ? (on[0] ?? 0) : on, { params });
  });
  const begunMs = performance.now();
  peer.run();
  return performance.now() - begunMs;
};

const measurePeer = (): StatevectorResult['peer'] => {
  const start = hadamards(PEER_QUBITS);
  const layer = layerGates(PEER_QUBITS);
  // Its state is a map of non-zero amplitudes: the layer's own time is that of both less that of filling the state.
  const peerLayerMs = peerTimeMs(PEER_QUBITS, [...start, ...layer]) - peerTimeMs(PEER_QUBITS, start);
  const state: State = createState(PEER_QUBITS, 'float64');
  for (const one of start) applyGate(state, one);
  const gateByGateMs = quantile(
    timesOf(REPEATS, () => {
      for (const one of layer) applyGate(state, one);
    }),
    0.5,
  );
  const fusedMs = quantile(timesOf(REPEATS, layerOf(PEER_QUBITS)), 0.5);
  return {
    name: 'quantum-circuit',
    qubits: PEER_QUBITS,
    peerLayerMs,
    gateByGateMs,
    fusedMs,
    ratioGateByGate: peerLayerMs / gateByGateMs,
    ratioFused: peerLayerMs / fusedMs,
  };
};

const text = ({ copyGigabytesPerSecond, rows, peer }: StatevectorResult): string =>
  [
    `memory, copying 64 MB: ${copyGigabytesPerSecond.toFixed(1)} GB/s`,
    'qubits   layer p50 ms   p95 ms   GB/s   share of memory',
    ...rows.map((row) =>
      [
        String(row.qubits).padStart(6),
        row.layerMsP50.toFixed(2).padStart(15),
        row.layerMsP95.toFixed(2).padStart(9),
        row.gigabytesPerSecond.toFixed(1).padStart(7),
        row.bandwidthShare.toFixed(2).padStart(18),
      ].join(''),
    ),
    `${peer.name} at ${peer.qubits} qubits: ${peer.peerLayerMs.toFixed(0)} ms a layer; ours gate by gate ${peer.gateByGateMs.toFixed(1)} ms (${peer.ratioGateByGate.toFixed(0)}x), fused ${peer.fusedMs.toFixed(2)} ms (${peer.ratioFused.toFixed(0)}x)`,
  ].join('\n');

export const run = ({ json }: { readonly json: boolean }): Promise<StatevectorResult> => {
  const copyGigabytesPerSecond = copyBandwidth();
  const result: StatevectorResult = {
    bench: 'statevector',
    precision: 'float64',
    copyGigabytesPerSecond,
    rows: SIZES.map((qubits) => measureRow(qubits, copyGigabytesPerSecond)),
    peer: measurePeer(),
  };
  console.log(json ? JSON.stringify(result) : text(result));
  return Promise.resolve(result);
};
