/**
 * ML-DSA-44 in JavaScript. Signing draws again until a candidate fits, so one signature takes 2 ms or 60: it runs in a thread of its own,
 * started with the first signature, that keeps no program alive.
 */
import { Worker } from 'node:worker_threads';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { z } from 'zod';
import { createDeferred, type Deferred } from '../../deferred.ts';
import { QflError } from '../../errors.ts';
import { type LatticeProvider, MLDSA44_PUBLIC_BYTES, MLDSA44_SIGNATURE_BYTES } from './port.ts';

/** The program beside this one; from the source tree, the compiled one. */
const program = (): URL =>
  import.meta.url.endsWith('.ts')
    ? new URL('../../../dist/shared/crypto/lattice/sign-worker.js', import.meta.url)
    : new URL('./sign-worker.js', import.meta.url);

const Signed = z.object({ job: z.int(), signature: z.instanceof(Uint8Array) });

let thread: Worker | undefined;
let jobs = 0;
const waiting = new Map<number, Deferred<Uint8Array>>();

const lost = (worker: Worker, cause: unknown): void => {
  if (thread !== worker) return;
  thread = undefined;
  for (const job of waiting.values())
    job.reject(new QflError('internal', { detail: 'the thread that signs ended', cause }));
  waiting.clear();
};

const start = (): Worker => {
  // Flags of the command that started the program, such as --input-type, are not for it.
  const worker = new Worker(program(), { execArgv: [] });
  worker.on('message', (value: unknown) => {
    const { job, signature } = Signed.parse(value);
    waiting.get(job)?.resolve(signature);
    waiting.delete(job);
    // A program that has nothing else to do may end while nothing is being signed.
    if (waiting.size === 0) worker.unref();
  });
  worker.on('error', (cause) => lost(worker, cause));
  worker.on('exit', (code) => lost(worker, code));
  return worker;
};

const signInThread = (secretKey: Uint8Array, message: Uint8Array): Promise<Uint8Array> => {
  thread ??= start();
  thread.ref();
  const job = (jobs += 1);
  const result = createDeferred<Uint8Array>();
  waiting.set(job, result);
  thread.postMessage({ job, secretKey, message }, []);
  return result.promise;
};

export const javascriptLattice: LatticeProvider = {
  name: 'javascript',
  signer(seed) {
    const { publicKey, secretKey } = ml_dsa44.keygen(seed);
    return { publicKey, sign: (message) => signInThread(secretKey, message) };
  },
  verify(publicKey, message, signature) {
    if (publicKey.byteLength !== MLDSA44_PUBLIC_BYTES || signature.byteLength !== MLDSA44_SIGNATURE_BYTES)
      return false;
    return ml_dsa44.verify(signature, message, publicKey);
  },
};
