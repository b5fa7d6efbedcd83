/**
 * The seam for post-quantum arithmetic: who computes ML-DSA-44 (FIPS 204, "pure", empty context). Today JavaScript in a thread of its own;
 * a runtime whose OpenSSL has it takes over without a change anywhere else. ML-KEM joins here when a runtime brings it.
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
