/** The bounds of the task runner. */
export const TASK_LIMITS = {
  /** Tasks of the coordinator that have not ended. */
  liveMax: 10_000,
  /** Bytes of their parameters. */
  specBytesMax: 64 * 1024 * 1024,
  /** Ended tasks that are kept, with their results. */
  keptMax: 10_000,
  /** Ended relayed tasks that are shown. */
  relayedKeptMax: 2_000,
  /** Of one result. */
  resultBytesMax: 256 * 1024,
} as const;

export type TaskLimits = { readonly [Name in keyof typeof TASK_LIMITS]: number };
