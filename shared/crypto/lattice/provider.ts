/** The provider in use: the runtime's own where it has ML-DSA, else JavaScript. */
import { javascriptLattice } from './javascript.ts';
import { nativeLattice } from './native.ts';
import type { LatticeProvider } from './port.ts';

export const lattice: LatticeProvider = nativeLattice() ?? javascriptLattice;
