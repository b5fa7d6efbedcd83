/** What the pool and its workers say to each other. Payloads are the job's own affair: its module parses them. */
import { z } from 'zod';
import { type ErrorCode, isErrorCode } from '../../shared/errors.ts';

/** Pool → worker: run this. */
export const JobMessage = z.object({ job: z.int(), name: z.string(), input: z.unknown() });

/** Worker → pool. */
export const WorkerMessage = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('progress'),
    job: z.int(),
    progress: z.object({ done: z.number(), total: z.number().nullable(), unit: z.string() }),
  }),
  z.object({ type: z.literal('done'), job: z.int(), output: z.unknown() }),
  z.object({
    type: z.literal('failed'),
    job: z.int(),
    code: z.custom<ErrorCode>(isErrorCode),
    detail: z.string().optional(),
    next: z.string().optional(),
    facts: z.record(z.string(), z.unknown()).optional(),
    /** For the log. */
    stack: z.string().optional(),
  }),
]);
export type WorkerMessage = z.infer<typeof WorkerMessage>;
