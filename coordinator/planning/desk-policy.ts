/** The planner's desk as a policy of the simulator: the same code that places live requests. */
import type { SiteId } from '../../shared/ids.ts';
import { seeded } from '../../shared/seeded.ts';
import type { BatchPlan } from './batch.ts';
import { createDesk, type DeskTuning } from './desk.ts';
import { createPredictor, type Predictor } from './predictor.ts';
import type { Policy, SimulatedRequest, SimulatedSite } from './simulate.ts';

const MODEL = 'm';

export interface DeskPolicyOptions {
  readonly sites: readonly SimulatedSite[];
  readonly requests: readonly SimulatedRequest[];
  /** Asked before every decision. */
  readonly tuning: (nowMs: number) => DeskTuning;
  readonly seed: number;
  readonly predictor?: Predictor;
  readonly planned?: (plan: BatchPlan) => void;
  readonly ended?: (request: number, nowMs: number) => void;
}

export const deskPolicy = (options: DeskPolicyOptions): Policy => {
  const { sites, requests, tuning, seed, predictor = createPredictor(), planned, ended } = options;
  const random = seeded(seed);
  const desk = createDesk(predictor, () => random.next());
  const indexOf = new Map<SiteId, number>(sites.map(({ siteId }, at) => [siteId, at]));
  return {
    arrive(at, nowMs) {
      const { sizeBucketBytes, priority, deadlineMs, serviceMs, affinity } = requests[at]!;
      desk.add({
        taskId: String(at),
        model: MODEL,
        allowedSites: sites.filter((_, site) => Number.isFinite(serviceMs[site])).map(({ siteId }) => siteId),
        excludedSites: [],
        sizeBucketBytes,
        priority,
        arrivedMs: nowMs,
        deadlineMs,
        affinity,
      });
    },
    decide(nowMs, views) {
      if (desk.open().length === 0) return [];
      const states = sites.map(({ siteId, slots }, at) => ({
        siteId,
        models: [MODEL],
        slots,
        busySlots: views[at]!.busy,
      }));
      const { commits } = desk.decide(nowMs, states, tuning(nowMs));
      if (planned !== undefined)
        for (const plan of new Set(commits.map((commit) => commit.plan))) planned(plan);
      return commits.map(({ request, site }) => ({
        request: Number(request.taskId),
        site: indexOf.get(site)!,
      }));
    },
    ended(at, site, serviceMs, nowMs) {
      predictor.observe(sites[site]!.siteId, MODEL, serviceMs, requests[at]!.sizeBucketBytes);
      ended?.(at, nowMs);
    },
  };
};
