/**
 * What the planner is measured against. All learn service times with the planner's own predictor and see what it sees. FIFO, priority and SJF hold a
 * central queue and give a free slot to its head, at the free site predicted to be fastest (kinder than their textbooks). HEFT, least
 * loaded, power of two and round robin decide on arrival; sites then serve in order of arrival.
 */
import type { Policy, QueueRule, SimulatedRequest, SiteView } from '../../coordinator/planning/simulate.ts';
import { deskPolicy } from '../../coordinator/planning/desk-policy.ts';
import type { DeskTuning } from '../../coordinator/planning/desk.ts';
import { createPredictor, type Predictor } from '../../coordinator/planning/predictor.ts';
import { seeded } from '../../shared/seeded.ts';
import type { Federation } from './replay-trace.ts';

export interface NamedPolicy {
  readonly name: string;
  readonly rule: QueueRule;
  make(federation: Federation, seed: number): Policy;
}

const MODEL = 'm';

const learner = ({ sites, requests }: Federation) => {
  const predictor: Predictor = createPredictor();
  return {
    predictedMs: (request: number, site: number): number =>
      predictor.predict(sites[site]!.siteId, MODEL, requests[request]!.sizeBucketBytes)?.meanMs ?? 0,
    ended: (request: number, site: number, serviceMs: number): void =>
      predictor.observe(sites[site]!.siteId, MODEL, serviceMs, requests[request]!.sizeBucketBytes),
  };
};

const leastBy = <T>(values: readonly T[], costOf: (value: T) => number): T | undefined => {
  let [best, least]: [T | undefined, number] = [undefined, Infinity];
  for (const value of values) {
    const cost = costOf(value);
    if (cost < least) [best, least] = [value, cost];
  }
  return best;
};

/** A central queue in some order; lower ranks go first. */
const central = (
  name: string,
  rankOf: (request: SimulatedRequest, predictedMs: () => number, at: number) => number,
): NamedPolicy => ({
  name,
  rule: 'fifo',
  make(federation) {
    const { predictedMs, ended } = learner(federation);
    const waiting = new Set<number>();
    const meanMs = (request: number): number =>
      federation.sites.reduce((sum, _, site) => sum + predictedMs(request, site), 0) /
      federation.sites.length;
    return {
      ended,
      arrive: (request) => void waiting.add(request),
      decide(_nowMs, views) {
        const busy = views.map((view) => view.busy);
        const dispatches = [];
        for (;;) {
          const free = views.flatMap((view, site) => (busy[site]! < view.slots ? [site] : []));
          if (free.length === 0 || waiting.size === 0) return dispatches;
          const request = leastBy([...waiting], (one) =>
            rankOf(federation.requests[one]!, () => meanMs(one), one),
          )!;
          const site = leastBy(free, (one) => predictedMs(request, one))!;
          waiting.delete(request);
          busy[site]! += 1;
          dispatches.push({ request, site });
        }
      },
    };
  },
});

/** Decides on arrival. */
const routing = (
  name: string,
  routerOf: (
    federation: Federation,
    random: ReturnType<typeof seeded>,
    predictedMs: (request: number, site: number) => number,
  ) => (request: number, views: readonly SiteView[], nowMs: number) => number,
  /** The order in which requests that came at once are looked at. */
  rankOf?: (request: number, predictedMs: (request: number, site: number) => number) => number,
): NamedPolicy => ({
  name,
  rule: 'fifo',
  make(federation, seed) {
    const { predictedMs, ended } = learner(federation);
    const route = routerOf(federation, seeded(seed), predictedMs);
    let arrived: number[] = [];
    return {
      ended,
      arrive: (request) => void arrived.push(request),
      decide(nowMs, sites) {
        const views = sites.map((view) => ({ ...view }));
        const order =
          rankOf === undefined
            ? arrived
            : arrived.toSorted((a, b) => rankOf(a, predictedMs) - rankOf(b, predictedMs));
        arrived = [];
        return order.map((request) => {
          const site = route(request, views, nowMs);
          views[site]!.busy += 1;
          return { request, site };
        });
      },
    };
  },
});

const loadOf = ({ busy, slots }: SiteView): number => busy / slots;

/** Earliest finish: each slot of each site keeps the time until which it is planned (Topcuoglu, Hariri, Wu 2002, without dependencies). */
const heft = routing(
  'HEFT',
  (federation, _random, predictedMs) => {
    const ready = federation.sites.map(({ slots }) => new Float64Array(slots));
    return (request, _views, nowMs) => {
      const finishAt = (site: number): number =>
        Math.max(nowMs, Math.min(...ready[site]!)) + predictedMs(request, site);
      const site = leastBy([...federation.sites.keys()], finishAt)!;
      const slot = ready[site]!.indexOf(Math.min(...ready[site]!));
      ready[site]![slot] = finishAt(site);
      return site;
    };
  },
  (request, predictedMs) => -predictedMs(request, 0),
);

export const BASELINES: readonly NamedPolicy[] = [
  central('FIFO', (_request, _predicted, at) => at),
  central('priority', ({ priority }, _predicted, at) => -priority * 1e9 + at),
  central('SJF', (_request, predictedMs) => predictedMs()),
  heft,
  routing('least loaded', (_federation, random) => (_request, views) => {
    const least = Math.min(...views.map(loadOf));
    const best = [...views.keys()].filter((site) => loadOf(views[site]!) === least);
    return best[random.below(best.length)]!;
  }),
  routing('power of two', ({ sites }, random) => (_request, views) => {
    const [one, other] = [random.below(sites.length), random.below(sites.length)];
    return loadOf(views[one]!) <= loadOf(views[other]!) ? one : other;
  }),
  routing('round robin', ({ sites }) => {
    let next = -1;
    return () => (next = (next + 1) % sites.length);
  }),
];

export const desk = (name: string, tuning: DeskTuning): NamedPolicy => ({
  name,
  rule: 'priority',
  make: ({ sites, requests }, seed) => deskPolicy({ sites, requests, tuning: () => tuning, seed }),
});
