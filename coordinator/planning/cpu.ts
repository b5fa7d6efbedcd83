/** Processor time of the thread that asks. Node tells that of the process only, where worker threads count too; Linux tells it per thread. */
import { readFileSync } from 'node:fs';

const NANOS_PER_MS = 1e6;
/** First field: nanoseconds on a processor (Linux, Documentation/scheduler/sched-stats.rst). */
const SCHEDSTAT = '/proc/thread-self/schedstat';
let isTold = true;

/** Milliseconds; null where the system does not tell. About ten microseconds a call. */
export const threadCpuMs = (): number | null => {
  if (!isTold) return null;
  try {
    const nanos = Number.parseInt(readFileSync(SCHEDSTAT, 'latin1'), 10);
    return Number.isNaN(nanos) ? null : nanos / NANOS_PER_MS;
  } catch {
    isTold = false;
    return null;
  }
};
