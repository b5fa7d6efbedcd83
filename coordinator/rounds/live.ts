/** A round that is under way, as the coordinator holds it, and as it is shown. */
import { z } from 'zod';
import { toHex } from '../../shared/bytes.ts';
import type { Deferred } from '../../shared/deferred.ts';
import type { RoundId, SiteId } from '../../shared/ids.ts';
import { TaskId } from '../../shared/ids.ts';
import { distributedRho } from '../../shared/privacy/distributed.ts';
import { mechanismOfText } from '../../shared/privacy/mechanism.ts';
import { SignatureText } from '../../shared/rounds/fields.ts';
import type { PlanBytes, RoundPrivacy } from '../../shared/rounds/plan.ts';
import { toleranceOf, toleranceText } from '../../shared/rounds/tolerance.ts';
import { WORD_BYTES } from '../../shared/rounds/words.ts';
import type { RoundShown } from '../../shared/wire/round.ts';
import type { RoundState } from './round.ts';
import type { Spool } from './spool.ts';

/** As it is kept before its first event. */
export const StoredPlan = z.strictObject({
  plan: z.base64(),
  signature: SignatureText,
  graphSeed: z.string(),
  task: TaskId.nullable(),
  startedMs: z.int(),
});
export type StoredPlan = z.infer<typeof StoredPlan>;

export interface Live {
  readonly id: RoundId;
  readonly stored: StoredPlan;
  readonly plan: PlanBytes;
  readonly graph: readonly (readonly number[])[];
  readonly spool: Spool;
  state: RoundState;
  events: number;
  received: Map<SiteId, number>;
  /** Of vectors on their way: what they hash to, and that their site stands for it. */
  readonly announced: Map<SiteId, { readonly hash: string; readonly signature: string }>;
  /** Aborted at each change of phase: what was asked in the one before is not waited for any more. */
  phase: AbortController;
  lastMs: number;
  readonly changed: Set<() => void>;
  readonly ended: Deferred<undefined>;
}

const UNMASKED_TEXT =
  'Not masked: the coordinator sees the vector of each site, and each site’s own noise is all that protects its patients.';

/** Of all parts together; null where one has none. */
const rhoOf = ({ mechanisms }: RoundPrivacy): number | null => {
  const made = mechanisms.map(mechanismOfText);
  const gaussians = made.filter((one) => one.kind === 'distributed_gaussian');
  return gaussians.length === made.length
    ? gaussians.reduce((sum, one) => sum + distributedRho(one), 0)
    : null;
};

export const shown = (
  { id, stored, plan: { plan, hash }, state, received }: Live,
  endedMs: number | null,
): RoundShown => {
  const tolerance = toleranceOf(plan.sites.length, plan.minCohort);
  return {
    id,
    task: stored.task,
    work: plan.work.kind,
    planHash: toHex(hash),
    phase: state.phase,
    sites: plan.sites,
    words: plan.words,
    masked: plan.masked,
    rule: plan.rule,
    privacy: plan.privacy,
    rho: rhoOf(plan.privacy),
    tolerance: { ...tolerance, text: plan.masked ? toleranceText(tolerance) : UNMASKED_TEXT },
    joined: state.joined.size,
    members: state.members.length,
    receivedBytes: [...received.values()].reduce((sum, bytes) => sum + bytes, 0),
    expectedBytes: state.members.length * plan.words * WORD_BYTES,
    survivors: state.survivors.map(({ site }) => site),
    losses: state.losses.map((loss) => ({ ...loss })),
    startedMs: stored.startedMs,
    endedMs,
    sumHash: state.sumHash,
    why: state.why,
  };
};
