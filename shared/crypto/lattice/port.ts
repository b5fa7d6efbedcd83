/**
 * The seam for post-quantum arithmetic: who computes ML-DSA-44 and ML-DSA-65 (FIPS 204, "pure", empty context), and X-Wing. Today JavaScript and
 * WebAssembly; a runtime whose OpenSSL has them takes over without a change anywhere else, with the same keys from the same seeds.
 */
export const MLDSA44_PUBLIC_BYTES = 1_312;
export const MLDSA44_SIGNATURE_BYTES = 2_420;

export interface LatticeSigner {
  /** 1,312 bytes. */
  readonly publicKey: Uint8Array;
  /** 2,420 bytes. In JavaScript 2–60 ms of arithmetic, so never on the event loop. @throws QflError `internal` */
  readonly sign: (message: Uint8Array) => Promise<Uint8Array>;
}

export interface LatticeProvider {
  readonly name: 'openssl' | 'javascript';
  /** Key generation of FIPS 204 from its 32-byte seed: the same key from either provider. */
  signer(seed: Uint8Array): LatticeSigner;
  /** False for anything malformed. 0.1 ms in OpenSSL, 2–4 ms in JavaScript: callers with many yield between two. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

export const MLDSA65_PUBLIC_BYTES = 1_952;
export const MLDSA65_SIGNATURE_BYTES = 3_309;

/** ML-DSA-65, for identities: rare, lasting statements, signed where they are made. */
export interface IdentityLattice {
  readonly name: 'openssl' | 'javascript';
  /** Key generation of FIPS 204 from its 32-byte seed. Signing takes tens of milliseconds in JavaScript. */
  signer(seed: Uint8Array): {
    /** 1,952 bytes. */
    readonly publicKey: Uint8Array;
    /** 3,309 bytes. */
    readonly sign: (message: Uint8Array) => Uint8Array;
  };
  /** False for anything malformed. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

/** X-Wing's key generation and decapsulation; sizes are checked before. */
export interface XWingProvider {
  readonly name: 'openssl' | 'libsodium';
  /** 1,216 bytes, from the 32-byte seed. */
  publicKeyOf(seed: Uint8Array): Uint8Array;
  /** 32 bytes; for a ciphertext made for another key an unrelated value. */
  decapsulate(seed: Uint8Array, ciphertext: Uint8Array): Uint8Array;
}
