/** The thread that signs with ML-DSA-44: one job in, one signature out. */
import { parentPort } from 'node:worker_threads';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { z } from 'zod';
import { assert } from '../../errors.ts';

assert(parentPort !== null, 'a worker has a parent');
const parent = parentPort;
const Job = z.object({
  job: z.int(),
  secretKey: z.instanceof(Uint8Array),
  message: z.instanceof(Uint8Array),
});

parent.on('message', (value: unknown) => {
  const { job, secretKey, message } = Job.parse(value);
  parent.postMessage({ job, signature: ml_dsa44.sign(message, secretKey) }, []);
});
