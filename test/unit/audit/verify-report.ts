import { z } from 'zod';

/** What `qfl-verify --json` prints, as far as tests look at it. */
export const VerifyReport = z.looseObject({
  outcome: z.string(),
  exitCode: z.int(),
  findings: z.array(
    z.looseObject({ message: z.string(), log: z.string().optional(), index: z.int().optional() }),
  ),
});
