/** Health as it is shown. */
import { z } from 'zod';

export const HealthShown = z.strictObject({
  /** From 0 to 1; null before anything was measured. */
  score: z.number().nullable(),
  verdict: z.enum(['healthy', 'degraded', 'unhealthy']),
  metrics: z.array(
    z.strictObject({
      name: z.string(),
      value: z.number().nullable(),
      /** Which way is better. */
      better: z.enum(['higher', 'lower']),
      score: z.number().nullable(),
    }),
  ),
});
export type HealthShown = z.infer<typeof HealthShown>;
