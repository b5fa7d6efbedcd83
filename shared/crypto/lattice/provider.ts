/** The providers in use: the runtime's own where it has the algorithm, else JavaScript, or WebAssembly for X-Wing. */
import { javascriptIdentityLattice } from './javascript-identity.ts';
import { javascriptLattice } from './javascript.ts';
import { nativeIdentityLattice, nativeLattice } from './native.ts';
import { nativeXWing } from './native-xwing.ts';
import type { IdentityLattice, LatticeProvider, XWingProvider } from './port.ts';
import { sodiumXWing } from './sodium-xwing.ts';

export const lattice: LatticeProvider = nativeLattice() ?? javascriptLattice;
export const identityLattice: IdentityLattice = nativeIdentityLattice() ?? javascriptIdentityLattice;
export const xwing: XWingProvider = nativeXWing() ?? sodiumXWing;
