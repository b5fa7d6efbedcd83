/** The part of the npm package `quantum-circuit` that tests use; it ships no types. */
declare module 'quantum-circuit' {
  export default class QuantumCircuit {
    constructor(qubits: number);
    addGate(name: string, column: number, wires: number | readonly number[], options?: unknown): void;
    run(): void;
    stateAsArray(): readonly {
      readonly index: number;
      readonly amplitude: { readonly re: number; readonly im: number };
    }[];
  }
}
