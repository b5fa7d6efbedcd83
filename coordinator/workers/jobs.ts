/** What workers can do, by name. Each job parses its input and is done when it returns. */
import { runDeferralJob, runLookJob, runPlanJob } from '../planning/thread-jobs.ts';
import type { JobProgress } from './pool.ts';
import { runQuantumJob } from './quantum-job.ts';

export type Job = (input: unknown, progress: (progress: JobProgress) => void) => unknown;

export const JOBS: ReadonlyMap<string, Job> = new Map<string, Job>([
  ['quantum', runQuantumJob],
  ['plan', runPlanJob],
  ['look', runLookJob],
  ['deferral', runDeferralJob],
]);
