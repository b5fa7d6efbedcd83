/** The public trace through simulated sites (`replay-trace.ts`), as what a forecaster of service times sees of it: each request when it was placed. */
import {
  finish,
  type Dispatch,
  type Policy,
  simulating,
  type SiteView,
} from '../../coordinator/planning/simulate.ts';
import type { Timed } from '../../coordinator/planning/later-time.ts';
import type { ServiceExample } from '../../coordinator/planning/service-candidate.ts';
import { createPredictor } from '../../coordinator/planning/predictor.ts';
import { type Asked, createServiceHistory } from '../../coordinator/planning/service-history.ts';
import { type Seeded, seeded } from '../../shared/seeded.ts';
import { type Federation, federationOf, type TraceRow } from './replay-trace.ts';

export interface ServiceRow extends ServiceExample, Timed {
  /** Logarithm of the last time that was known at the same site and size, or at the site where there is none of the size. */
  readonly lastLog: number;
  /** Mean of all logarithms that were known there, likewise. */
  readonly runningLog: number;
  /** The exponentially weighted average of the site over all sizes, which the incumbent falls back on when it does better. */
  readonly averageLog: number;
}

type Plain = Pick<ServiceRow, 'lastLog' | 'runningLog'>;

const MODEL = 'm';

/** The plainest forecasts, by site and size. */
const createPlain = () => {
  const known = new Map<string, Plain & { readonly count: number }>();
  const keysOf = ({ siteId, sizeBucketBytes }: Asked): string[] => [`${siteId} ${sizeBucketBytes}`, siteId];
  return {
    look: (asked: Asked): Plain | undefined => keysOf(asked).flatMap((key) => known.get(key) ?? [])[0],
    ended(asked: Asked, serviceMs: number): void {
      const lastLog = Math.log(serviceMs);
      for (const key of keysOf(asked)) {
        const { runningLog, count } = known.get(key) ?? { runningLog: 0, count: 0 };
        const mean = runningLog + (lastLog - runningLog) / (count + 1);
        known.set(key, { lastLog, runningLog: mean, count: count + 1 });
      }
    },
  };
};

/** The least loaded site, ties by lot: it asks no predictor, so where requests go favours none. */
const leastLoaded = (views: readonly SiteView[], random: Seeded): number => {
  const loads = views.map(({ busy, slots }) => busy / slots);
  const least = Math.min(...loads);
  const best = [...loads.keys()].filter((site) => loads[site] === least);
  return best[random.below(best.length)]!;
};

/** Each request, in order of placing; those placed at a site of which nothing was known yet are left out. */
const recorded = ({ sites, requests }: Federation, seed: number): readonly ServiceRow[] => {
  const history = createServiceHistory();
  const plain = createPlain();
  const predictor = createPredictor();
  const random = seeded(seed);
  const seen = new Map<number, Omit<ServiceRow, 'endedMs' | 'serviceLog'>>();
  const ends = new Map<number, { readonly serviceMs: number; readonly endedMs: number }>();
  const askedOf = (request: number, site: number): Asked => ({
    siteId: sites[site]!.siteId,
    model: MODEL,
    sizeBucketBytes: requests[request]!.sizeBucketBytes,
  });
  const place = (request: number, site: number, nowMs: number): Dispatch => {
    const asked = askedOf(request, site);
    const sight = history.look(asked, nowMs);
    const known = plain.look(asked);
    const averageMs = predictor.predictMs(asked.siteId, MODEL);
    if (sight !== null && known !== undefined && averageMs !== null)
      seen.set(request, {
        sight,
        askedMs: nowMs,
        averageLog: Math.log(averageMs),
        lastLog: known.lastLog,
        runningLog: known.runningLog,
      });
    history.placed(asked);
    return { request, site };
  };
  let arrived: number[] = [];
  const policy: Policy = {
    arrive: (request) => void arrived.push(request),
    ended(request, site, serviceMs, nowMs) {
      const asked = askedOf(request, site);
      history.ended(asked, serviceMs, nowMs);
      plain.ended(asked, serviceMs);
      predictor.observe(asked.siteId, MODEL, serviceMs, asked.sizeBucketBytes);
      ends.set(request, { serviceMs, endedMs: nowMs });
    },
    decide(nowMs, sitesNow) {
      const views = sitesNow.map((view) => ({ ...view }));
      const placed = arrived.map((request) => {
        const site = leastLoaded(views, random);
        views[site]!.busy += 1;
        return place(request, site, nowMs);
      });
      arrived = [];
      return placed;
    },
  };
  finish(simulating(sites, requests, policy, 'fifo'));
  return [...seen].flatMap(([request, row]) => {
    const end = ends.get(request);
    return end === undefined ? [] : [{ ...row, endedMs: end.endedMs, serviceLog: Math.log(end.serviceMs) }];
  });
};

/** The whole trace at this load; the seed draws sites, their slots and speeds, and lots. */
export const serviceRows = (trace: readonly TraceRow[], load: number, seed: number): readonly ServiceRow[] =>
  recorded(federationOf(trace, load, seed), seed);
